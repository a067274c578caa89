"""What a request asks another service to do (`job_queue`): payloads that the API writes and the queue's owner reads."""

from typing import ClassVar
from uuid import UUID

import msgspec

from libs.schema.events.reply import Intent


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A wish, not yet an event: it may be refused. QUEUE is the service that carries it out."""

    QUEUE: ClassVar[str]
    TYPE: ClassVar[str]


class AnswerReply(Command, frozen=True, kw_only=True):
    """Answer a reply by hand: from the inbox that it came to, in its thread."""

    QUEUE: ClassVar[str] = "sender"
    TYPE: ClassVar[str] = "answer_reply"

    reply_id: UUID
    body_text: str
    body_html: str | None = None
    by_user: UUID | None = None  # None: an API key


class ClassifyReply(Command, frozen=True, kw_only=True):
    """A person says what a reply means; the rules are not asked again."""

    QUEUE: ClassVar[str] = "replies"
    TYPE: ClassVar[str] = "classify_reply"

    reply_id: UUID
    intent: Intent
    by_user: UUID | None = None


class AssignMessage(Command, frozen=True, kw_only=True):
    """A person says whose answer an unmatched message is: a lead's, and maybe to which email."""

    QUEUE: ClassVar[str] = "replies"
    TYPE: ClassVar[str] = "assign_message"

    raw_id: UUID
    lead_id: UUID
    email_id: UUID | None = None
    by_user: UUID | None = None
