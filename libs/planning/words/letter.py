"""One step's mail to one lead: what the planner tries out and the sender sends is written here, by the same function.

Never chooses by chance: spins, thread and text follow from words, lead and what was sent before.
"""

from typing import Any, Protocol

import msgspec

from libs.planning.sequence import Words
from libs.planning.words.render import LEAD_FIELDS, CannotRenderError, Content, Footer, compose, lead_values
from libs.planning.words.spintax import SpintaxError, spin


class Reader(Protocol):
    """A row with a lead's own columns, as templates name them."""

    @property
    def lead_key(self) -> bytes:
        """The person's key."""
        ...

    @property
    def custom_fields(self) -> dict[str, Any]:
        """The lead's own fields."""
        ...


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes: the inbox, and the team that the law wants named under the mail."""

    email: str
    name: str | None
    company: str | None
    physical_address: str | None


def write(words: Words, reader: Reader, writer: Writer, unsubscribe_url: str, thread_subject: str | None) -> Content:
    """The mail's content.

    Raises:
        CannotRenderError: see render.py; also when the team has no postal address (CAN-SPAM).

    """
    footer = footer_of(writer, unsubscribe_url)
    values = values_of(reader, writer, unsubscribe_url)
    spun = spun_for(words, reader.lead_key)
    return compose(spun.subject, spun.body, values, thread_subject=thread_subject, footer=footer)


def footer_of(writer: Writer, unsubscribe_url: str) -> Footer:
    """What stands under every mail.

    Raises:
        CannotRenderError: the team has no postal address (CAN-SPAM).

    """
    address = writer.physical_address or ""
    if not address.strip():
        raise CannotRenderError("physical_address", "missing")
    return Footer(company=writer.company, physical_address=address, unsubscribe_url=unsubscribe_url)


def values_of(reader: Reader, writer: Writer, unsubscribe_url: str) -> dict[str, Any]:
    """Everything that a template may name."""
    values = lead_values({name: getattr(reader, name) for name in LEAD_FIELDS}, reader.custom_fields)
    return values | {
        "sender_name": writer.name or "",
        "sender_email": writer.email,
        "unsubscribe_url": unsubscribe_url,
    }


def spun_for(words: Words, lead_key: bytes) -> Words:
    """The words with every choice made for this person.

    Raises:
        CannotRenderError: it is no spintax.

    """
    try:
        subject = spin(words.subject, lead_key, words.step_id, "subject")
        body = spin(words.body, lead_key, words.step_id, "body")
    except SpintaxError as error:
        raise CannotRenderError("template", type(error).__name__) from None
    return Words(step_id=words.step_id, subject=subject, body=body)
