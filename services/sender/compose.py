"""A claimed send and its facts become the letter that goes over the wire.

Never asks anything of the database or the clock: the same send at the same instant is the same letter.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from libs.planning.gates import Hold
from libs.planning.sequence import Step, words_of
from libs.planning.words.letter import Writer, write
from libs.planning.words.render import CannotRenderError, Content
from libs.schema.ids import message_token
from libs.schema.runtime.settings import Settings
from libs.schema.secrets import open_secret, sign_token
from services.sender.queries.claim import Claimed, Earlier
from services.sender.rules import dkim
from services.sender.rules.dkim import Signer, SigningKey
from services.sender.rules.html import inlined, with_counted_links, with_pixel
from services.sender.rules.message import Headers, Message, NotAnAddressError, build

MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed send, written: what the reader sees, what goes over the wire, which thread it is in.

    The content is kept without pixel and counted links: whoever looks at it in the house must not count as the reader.
    """

    content: Content
    message: Message
    thread_id: str
    in_reply_to: str | None
    open_tracked: bool
    click_tracked: bool


def compose(settings: Settings, send: Claimed, earlier: Sequence[Earlier], now: datetime) -> Letter | Hold:
    """The letter, or the gate that holds it: a value is missing, the step was taken out, the address is none."""
    if send.kind == "reply":
        return _answer(settings, send, now)
    if send.step is None:
        return Hold(gate="step", value="taken_out", effect="stop")
    token = sign_token(settings.secret_key, "unsubscribe", send.team_id, send.send_id)
    unsubscribe_url = f"{settings.public_url}/u/{token}"
    try:
        content, thread = _written(send, send.step, earlier, unsubscribe_url)
    except CannotRenderError as error:
        return Hold(gate=error.gate, value=error.value)
    headers = _headers(settings, send, thread, unsubscribe_url, now)
    counted = _with_clicks(settings, send, content)
    watched = _with_opens(settings, send, counted)
    message = _built(headers, watched)
    if isinstance(message, Hold):
        return message
    return Letter(
        content=content,
        message=message,
        thread_id=(thread[0].thread_id if thread else None) or send.message_id,
        in_reply_to=headers.in_reply_to,
        open_tracked=watched != counted,
        click_tracked=counted != content,
    )


def _answer(settings: Settings, send: Claimed, now: datetime) -> Letter | Hold:
    """A person's own words, as they are: nothing is rendered, counted or added, and nobody can unsubscribe from it."""
    answer = send.answer
    if answer is None:
        return Hold(gate="lead", value="erased", effect="stop")
    headers = Headers(
        sender=send.inbox_email,
        sender_name=send.from_name,
        recipient=answer.recipient,
        date=now,
        message_id=send.message_id,
        reference=message_token(settings.secret_key, send.send_id),
        in_reply_to=answer.in_reply_to,
        references=answer.thread,
    )
    content = Content(subject=answer.subject, text=answer.text, html=answer.html)
    message = _built(headers, content)
    if isinstance(message, Hold):
        return message
    return Letter(
        content=content,
        message=message,
        thread_id=answer.thread_id or send.message_id,
        in_reply_to=answer.in_reply_to,
        open_tracked=False,
        click_tracked=False,
    )


def _built(headers: Headers, content: Content) -> Message | Hold:
    try:
        return build(headers, content)
    except NotAnAddressError as error:  # the API lets none in, and a direct client of the database may
        if error.whose == "sender":
            return Hold(gate="inbox", value=str(error))
        return Hold(gate="address", value=str(error), effect="stop")


def signed(settings: Settings, send: Claimed, letter: Letter, now: datetime) -> Message:
    """The letter's message, with its domain's signature where the domain has a key for its own server.

    Raises:
        SecretError: the key was sealed with another key than ours.

    """
    if send.dkim is None:
        return letter.message
    key = _opened_key(settings.secret_key, send.dkim.sealed, send.dkim.domain_id)
    signer = Signer(domain=send.dkim.domain, selector=send.dkim.selector, key=key)
    return msgspec.structs.replace(letter.message, content=dkim.signed(letter.message.content, signer, now))


