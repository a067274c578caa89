"""A claimed send and its facts become the letter that goes over the wire.

Never asks anything of the database or the clock: the same send at the same instant is the same letter.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from libs.planning.gates import Hold
from libs.planning.letter import Writer, write
from libs.planning.render import CannotRenderError, Content
from libs.planning.sequence import words_of
from libs.schema.ids import message_token
from libs.schema.runtime.settings import Settings
from libs.schema.secrets import sign_token
from services.sender.queries.claim import Claimed, Earlier
from services.sender.rules.message import Headers, Message, build


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed send, written: what the reader sees, what goes over the wire, which thread it is in."""

    content: Content
    message: Message
    thread_id: str
    in_reply_to: str | None


def compose(settings: Settings, send: Claimed, earlier: Sequence[Earlier], now: datetime) -> Letter | Hold:
    """The letter, or the gate that holds it: a value is missing, the step was taken out, the address is none."""
    if send.step is None:
        return Hold(gate="step", value="taken_out", effect="stop")
    token = sign_token(settings.secret_key, "unsubscribe", send.team_id, send.send_id)
    unsubscribe_url = f"{settings.public_url}/u/{token}"
    writer = Writer(
        email=send.inbox_email, name=send.from_name, company=send.company_name, physical_address=send.physical_address
    )
    thread = [mail for mail in earlier if mail.thread_id == earlier[-1].thread_id]
    words = words_of(send.step, send.variant_id)
    try:
        content = write(words, send, writer, unsubscribe_url, thread[0].subject if thread else None)
    except CannotRenderError as error:
        return Hold(gate=error.gate, value=error.value)
    if words.subject.strip():
        thread = []  # a subject of its own begins a thread of its own
    headers = Headers(
        sender=send.inbox_email,
        sender_name=send.from_name,
        recipient=send.email,
        date=now,
        message_id=send.message_id,
        reference=message_token(settings.secret_key, send.send_id),
        in_reply_to=thread[-1].message_id if thread else None,
        references=[mail.message_id for mail in thread],
        unsubscribe_url=unsubscribe_url,
    )
    try:
        message = build(headers, content)
    except ValueError as error:  # the API lets none in, and a direct client of the database may
        return Hold(gate="address", value=str(error), effect="stop")
    return Letter(
        content=content,
        message=message,
        thread_id=(thread[0].thread_id if thread else None) or send.message_id,
        in_reply_to=headers.in_reply_to,
    )
