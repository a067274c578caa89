"""One email's way, from its claim to its end: claim → gates → letter → deliver (T2 inside) → settle.

Never sends what it has not claimed, and never writes the final dot without T2.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec

from libs.planning.conditions import Go, decide
from libs.planning.gates import Hold, Mailbox, Recipient, mailbox_hold, recipient_hold
from libs.planning.hours.windows import local_date, next_open
from libs.planning.limits.diary import MIN_GAP_S, ROLLING_LIMIT
from libs.planning.schedule import LATE
from libs.planning.settings import campaign_rules
from libs.schema.runtime import barrier
from libs.schema.runtime.db import Pool, transaction
from libs.schema.secrets import SecretError, open_secret
from services.sender.compose import Letter, compose, signed
from services.sender.deps import Deps
from services.sender.jobs.settle import persistently, put_off, settled, windows_of
from services.sender.queries import claim
from services.sender.queries.claim import Claimed, Earlier, Limits
from services.sender.queries.point import Point, pass_the_point
from services.sender.rules.lifecycle import email_status
from services.sender.rules.reputation import PROBES
from services.sender.rules.verdict import Answer, NoAnswer, Outcome, Withheld
from services.sender.smtp import Account

# From the claim to T2: connect, log in, hand over the body. Who takes longer has lost the claim and sends nothing.
CLAIM_LEASE_S = 120.0

ROOM_WAIT_S = 0.1  # so that a process that is asked to stop, stops

Threads = Mapping[UUID | None, Sequence[Earlier]]


async def send_due(deps: Deps) -> bool:
    """Claims what is due, one mail per inbox, and starts its delivery; True when there was something."""
    await deps.courier.close_idle()
    await deps.owner.hold()
    room = deps.deliveries.room() or await deps.deliveries.room_within(ROOM_WAIT_S)
    if not room:
        return False
    claimed, threads = await claim_some(deps, room)
    for send in claimed:
        deps.deliveries.start(carry(deps, send, threads.get(send.enrollment_id, ())))
    return bool(claimed)


async def claim_some(deps: Deps, most: int) -> tuple[list[Claimed], Threads]:
    """T1: due sends with all their facts, and what their enrollments have sent before."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        teams = await claim.lock_teams_with_due(tx, now)
        limits = limits_of(deps, now, most)
        send_ids = await claim.claim_due(tx, teams, now, limits, email_status("claimed")) if teams else []
        if not send_ids:
            return [], {}
        claimed = await claim.load_claimed(tx, send_ids)
        lead_ids = [send.lead_id for send in claimed if send.lead_id]
        earlier = await claim.earlier_mails(tx, lead_ids, [s.enrollment_id for s in claimed if s.enrollment_id])
    threads: dict[UUID | None, list[Earlier]] = {}
    for mail in earlier:
        threads.setdefault(mail.enrollment_id, []).append(mail)
    return claimed, threads


def limits_of(deps: Deps, now: datetime, most: int = 1) -> Limits:
    """What every claim of this process keeps to; no more than `most` sends."""
    return Limits(
        least_gap_s=MIN_GAP_S,
        rolling_limit=ROLLING_LIMIT,
        not_before=now - LATE,
        most=most,
        lease_s=CLAIM_LEASE_S,
        owner=deps.owner.key,
        probes=PROBES,
    )


async def carry(deps: Deps, send: Claimed, earlier: Sequence[Earlier]) -> None:
    """Brings one claimed send to its end, whichever that is; after an error the reaper does."""
    log = deps.log.bind(email_id=str(send.send_id), team_id=str(send.team_id), inbox_id=str(send.inbox_id))
    try:
        now = deps.clock.now()
        ready = closed_gate(send, now) or compose(deps.settings, send, earlier, now)
        if isinstance(ready, Hold):
            await persistently(deps, partial(put_off, send=send, hold=ready, at=now))
            log.info("email.put_off", gate=ready.gate, value=ready.value)
            return
        send, outcome = await deliver(deps, send, ready)
        verdict = await settled(deps, send, outcome)
        if verdict != "accepted":  # of that its event tells
            log.info("email.settled", end=verdict, attempt=send.attempt, phase=_phase(outcome))
    except Exception:
        # The edge of this delivery: nobody above could do more, and the ledger's lease holds what is left to do.
        log.exception("email.broken", attempt=send.attempt)