def _feedback_id(send: Claimed) -> str | None:
    """What Gmail counts complaints by: campaign, step, kind and, last and always, the sender, here the team."""
    if send.campaign_id is None or send.step_id is None:
        return None
    # Gmail wants 5 to 15 characters of a sender; the last twelve digits of a UUID are random.
    return f"{send.campaign_id.hex}:{send.step_id.hex}:{send.kind}:{send.team_id.hex[-12:]}"


def _written(
    send: Claimed, step: Step, earlier: Sequence[Earlier], unsubscribe_url: str
) -> tuple[Content, Sequence[Earlier]]:
    """What the reader sees, and the mails before it in its thread.

    Raises:
        CannotRenderError: see libs/planning/words/letter.py.

    """
    writer = Writer(
        email=send.inbox_email, name=send.from_name, company=send.company_name, physical_address=send.physical_address
    )
    thread = [mail for mail in earlier if mail.thread_id == earlier[-1].thread_id]
    words = words_of(step, send.variant_id)
    content = write(words, send, writer, unsubscribe_url, thread[0].subject if thread else None)
    if content.html and send.campaign_settings.get("inline_css") is not False:
        content = msgspec.structs.replace(content, html=inlined(content.html))
    # A subject of its own begins a thread of its own.
    return content, [] if words.subject.strip() else thread


def _headers(
    settings: Settings, send: Claimed, thread: Sequence[Earlier], unsubscribe_url: str, now: datetime
) -> Headers:
    token = message_token(settings.secret_key, send.send_id)
    return Headers(
        sender=send.inbox_email,
        sender_name=send.from_name,
        recipient=send.email,
        date=now,
        message_id=send.message_id,
        reference=token,
        reply_to=_reply_to(send, token),
        in_reply_to=thread[-1].message_id if thread else None,
        references=[mail.message_id for mail in thread],
        unsubscribe_url=unsubscribe_url,
        feedback_id=_feedback_id(send),
    )


def _reply_to(send: Claimed, token: str) -> str | None:
    """The inbox's address with the mail's token behind a plus, where the campaign wants it and the address has room.

    A reply that names no Message-ID of ours is matched by it. Not every provider delivers such addresses.
    """
    local, _, domain = send.inbox_email.rpartition("@")
    local += f"+{token}"
    wanted = send.campaign_settings.get("reply_token") is True
    return f"{local}@{domain}" if wanted and len(local) <= MAX_LOCAL_PART else None


def _with_clicks(settings: Settings, send: Claimed, content: Content) -> Content:
    """The content with the campaign's links counted; `tracked_links` is empty where it does not count clicks."""
    if content.html is None or not send.tracked_links:
        return content

    def counted(url: str) -> str | None:
        link_id = send.tracked_links.get(url)
        if link_id is None:
            return None
        return (
            f"{settings.public_url}/t/c/{sign_token(settings.secret_key, 'click', send.team_id, send.send_id, link_id)}"
        )

    return msgspec.structs.replace(content, html=with_counted_links(content.html, counted))


def _with_opens(settings: Settings, send: Claimed, content: Content) -> Content:
    if content.html is None or send.campaign_settings.get("track_opens") is not True:
        return content
    address = f"{settings.public_url}/t/o/{sign_token(settings.secret_key, 'open', send.team_id, send.send_id)}"
    return msgspec.structs.replace(content, html=with_pixel(content.html, address))


@lru_cache(maxsize=1024)
def _opened_key(secret_key: bytes, sealed: str, domain_id: UUID) -> SigningKey:
    return dkim.read_key(open_secret(secret_key, sealed, row_id=domain_id, column="dkim_private_key"))
