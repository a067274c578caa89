"""What the sender does when something happened: stops, evidence and absences reach enrollments, queued mail and leads.

Each may come late, in any order: stops are read from lead_stop, statuses only climb, dates only move on. Never sends.
"""

from datetime import datetime
from uuid import UUID

from libs.planning.hours.windows import known_zone
from libs.planning.limits.budget import band_of
from libs.planning.settings import team_rules
from libs.schema.events.base import Envelope
from libs.schema.events.campaign import CampaignArchived, CampaignChanged, CampaignCircuitClosed, CampaignResumed
from libs.schema.events.email import (
    BounceBlocked,
    BounceEvent,
    BounceHard,
    BounceSoft,
    EmailClicked,
    EmailComplained,
    EmailConfirmed,
    EmailOpened,
)
from libs.schema.events.inbox import (
    InboxCircuitClosed,
    InboxConnected,
    InboxDisconnected,
    InboxHealthChanged,
    InboxResumed,
)
from libs.schema.events.lead import LeadErased, LeadImported, LeadMarked, LeadSuppressed, LeadUnsubscribed
from libs.schema.events.reply import ReplyClassified, ReplyEvent, ReplyReceived
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from services.sender import circuits, outcomes
from services.sender.deps import Deps
from services.sender.queries import breaker, changes, fold
from services.sender.queries import refusal as refusals
from services.sender.queries.absence import read_absence
from services.sender.queries.evidence import Evidence, mark_arrived
from services.sender.queries.fold import LeadChange
from services.sender.rules.lifecycle import (
    AUTOMATIC_INTENTS,
    LEAD_STATUSES,
    NOTES_IN_A_ROW,
    REPLY_STATUSES,
    STATUS_AFTER_INTENT,
    after_return,
    email_status,
)

_ORDERS = fold.Orders(climb=LEAD_STATUSES, of_replies=REPLY_STATUSES)
_CLASSES: dict[type[BounceEvent], refusals.Class] = {BounceHard: "hard", BounceSoft: "soft", BounceBlocked: "blocked"}


async def on_reply_received(_deps: Deps, tx: Tx, envelope: Envelope, event: ReplyReceived) -> None:
    """A reply proves that its email arrived and stops what its stop rows say; an absence only postpones."""
    if event.email_id is not None:
        await outcomes.resolve_unknown(tx, [event.email_id], Evidence(resolved_by="reply"), envelope.time, "reply")
    if event.intent == "out_of_office":
        await _await_return(tx, envelope, event)
    if event.left_company:
        await _change(tx, envelope, event.lead_id, LeadChange())  # nobody reads there any more
    await _show_reply(tx, envelope, event)


async def on_reply_classified(_deps: Deps, tx: Tx, envelope: Envelope, event: ReplyClassified) -> None:
    """A better reading of a reply: the lead shows it, and stops that came with it are carried out.

    A person's word may also lower the lead's status.
    """
    await _show_reply(tx, envelope, event, by_person=event.by_person)


async def on_bounce(_deps: Deps, tx: Tx, envelope: Envelope, event: BounceEvent) -> None:
    """A report that a mail came back: it had been sent, the email shows it, stops that stand are carried out."""
    if event.source == "smtp":
        return  # told by this service, in the transaction that did all this
    kind = _CLASSES[type(event)]
    refusal = await refusals.add_refusal(tx, envelope.teamid, event.email_id, (kind, "dsn"), envelope.time)
    is_lasting = refusal is not None and kind == "soft" and await outcomes.stop_lasting(tx, refusal, envelope.id)
    await outcomes.resolve_unknown(tx, [event.email_id], Evidence(resolved_by="dsn"), envelope.time, "dsn")
    await fold.show_bounced(
        tx, envelope.teamid, event.email_id, email_status("accepted", bounced=True), event.diagnostic or event.reason
    )
    if event.lead_id is not None and kind != "blocked":
        status = "bounced" if kind == "hard" else "soft_bounced" if is_lasting else None
        await _change(tx, envelope, event.lead_id, LeadChange(status=status, bounced_at=envelope.time))
    if refusal is not None:
        await circuits.charge(tx, refusal, kind, envelope.time)


