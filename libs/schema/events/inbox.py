"""An inbox's and a domain's life: connected, changed, paused, broken, healthy."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.schema.events.base import Event, Settings, register

CircuitKind = Literal["transport", "auth", "provider_limit", "reputation", "complaint"]
# Of the inbox alone, or of its SMTP host with all inboxes of the team on it.
CircuitScope = Literal["inbox", "smtp_host"]
# Half-open: some mail passes, as many as the kind allows.
CircuitState = Literal["open", "half-open"]


class InboxEvent(Event, frozen=True, kw_only=True):
    """What every event of an inbox says."""

    AGGREGATE: ClassVar[str] = "inbox"

    inbox_id: UUID


class InboxConnected(InboxEvent, frozen=True, kw_only=True):
    """The mailbox was added, with these settings, or its credentials were renewed, or its replies are read again."""

    TYPE: ClassVar[str] = "inbox.connected"

    provider: str
    settings: Settings | None = None


class InboxChanged(InboxEvent, frozen=True, kw_only=True):
    """How much or when it sends was changed: what differs, what stands from now on, what those that differ were."""

    TYPE: ClassVar[str] = "inbox.changed"

    changed: list[str]
    settings: Settings
    was: Settings


class InboxDisconnected(InboxEvent, frozen=True, kw_only=True):
    """The mailbox cannot be used until somebody renews its credentials."""

    TYPE: ClassVar[str] = "inbox.disconnected"

    reason: str


class InboxPaused(InboxEvent, frozen=True, kw_only=True):
    """Nothing is sent from it until it is resumed."""

    TYPE: ClassVar[str] = "inbox.paused"

    reason: str


class InboxResumed(InboxEvent, frozen=True, kw_only=True):
    """It sends again."""

    TYPE: ClassVar[str] = "inbox.resumed"


class InboxCircuitOpened(InboxEvent, frozen=True, kw_only=True):
    """A circuit breaker opened, whole or by half, with the numbers that decided it (field.md 4.4)."""

    TYPE: ClassVar[str] = "inbox.circuit_opened"

    kind: CircuitKind
    failures: int
    limit: int
    retry_at: datetime
    reason: str
    scope: CircuitScope = "inbox"
    state: CircuitState = "open"
    sends: int | None = None  # of which so many failed; None: the failures came in a row


class InboxCircuitClosed(InboxEvent, frozen=True, kw_only=True):
    """The probes went through, its time was over, or a person closed it."""

    TYPE: ClassVar[str] = "inbox.circuit_closed"

    kind: CircuitKind
    scope: CircuitScope = "inbox"
    by_person: bool = False


class InboxHealthChanged(InboxEvent, frozen=True, kw_only=True):
    """The health score moved; None means that there is too little data to say."""

    TYPE: ClassVar[str] = "inbox.health_changed"

    health_score: int | None
    previous: int | None


class DomainChecked(Event, frozen=True, kw_only=True):
    """What a domain's DNS says is new: it is told once. None: nobody can say, which is no verdict."""

    TYPE: ClassVar[str] = "domain.checked"
    AGGREGATE: ClassVar[str] = "domain"

    domain_id: UUID
    spf_valid: bool | None
    dkim_valid: bool | None
    dmarc_valid: bool | None
    dmarc_policy: str | None = None
    health_score: int | None = None


register(
    InboxConnected,
    InboxChanged,
    InboxDisconnected,
    InboxPaused,
    InboxResumed,
    InboxCircuitOpened,
    InboxCircuitClosed,
    InboxHealthChanged,
    DomainChecked,
)
