"""What the unibox shows: replies, their conversations, messages that matched nobody, and jobs.

Never HTML that somebody else wrote: what a reply says is shown as text (reliability.md B44).
"""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from services.api.resources import Resource


class Reply(Resource, frozen=True, kw_only=True):
    """An answer, as it was matched and classified; `conversation_id` is its thread under /v1/threads."""

    id: UUID
    conversation_id: UUID
    email_id: UUID | None
    lead_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None
    message_id: str | None
    thread_id: str | None
    in_reply_to: str | None
    from_email: str
    from_name: str | None
    is_alias: bool
    subject: str | None
    body_text: str | None
    body_preview: str | None
    intent: str | None
    intent_confidence: float | None
    intent_model: str | None
    intent_manual_override: bool
    needs_review: bool
    match_method: str | None
    match_confidence: float | None
    return_date: date | None
    left_company: bool
    replacement: str | None
    is_read: bool
    read_at: datetime | None
    is_archived: bool
    received_at: datetime
    created_at: datetime


class LeadRef(Resource, frozen=True, kw_only=True):
    """A lead, in a few words."""

    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    status: str


class InboxRef(Resource, frozen=True, kw_only=True):
    """A mailbox, by its address."""

    id: UUID
    email: str


class CampaignRef(Resource, frozen=True, kw_only=True):
    """A campaign, by its name."""

    id: UUID
    name: str


class Member(Resource, frozen=True, kw_only=True):
    """A person of the team; `id` is what `assigned_to` takes."""

    id: UUID
    email: str
    full_name: str | None


class Members(Resource, frozen=True, kw_only=True):
    """The people of the team who have accepted their invitation."""

    data: list[Member]


class LastMessage(Resource, frozen=True, kw_only=True):
    """The newest message of a conversation, whoever wrote it."""

    at: datetime
    direction: Literal["received", "sent"]
    preview: str | None


class Thread(Resource, frozen=True, kw_only=True):
    """A conversation: what one mailbox and one lead wrote in one thread, once the lead's side has answered.

    It stands where the last reply of a person put it, `last_reply_id`, whose `intent` and `is_archived` are its own. An
    automatic note is listed, but is never unread, and stands for the conversation only while no person has written.
    """

    id: UUID
    subject: str | None
    lead: LeadRef
    inbox: InboxRef
    campaign: CampaignRef | None
    assigned_to: Member | None
    intent: str | None
    needs_review: bool
    is_archived: bool
    reply_count: int
    unread_count: int
    last_reply_id: UUID
    last_reply_at: datetime
    last_message: LastMessage


class ThreadMessage(Resource, frozen=True, kw_only=True):
    """One message of a conversation; fields that only the other side's messages have are null.

    `kind` says what it is: a `reply` that came, a `campaign` mail, an `answer` by hand, or an answer that is still on
    its way to the sender or was refused (`job`, whose id is the job's). `status` is the email's or the job's. `text` is
    cut at 20,000 characters; the whole one is at /v1/replies/{id} or /v1/emails/{id}.
    """

    id: UUID
    kind: Literal["reply", "campaign", "answer", "job"]
    at: datetime
    from_email: str | None
    from_name: str | None
    to_email: str | None
    subject: str | None
    text: str | None
    text_is_cut: bool
    preview: str | None
    status: str | None
    error: str | None
    step_number: int | None
    intent: str | None
    intent_confidence: float | None
    intent_model: str | None
    match_method: str | None
    match_confidence: float | None
    needs_review: bool | None
    is_alias: bool | None
    return_date: date | None
    is_read: bool | None
    is_archived: bool | None


class ThreadContent(Resource, frozen=True, kw_only=True):
    """A conversation with both sides in the order of time, a page of them; ask again with `cursor=next_cursor`."""

    thread: Thread
    messages: list[ThreadMessage]
    next_cursor: str | None


class UnreadOf(Resource, frozen=True, kw_only=True):
    """How many replies are unread of one mailbox, campaign or intent; `key` is its id or name, or null."""

    key: str | None
    unread: int


class UnreadCounts(Resource, frozen=True, kw_only=True):
    """Replies of people that are neither read nor archived, in all and by where they came; zeros are left out."""

    total: int
    by_inbox: list[UnreadOf]
    by_campaign: list[UnreadOf]
    by_intent: list[UnreadOf]


class MarkResult(Resource, frozen=True, kw_only=True):
    """What became of one id of a batch; `index` is its place in the request, from 0."""

    index: int
    outcome: Literal["updated", "not_found", "rejected"]
    id: UUID | None = None


class MarkResults(Resource, frozen=True, kw_only=True):
    """A result for each id, in the order of the request, and how many of each kind."""

    updated: int
    not_found: int
    rejected: int
    results: list[MarkResult]


class InboundMessage(Resource, frozen=True, kw_only=True):
    """A message as the mailbox got it, and what it turned out to be.

    `candidates` are leads that it may come from. What was written is shown of messages that matched nobody, at most
    20,000 characters of it and only of one message by itself; of others it stands at /v1/replies/{reply_id}.
    """

    id: UUID
    inbox: InboxRef
    folder: str
    received_at: datetime
    size_bytes: int
    outcome: str | None
    is_dismissed: bool
    reply_id: UUID | None
    from_email: str | None
    from_name: str | None
    subject: str | None
    preview: str | None
    text: str | None
    intent: str | None
    intent_confidence: float | None
    candidates: list[LeadRef]


class Job(Resource, frozen=True, kw_only=True):
    """Something that a request left for a service to do; `result` when it is completed, `error` when it failed."""

    id: UUID
    type: str
    status: str
    attempts: int
    result: dict[str, Any] | None
    error: str | None
    reply_id: UUID | None
    message_id: UUID | None
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class JobAccepted(Resource, frozen=True, kw_only=True):
    """What was asked for will be done; how it ended is at /v1/jobs/{job_id}."""

    job_id: UUID
    status: Literal["waiting"] = "waiting"