async def on_email_confirmed(_deps: Deps, tx: Tx, envelope: Envelope, event: EmailConfirmed) -> None:
    """The mail was seen in Sent, or reported as arrived: an unknown end is settled, the provider's own id kept."""
    evidence = Evidence(resolved_by=event.evidence, provider_message_id=event.provider_message_id)
    await outcomes.resolve_unknown(tx, [event.email_id], evidence, envelope.time, event.evidence)
    if event.provider_message_id:
        await fold.keep_provider_id(tx, envelope.teamid, event.email_id, event.provider_message_id)
    if event.evidence == "dsn":
        status = email_status("accepted", delivered=True)
        arrived = await mark_arrived(tx, envelope.teamid, event.email_id, envelope.time, status)
        await outcomes.delivered(tx, arrived, envelope.time, by_dsn=True)


async def on_email_hit(_deps: Deps, tx: Tx, envelope: Envelope, event: EmailOpened | EmailClicked) -> None:
    """Whoever fetched its pixel or followed its link had the mail, person or machine."""
    await outcomes.resolve_unknown(tx, [event.email_id], Evidence(resolved_by="hit"), envelope.time, "hit")


async def on_email_complained(_deps: Deps, tx: Tx, envelope: Envelope, event: EmailComplained) -> None:
    """A complaint: the mail arrived, and the person hears nothing more."""
    await outcomes.resolve_unknown(tx, [event.email_id], Evidence(resolved_by="dsn"), envelope.time, "dsn")
    if event.lead_id is not None:
        await _change(tx, envelope, event.lead_id, LeadChange(status="spam_reported"))
    await circuits.refused(tx, envelope.teamid, event.email_id, ("complaint", "arf"), envelope.time)


async def on_lead_unsubscribed(_deps: Deps, tx: Tx, envelope: Envelope, event: LeadUnsubscribed) -> None:
    """An opt-out, whichever way it came; a followed link also proves that its email arrived."""
    if event.email_id is not None:
        await outcomes.resolve_unknown(tx, [event.email_id], Evidence(resolved_by="hit"), envelope.time, "hit")
    await _change(tx, envelope, event.lead_id, LeadChange(status="unsubscribed", unsubscribed_at=envelope.time))


async def on_lead_stopped_by_others(
    _deps: Deps, tx: Tx, envelope: Envelope, event: LeadSuppressed | LeadErased
) -> None:
    """Suppressed or erased by the API: its stop rows are carried out; what has none meets its gate at the claim."""
    await _change(tx, envelope, event.lead_id, LeadChange())


async def on_lead_marked(_deps: Deps, tx: Tx, envelope: Envelope, event: LeadMarked) -> None:
    """A person set the lead's status by hand."""
    await _change(tx, envelope, event.lead_id, LeadChange(status=event.status))


async def on_lead_imported(_deps: Deps, tx: Tx, envelope: Envelope, event: LeadImported) -> None:
    """New values may fill the gap that held a lead."""
    await fold.release_lead(tx, envelope.teamid, event.lead_id)


async def on_campaign_resumed(_deps: Deps, tx: Tx, envelope: Envelope, event: CampaignResumed) -> None:
    """Everybody whom it held is looked at again; late slots are planned anew by the planner."""
    await fold.release_campaign(tx, envelope.teamid, event.campaign_id)


async def on_campaign_changed(_deps: Deps, tx: Tx, envelope: Envelope, event: CampaignChanged) -> None:
    """New steps may let go on whom the old ones held.

    What other changes move was asked for in the transaction of the change (jobs/changes.py): no event is waited for.
    """
    if event.changed is None or "sequences" in event.changed:
        await fold.release_campaign(tx, envelope.teamid, event.campaign_id)


async def on_campaign_archived(_deps: Deps, tx: Tx, envelope: Envelope, event: CampaignArchived) -> None:
    """Put away for good: its sequences end."""
    ended = await fold.campaign_enrollments(tx, envelope.teamid, event.campaign_id)
    await outcomes.fold_stops(tx, envelope.teamid, ended, envelope.time)


async def on_inbox_released(_deps: Deps, tx: Tx, envelope: Envelope, event: InboxResumed) -> None:
    """The inbox may be able to send again: the leads that it held are looked at again."""
    await fold.release_inboxes(tx, envelope.teamid, [event.inbox_id])


async def on_inbox_health_changed(_deps: Deps, tx: Tx, envelope: Envelope, event: InboxHealthChanged) -> None:
    """A healthier inbox may send again; in a worse band it sends less from now on, so its slots are given anew."""
    await fold.release_inboxes(tx, envelope.teamid, [event.inbox_id])
    if band_of(event.health_score).factor < band_of(event.previous).factor:
        await changes.ask_for_throttled(tx, new_id(), envelope.teamid, event.inbox_id, envelope.time)


