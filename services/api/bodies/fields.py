"""The few kinds of field that all bodies are made of; never converts one type into another to be helpful."""

import re
from collections.abc import Callable
from datetime import datetime, time
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from services.api.rules import addresses, instants, templates, text, windows
from services.api.rules.text import Refused

Value = TypeVar("Value")
Result = TypeVar("Result")
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?")


class Body(BaseModel):
    """The base of every body: no unknown fields, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def given(self) -> dict[str, Any]:
        """The fields that the request named, null or not."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


def unchanged() -> Any:
    """The default of a field of a PATCH that cannot be null: left out means left alone (ask `given()`)."""
    return Field(default=None, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def by(rule: Callable[[Value], Result]) -> Callable[[Value], Result]:
    """The rule as a validator: what it refuses becomes a finding with its code and its mend."""

    def checked(value: Value) -> Result:
        try:
            return rule(value)
        except Refused as reason:
            raise finding(reason) from None

    return checked


def finding(reason: Refused) -> PydanticCustomError:
    """What a rule refused, in pydantic's words."""
    # Through the context, or pydantic would read the message's own braces.
    context = {"message": str(reason), "mend": reason.mend}
    return PydanticCustomError(reason.code, "{message}", context)  # pyright: ignore[reportArgumentType]  the code is no literal


def _some(value: str) -> str:
    if not value:
        raise Refused("blank", "this must not be blank", "write something, or leave the field out")
    return value


def _or_none(value: str | None) -> str | None:
    return value or None


def _written(value: Any) -> Any:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise Refused("time", "a time of day is written HH:MM or HH:MM:SS", "write for example 09:00")
    return value


def _instant(value: Any) -> Any:
    if not isinstance(value, str):
        raise Refused("instant", "an instant is a text, as in RFC 3339", "write for example 2026-03-02T09:00:00Z")
    return instants.written_instant(value)


_LINE = AfterValidator(by(text.line))
_PASSAGE = AfterValidator(by(text.passage))
_NOT_BLANK = AfterValidator(by(_some))
# A blank field is no field, so that a template's fallback is used and nobody reads "Hi ," (reliability.md B19).
_BLANK_IS_NULL = AfterValidator(_or_none)

Name = Annotated[str, StringConstraints(max_length=255, strict=True), _LINE, _NOT_BLANK]
_Line50 = Annotated[str, StringConstraints(max_length=50, strict=True), _LINE]
_Line100 = Annotated[str, StringConstraints(max_length=100, strict=True), _LINE]
_Line255 = Annotated[str, StringConstraints(max_length=255, strict=True), _LINE]
_Line500 = Annotated[str, StringConstraints(max_length=500, strict=True), _LINE]
_Passage = Annotated[str, StringConstraints(max_length=5000, strict=True), _PASSAGE]
Line50 = Annotated[_Line50 | None, _BLANK_IS_NULL]
Line100 = Annotated[_Line100 | None, _BLANK_IS_NULL]
Line255 = Annotated[_Line255 | None, _BLANK_IS_NULL]
Line500 = Annotated[_Line500 | None, _BLANK_IS_NULL]
Passage = Annotated[_Passage | None, _BLANK_IS_NULL]

Flag = StrictBool
Address = Annotated[str, StringConstraints(max_length=320, strict=True), AfterValidator(by(addresses.address))]
DomainName = Annotated[str, StringConstraints(max_length=255, strict=True), AfterValidator(by(addresses.domain))]
_WebAddress = Annotated[str, StringConstraints(max_length=2000, strict=True), AfterValidator(by(addresses.web_address))]
WebAddress = Annotated[_WebAddress | None, _BLANK_IS_NULL]
Host = Annotated[str, StringConstraints(max_length=255, strict=True), AfterValidator(by(addresses.host))]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
_CREDENTIAL = AfterValidator(by(text.credential))
Secret = Annotated[str, StringConstraints(min_length=1, max_length=4096, strict=True), _CREDENTIAL]
Login = Annotated[str, StringConstraints(min_length=1, max_length=255, strict=True), _CREDENTIAL]
Zone = Annotated[str, StringConstraints(max_length=100, strict=True), AfterValidator(by(windows.zone))]
Days = Annotated[list[Annotated[str, Field(strict=True)]], AfterValidator(by(windows.days))]
Instant = Annotated[datetime, BeforeValidator(by(_instant))]
TimeOfDay = Annotated[time, BeforeValidator(by(_written))]
# The same where a setting is kept as it was written.
WallTime = Annotated[str, Field(strict=True), AfterValidator(by(windows.wall_time))]
Country = Annotated[str, StringConstraints(max_length=3, strict=True), AfterValidator(by(windows.country))]
Dates = Annotated[
    list[Annotated[str, Field(strict=True)]],
    Field(max_length=windows.MAX_SKIP_DATES),
    AfterValidator(by(windows.dates)),
]
Subject = Annotated[str, Field(strict=True), AfterValidator(by(templates.subject))]
Text = Annotated[str, Field(strict=True), AfterValidator(by(templates.body))]
