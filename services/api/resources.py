"""What the API shows, field by field as the data model names it: each Struct is a row, its JSON and its schema in one.

Never holds a credential: what is not named here cannot leave the house.
"""

from datetime import date, datetime, time
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from services.api.rules.records.found import Part, Remark


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """The base of everything that is shown."""


class Team(Resource, frozen=True, kw_only=True):
    """The tenant: its limits, and the company and address that stand under each email."""

    id: UUID
    name: str
    slug: str
    plan: str
    daily_email_limit: int
    max_inboxes: int
    max_campaigns: int
    max_team_members: int
    physical_address: str | None
    company_name: str | None
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class DnsRecord(Resource, frozen=True, kw_only=True):
    """What to publish in the DNS; a value above 255 characters is split there into several strings of one record."""

    name: str
    value: str
    type: Literal["TXT"] = "TXT"


class DomainCheck(Resource, frozen=True, kw_only=True):
    """What is known of one of a domain's records: `valid` is null while there is no verdict.

    `remarks` say what is wrong with it, or what one should know; `publish` is the exact record that mends it.
    """

    part: Part
    valid: bool | None
    checked_at: datetime | None
    remarks: list[Remark]
    publish: DnsRecord | None


class Domain(Resource, frozen=True, kw_only=True):
    """A sending domain and what its DNS says; a verdict is null while there is none, and holds 72 hours of silence.

    `check_asked_at`: when name servers were last asked; `last_checked_at`: when they last answered.
    """

    id: UUID
    domain: str
    spf_valid: bool | None
    spf_record: str | None
    dkim_valid: bool | None
    dkim_selector: str | None
    dkim_record: str | None
    dmarc_valid: bool | None
    dmarc_policy: str | None
    dmarc_record: str | None
    checks: list[DomainCheck]
    health_score: int
    health_known: bool
    check_asked_at: datetime | None
    last_checked_at: datetime | None
    verified_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Inbox(Resource, frozen=True, kw_only=True):
    """A mailbox; its passwords are never shown, only whether there are any."""

    id: UUID
    domain_id: UUID | None
    email: str
    from_name: str | None
    provider: str
    status: str
    status_reason: str | None
    paused_at: datetime | None
    smtp_host: str | None
    smtp_port: int | None
    smtp_username: str | None
    smtp_tls: str
    imap_host: str | None
    imap_port: int | None
    imap_username: str | None
    imap_tls: str
    health_score: int
    health_known: bool
    bounce_rate_7d: float
    open_rate_7d: float
    reply_rate_7d: float
    sent_today: int
    sent_this_week: int
    sent_total: int
    circuit_state: str
    last_sent_at: datetime | None
    last_reply_checked_at: datetime | None
    oauth_expires_at: datetime | None
    oauth_scope: str | None
    reauth_required: bool
    created_at: datetime
    updated_at: datetime


class InboxSettings(Resource, frozen=True, kw_only=True):
    """How much and when a mailbox sends; times are local to `send_window_timezone`."""

    inbox_id: UUID
    daily_send_limit: int
    hourly_limit: int
    min_delay_seconds: int
    max_delay_seconds: int
    send_window_start: time
    send_window_end: time
    send_window_timezone: str
    send_days: list[str]
    weekends_enabled: bool
    esp_matching_enabled: bool
    auto_throttle_enabled: bool
    updated_at: datetime


class LeadList(Resource, frozen=True, kw_only=True):
    """A list of leads; `lead_count` counts those that are not archived."""

    id: UUID
    name: str
    description: str | None
    lead_count: int
    source: str | None
    imported_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Lead(Resource, frozen=True, kw_only=True):
    """A person, once a team."""

    id: UUID
    lead_list_id: UUID | None
    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    title: str | None
    phone: str | None
    linkedin_url: str | None
    website: str | None
    status: str
    reply_intent: str | None
    timezone: str | None
    country: str | None
    city: str | None
    custom_fields: dict[str, Any]
    consent_type: str | None
    consent_source: str | None
    current_campaign_id: UUID | None
    current_step: int | None
    next_send_at: datetime | None
    first_contacted_at: datetime | None
    last_contacted_at: datetime | None
    replied_at: datetime | None
    bounced_at: datetime | None
    unsubscribed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Suppression(Resource, frozen=True, kw_only=True):
    """An address or a whole domain that the team never mails; `email` holds either, `scope` says which."""

    id: UUID
    email: str
    scope: str
    reason: str
    created_at: datetime