async def on_inbox_connected(_deps: Deps, tx: Tx, envelope: Envelope, event: InboxConnected) -> None:
    """New credentials, or a mailbox that lets replies in again: what was refused before says nothing any more."""
    await circuits.credentials_renewed(tx, envelope.teamid, event.inbox_id, envelope.time)
    await breaker.reconnect_inbox(tx, envelope.teamid, event.inbox_id)
    await fold.release_inboxes(tx, envelope.teamid, [event.inbox_id])


async def on_inbox_disconnected(_deps: Deps, tx: Tx, envelope: Envelope, event: InboxDisconnected) -> None:
    """Its replies cannot be read: who answers would be written to again, so nothing is sent until they can be.

    What the API or this service tell of has been done by them.
    """
    await breaker.disconnect_unread_inbox(tx, envelope.teamid, event.inbox_id, event.reason)


async def on_inbox_circuit_closed(_deps: Deps, tx: Tx, envelope: Envelope, event: InboxCircuitClosed) -> None:
    """A breaker of an inbox or of its host is closed: by a person, which is carried out here, or by the sender."""
    if event.by_person:
        await circuits.closed_by_person(tx, envelope, event, event.inbox_id)
    inboxes = [event.inbox_id]
    if event.scope == "smtp_host":
        inboxes = await breaker.inboxes_of_host(tx, envelope.teamid, event.inbox_id)
    await fold.release_inboxes(tx, envelope.teamid, inboxes)


async def on_campaign_circuit_closed(_deps: Deps, tx: Tx, envelope: Envelope, event: CampaignCircuitClosed) -> None:
    """The same of a campaign's."""
    if event.by_person:
        await circuits.closed_by_person(tx, envelope, event, None)
    await fold.release_campaign(tx, envelope.teamid, event.campaign_id)


async def _await_return(tx: Tx, envelope: Envelope, event: ReplyReceived) -> None:
    """Sequences go on when the person is back, by their own clock where it is known; after some notes, never."""
    absence = await read_absence(tx, envelope.teamid, event.lead_id, event.inbox_id)
    if absence is None:
        return
    if absence.notes >= NOTES_IN_A_ROW:
        because = outcomes.Because(reason="absent", event_id=envelope.id, at=envelope.time)
        await outcomes.stop_only(tx, envelope.teamid, absence.lead_key, because)
        await _change(tx, envelope, event.lead_id, LeadChange())
        return
    known = known_zone(absence)
    zone = known.zone if known else absence.inbox_zone
    days = team_rules(absence.settings).out_of_office_days
    await _postpone(tx, envelope, event.lead_id, after_return(event.return_date, envelope.time, zone, days=days))


async def _postpone(tx: Tx, envelope: Envelope, lead_id: UUID, until: datetime) -> None:
    """Queued mail that would go before that is taken out of its slot first, so that its date moves too."""
    early = await fold.queued_of_lead(tx, envelope.teamid, lead_id, until)
    await outcomes.replan(tx, early, envelope.time, until, "out_of_office")
    await fold.postpone(tx, envelope.teamid, lead_id, until)


async def _show_reply(tx: Tx, envelope: Envelope, event: ReplyEvent, *, by_person: bool = False) -> None:
    # The row may know better by now: what a machine made of it must not come after a person's word.
    intent = await fold.persons_word(tx, envelope.teamid, event.reply_id) or event.intent
    if intent in AUTOMATIC_INTENTS:
        return
    change = LeadChange(
        status=STATUS_AFTER_INTENT.get(intent, "replied"),
        reply_intent=intent,
        replied_at=envelope.time,
        by_person=by_person,
    )
    await _change(tx, envelope, event.lead_id, change)


async def _change(tx: Tx, envelope: Envelope, lead_id: UUID, change: LeadChange) -> None:
    """Carries out all stops that stand for the person, then lets the lead show what happened."""
    stopped = await fold.stopped_enrollments(tx, envelope.teamid, lead_id)
    await outcomes.fold_stops(tx, envelope.teamid, stopped, envelope.time)
    await fold.change_lead(tx, envelope.teamid, lead_id, change, _ORDERS)