def closed_gate(send: Claimed, now: datetime) -> Hold | None:
    """The first gate that is closed now to this send; the planner asked the same ones when it gave the slot.

    An answer by hand meets no gate of a campaign, no window and no health: somebody waits for it.
    """
    person = Recipient(
        installation_paused=send.paused,
        campaign_status=send.campaign_status,
        enrollment_state=send.enrollment_state,
        archived=send.lead_archived,
        suppressed=send.suppressed,
        stopped=send.stopped,
    )
    box = Mailbox(
        status=send.inbox_status,
        archived=send.inbox_archived,
        circuit=None,  # an open breaker with time left keeps its inbox from being claimed; after that this is the probe
        circuit_retry_at=None,
        health_score=None if send.kind == "reply" else send.health_score,
        min_health_score=campaign_rules(send.campaign_settings).min_health_score,
        throttled=send.auto_throttle_enabled,
    )
    opens = next_open(windows_of(send), now)
    window = None if opens == now else Hold(gate="window", retry_at=opens)
    return recipient_hold(person) or _away(send, now) or _other_way(send) or window or mailbox_hold(box)


def _away(send: Claimed, now: datetime) -> Hold | None:
    """A note came while the mail was under way, and its server put it off: it waits for the person, too."""
    if send.away_until is None or send.away_until <= now:
        return None
    return Hold(gate="out_of_office", value="away", retry_at=send.away_until)


def _other_way(send: Claimed) -> Hold | None:
    """What the lead did since the slot was given may send it elsewhere; the planner, asked again, says where."""
    if send.step is None or isinstance(decide(send.step, send), Go):
        return None
    return Hold(gate="condition", value="changed")


async def deliver(deps: Deps, send: Claimed, letter: Letter) -> tuple[Claimed, Outcome]:
    """How the conversation ended, and the send as T2 left it."""
    passed = send

    async def commit() -> bool:
        nonlocal passed
        if deps.stopping.is_set():
            return False
        point = point_of(deps, send, letter)
        allowed = await deps.points.ask((send, point))
        if allowed:
            passed = msgspec.structs.replace(
                send, committed_at=point.at, sent_on=point.sent_on, inbox_sent_on=point.inbox_sent_on
            )
        return allowed

    try:
        account, message = account_of(deps, send), signed(deps.settings, send, letter, deps.clock.now())
    except SecretError as error:
        # To the sender that is a wrong password: the breaker opens, and at last a person is asked for a new one.
        return passed, Answer(phase="auth", code=535, text=str(error))
    try:
        return passed, await deps.courier.deliver(account, message, commit, envelope_id=send.send_id)
    except Exception:
        # Out of commit alone, and then the courier has hung up without the dot: certainly not sent.
        deps.log.exception("email.commit_failed", email_id=str(send.send_id))
        return passed, Withheld(reason="refused")


async def pass_together(pool: Pool, asked: Sequence[tuple[Claimed, Point]]) -> list[bool]:
    """T2 of several: whether each one's final dot may go."""
    async with barrier.inside(pool, [(send.team_id, send.lead_key, send.campaign_id) for send, _ in asked]) as tx:
        return await pass_the_point(tx, asked)


def point_of(deps: Deps, send: Claimed, letter: Letter) -> Point:
    """What T2 writes: the moment, the days it counts on, and the words that the reader gets."""
    now = deps.clock.now()
    return Point(
        at=now,
        sent_on=local_date(now, send.team_zone),
        inbox_sent_on=local_date(now, send.send_window_timezone),
        lease_s=deps.lease_s,
        recipient=send.email,
        subject=letter.content.subject,
        text=letter.content.text,
        html=letter.content.html,
        thread_id=letter.thread_id,
        in_reply_to=letter.in_reply_to,
        open_tracked=letter.open_tracked,
        click_tracked=letter.click_tracked,
    )


def account_of(deps: Deps, send: Claimed) -> Account:
    """The inbox's SMTP account with its secrets opened.

    Raises:
        SecretError: one was sealed with another key.

    """
    key = deps.settings.secret_key
    token = send.oauth_access_token and open_secret(
        key, send.oauth_access_token, row_id=send.inbox_id, column="oauth_access_token"
    )
    password = send.smtp_password and open_secret(key, send.smtp_password, row_id=send.inbox_id, column="smtp_password")
    return Account(
        inbox_id=send.inbox_id,
        host=send.smtp_host or "",
        port=send.smtp_port or 0,
        tls=send.smtp_tls,
        username=(send.smtp_username or send.inbox_email) if token or password else None,
        password=password,
        access_token=token,
        helo=send.inbox_email.rpartition("@")[2],
    )


def _phase(outcome: Outcome) -> str | None:
    return outcome.phase if isinstance(outcome, Answer | NoAnswer) else None