class Campaign(Resource, frozen=True, kw_only=True):
    """A campaign: its definition, its state, and its counters, which follow the event stream."""

    id: UUID
    lead_list_id: UUID | None
    name: str
    description: str | None
    status: str
    settings: dict[str, Any]
    lead_count: int
    sent_count: int
    delivered_count: int
    opened_count: int
    clicked_count: int
    replied_count: int
    bounced_count: int
    unsubscribed_count: int
    scheduled_start_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    paused_at: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime


class CampaignInbox(Resource, frozen=True, kw_only=True):
    """A mailbox that a campaign sends from."""

    inbox_id: UUID
    email: str
    status: str
    sent_count: int


class CampaignInboxes(Resource, frozen=True, kw_only=True):
    """All mailboxes that a campaign sends from."""

    data: list[CampaignInbox]


class Variant(Resource, frozen=True, kw_only=True):
    """An A/B variant of a step; weights are shares of their sum, until one has won and gets every new lead."""

    id: UUID
    variant_index: int
    weight: int
    subject: str
    body: str
    sent_count: int = 0
    opened_count: int = 0
    replied_count: int = 0
    is_winner: bool = False


class Step(Resource, frozen=True, kw_only=True):
    """A step of a campaign's sequence; its id survives edits. An empty subject stays in the first step's thread.

    `no_difference`: its A/B test ran long enough and found no arm that is better.
    """

    id: UUID
    campaign_id: UUID
    step_number: int
    delay_days: int
    delay_hours: int
    subject: str
    body: str
    conditions: list[dict[str, Any]]
    sent_count: int = 0
    opened_count: int = 0
    replied_count: int = 0
    no_difference: bool = False
    variants: list[Variant] = []


class Notice(Resource, frozen=True, kw_only=True):
    """Something that was saved and may not be what was meant."""

    code: str
    detail: str
    pointer: str


class Sequence(Resource, frozen=True, kw_only=True):
    """All steps of a campaign in order, and what looks odd about them."""

    data: list[Step]
    warnings: list[Notice] = []


class Email(Resource, frozen=True, kw_only=True):
    """One message of a campaign, from its slot to its end."""

    id: UUID
    campaign_id: UUID | None
    sequence_id: UUID | None
    variant_id: UUID | None
    lead_id: UUID
    inbox_id: UUID
    message_id: str | None
    thread_id: str | None
    from_email: str
    from_name: str | None
    to_email: str
    subject: str
    status: str
    error_message: str | None
    open_tracked: bool
    click_tracked: bool
    open_count: int
    click_count: int
    scheduled_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime


class EmailContent(Email, frozen=True, kw_only=True):
    """The same with its text."""

    body_html: str | None
    body_text: str | None


class DailyStats(Resource, frozen=True, kw_only=True):
    """One day of the team, by the day of sending in the team's zone."""

    date: date
    emails_sent: int
    emails_delivered: int
    emails_opened: int
    emails_clicked: int
    emails_replied: int
    emails_bounced: int
    emails_unsubscribed: int
    delivery_rate: float | None
    open_rate: float | None
    click_rate: float | None
    reply_rate: float | None
    bounce_rate: float | None


class Accepted(Resource, frozen=True, kw_only=True):
    """A command was carried out; `event_id` is the event that tells the rest of the platform (see `min_position`)."""

    id: UUID
    event_id: UUID
    status: str


class CloudEvent(Resource, frozen=True, kw_only=True):
    """An event as it stands in the journal (CloudEvents 1.0); `data` depends on the type."""

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    dataschema: str
    teamid: UUID
    correlationid: UUID
    data: dict[str, Any]
    causationid: UUID | None = None
    traceparent: str | None = None


Item = TypeVar("Item")


class Page(Resource, Generic[Item], frozen=True, kw_only=True):
    """A part of a list; ask again with `cursor=next_cursor` until it is null."""

    data: list[Item]
    next_cursor: str | None
