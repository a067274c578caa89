"""One step's mail to one lead: what the planner tries out and the sender sends is written here, by the same function.

Never chooses by chance: spins, thread and text follow from words, lead and what was sent before.
"""

from typing import Any, Protocol

import msgspec

from libs.planning.render import LEAD_FIELDS, CannotRenderError, Content, Footer, compose, lead_values
from libs.planning.sequence import Words
from libs.planning.spintax import SpintaxError, spin


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
    if not (writer.physical_address or "").strip():
        raise CannotRenderError("physical_address", "missing")
    footer = Footer(
        company=writer.company, physical_address=writer.physical_address or "", unsubscribe_url=unsubscribe_url
    )
    values = lead_values({name: getattr(reader, name) for name in LEAD_FIELDS}, reader.custom_fields)
    values |= {"sender_name": writer.name or "", "sender_email": writer.email, "unsubscribe_url": unsubscribe_url}
    try:
        subject = spin(words.subject, reader.lead_key, words.step_id, "subject")
        body = spin(words.body, reader.lead_key, words.step_id, "body")
    except SpintaxError as error:
        raise CannotRenderError("template", type(error).__name__) from None
    return compose(subject, body, values, thread_subject=thread_subject, footer=footer)
