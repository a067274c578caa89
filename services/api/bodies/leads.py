"""Bodies of lead lists, leads and suppressions."""

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.api.bodies.fields import (
    Address,
    Body,
    DomainName,
    Line50,
    Line100,
    Line255,
    Line500,
    Name,
    Passage,
    WebAddress,
    Zone,
    by,
    finding,
    unchanged,
)
from services.api.rules import text
from services.api.rules.text import Refused

MAX_BATCH = 1000
MAX_CUSTOM_FIELDS = 200
MAX_CUSTOM_CHARS = 5000
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_EXACT = 2**53  # beyond it JSON's numbers are no longer whole everywhere


def _custom_fields(values: dict[str, Any]) -> dict[str, Any]:
    if len(values) > MAX_CUSTOM_FIELDS:
        raise Refused("too_many_fields", f"at most {MAX_CUSTOM_FIELDS} custom fields", "leave some out")
    return {_field_name(name): _field_value(name, value) for name, value in values.items()}


def _field_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise Refused(
            "field_name",
            f"{name[:64]!a} is no name of a custom field",
            "use up to 64 letters, digits and _, starting with a letter",
        )
    if name in LeadIn.model_fields:
        raise Refused("field_name", f"{name!r} is a field of every lead", "put it beside custom_fields, not inside")
    return name


def _field_value(name: str, value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str() if len(value) <= MAX_CUSTOM_CHARS:
            return text.line(value)
        case str():
            raise Refused("too_long", f"{name} has more than {MAX_CUSTOM_CHARS} characters", "shorten it")
        case int() | float() if abs(value) < _EXACT:
            return value
        case _:
            raise Refused("field_value", f"{name} is not a text, number, boolean or null", "send a plain value")


CustomFields = Annotated[dict[str, Any], AfterValidator(by(_custom_fields))]
Consent = Literal["explicit", "implicit", "none"]


class LeadListIn(Body):
    """A list of leads."""

    name: Name
    description: Passage = None
    source: Line100 = None


class LeadListPatch(Body):
    """A list's changes."""

    name: Name = unchanged()
    description: Passage = None
    source: Line100 = None


class Person(Body):
    """What may be said of a lead besides the address."""

    first_name: Line100 = None
    last_name: Line100 = None
    company: Line255 = None
    title: Line255 = None
    phone: Line50 = None
    linkedin_url: WebAddress = None
    website: WebAddress = None
    timezone: Zone | None = None
    country: Line100 = None
    city: Line100 = None
    consent_type: Consent | None = None
    consent_source: Line500 = None


class LeadIn(Person):
    """One lead of a batch."""

    email: Address
    custom_fields: CustomFields = Field(default_factory=dict[str, Any])


class LeadPatch(Person):
    """A lead's changes; null clears a field, `custom_fields` are merged and a null in them removes one.

    The address cannot change: it is who the lead is, to the ledger and to the suppression list.
    """

    lead_list_id: UUID | None = None
    custom_fields: CustomFields = unchanged()


def _rows(value: Any) -> Any:
    if not isinstance(value, list):
        raise Refused("list_type", "leads must be a list", "send a list of leads")
    return value  # pyright: ignore[reportUnknownVariableType]  each row is checked apart, so that a bad one loses no other


class LeadBatch(Body):
    """Up to 1,000 leads; each row gets its own verdict. `on_existing` is about leads that are there already."""

    lead_list_id: UUID | None = None
    on_existing: Literal["update", "skip"] = "update"
    leads: Annotated[list[Any], BeforeValidator(by(_rows)), Field(min_length=1, max_length=MAX_BATCH)]


class SuppressionIn(Body):
    """An address or a whole domain that is never to be mailed again: exactly one of the two."""

    email: Address | None = None
    domain: DomainName | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.email is None) == (self.domain is None):
            raise finding(Refused("one_of", "exactly one of email and domain is needed", "send one of them"))
        return self
