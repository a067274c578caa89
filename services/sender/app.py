"""The sender's wiring: what runs, how often, and which function hears which event."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

from libs.schema.events.base import Envelope, Event
from libs.schema.events.campaign import CampaignArchived, CampaignChanged, CampaignCircuitClosed, CampaignResumed
from libs.schema.events.email import (
    BounceBlocked,
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
from libs.schema.events.reply import ReplyClassified, ReplyReceived
from libs.schema.runtime.db import Tx
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.service import Loop, Runtime, Service, open_runtime
from services.sender import handlers
from services.sender.deps import Books, Deliveries, Deps, Owner, Scans, SenderSettings, timeouts
from services.sender.jobs.account import check_books
from services.sender.jobs.answer import answer_replies, give_up_answers
from services.sender.jobs.breakers import turn_breakers
from services.sender.jobs.edit import move_leads
from services.sender.jobs.enrol import RESCAN_AFTER, enrol, start_scheduled
from services.sender.jobs.mend import reap, settle_unknown, tell_delivered
from services.sender.jobs.plan import plan_slots
from services.sender.jobs.send import pass_together, send_due
from services.sender.jobs.settle import accept_together
from services.sender.smtp import Courier
from services.sender.together import Together

SETTINGS = SenderSettings

Job = Callable[[Deps], Awaitable[bool]]
# Seconds between two looks when the last one found nothing.
JOBS: tuple[tuple[Job, float], ...] = (
    (start_scheduled, 1.0),
    (enrol, 1.0),
    (move_leads, 1.0),
    (plan_slots, 0.5),
    (answer_replies, 0.5),
    (send_due, 0.1),
    (reap, 1.0),
    (settle_unknown, 5.0),
    (tell_delivered, 5.0),
    (turn_breakers, 5.0),
    (give_up_answers, 60.0),
    (check_books, 60.0),
)
HEARS: dict[type[Event], Callable[[Deps, Tx, Envelope, Any], Awaitable[None]]] = {
    ReplyReceived: handlers.on_reply_received,
    ReplyClassified: handlers.on_reply_classified,
    BounceHard: handlers.on_bounce,
    BounceSoft: handlers.on_bounce,
    BounceBlocked: handlers.on_bounce,
    EmailConfirmed: handlers.on_email_confirmed,
    EmailOpened: handlers.on_email_hit,
    EmailClicked: handlers.on_email_hit,
    EmailComplained: handlers.on_email_complained,
    LeadUnsubscribed: handlers.on_lead_unsubscribed,
    LeadSuppressed: handlers.on_lead_stopped_by_others,
    LeadErased: handlers.on_lead_stopped_by_others,
    LeadMarked: handlers.on_lead_marked,
    LeadImported: handlers.on_lead_imported,
    CampaignResumed: handlers.on_campaign_resumed,
    CampaignChanged: handlers.on_campaign_changed,
    CampaignArchived: handlers.on_campaign_archived,
    CampaignCircuitClosed: handlers.on_campaign_circuit_closed,
    InboxConnected: handlers.on_inbox_connected,
    InboxDisconnected: handlers.on_inbox_disconnected,
    InboxResumed: handlers.on_inbox_released,
    InboxCircuitClosed: handlers.on_inbox_circuit_closed,
    InboxHealthChanged: handlers.on_inbox_health_changed,
}


async def build(settings: SenderSettings) -> Service:
    """The sender, ready to run.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the login.

    """
    deps = make_deps(await open_runtime(settings, "sender"), settings)
    return Service(
        name="sender",
        runtime=deps,
        loops=[Loop(name=job.__name__, tick=functools.partial(job, deps), idle_s=idle_s) for job, idle_s in JOBS],
        handlers={kind: functools.partial(handler, deps) for kind, handler in HEARS.items()},
        consumer="sender",
        close=functools.partial(close, deps),
    )


def make_deps(runtime: Runtime, settings: SenderSettings) -> Deps:
    """The runtime with what only the sender has."""
    shared = {field.name: getattr(runtime, field.name) for field in fields(Runtime) if field.name != "settings"}
    return Deps(
        **shared,
        settings=settings,
        courier=Courier(
            tls_context(settings.extra_ca_file),
            allow=settings.dangerous_allow_networks,
            timeouts=timeouts(settings),
        ),
        deliveries=Deliveries(settings.max_deliveries),
        owner=Owner(settings.database_url),
        scans=Scans(RESCAN_AFTER),
        books=Books(),
        points=Together(functools.partial(pass_together, runtime.pool)),
        acceptances=Together(functools.partial(accept_together, runtime.pool, runtime.clock)),
    )


async def close(deps: Deps) -> None:
    """Lets every mail past its point of no return hear its answer, then says goodbye to the servers."""
    await deps.deliveries.drain()
    await deps.courier.close()
    await deps.owner.release()
