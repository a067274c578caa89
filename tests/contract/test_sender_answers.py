"""Answers by hand on real PostgreSQL and a scripted SMTP server: in the thread, at most once, stopped by few things."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from uuid import UUID

import pytest

from deploy.local import verify
from deploy.local.ca import Certificates, certificates
from libs.schema.commands import AnswerReply
from libs.schema.events.base import Envelope
from libs.schema.events.email import BounceHard, EmailCancelled, EmailConfirmed, EmailDeferred, EmailQueued, EmailSent
from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, transaction
from libs.schema.runtime.jobs import enqueue
from services.analytics.rules.history import Happening
from services.analytics.rules.numbers import mark
from services.sender.compose import Letter, compose
from services.sender.handlers import on_email_confirmed
from services.sender.jobs.answer import answer_replies, give_up_answers
from services.sender.jobs.mend import reap
from services.sender.jobs.send import claim_some, deliver, point_of
from services.sender.queries.point import pass_the_point
from services.sender.rules.verdict import Withheld
from tests.contract.answers_world import THEIRS, answer, ends, got_reply, job
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, sender_world
from tests.support import PEPPER, Step, insert

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


@pytest.fixture
async def reply_id(world: World) -> UUID:
    """Bob's reply to the first mail of a sequence, which it stopped."""
    (bob,) = await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=2))
    await world.plan()
    await world.go_on(MINUTE)
    (email_id,) = await world.column("SELECT id FROM emails WHERE status = 'sent'")
    reply_id = await got_reply(world, email_id)
    stop = {"id": new_id(), "team_id": world.team.id, "lead_key": bob.key, "reason": "replied", "event_id": new_id()}
    await insert(world.owner, "lead_stop", stop | {"stopped_at": world.clock.now()})
    world.clock.move(HOUR)
    return reply_id


def last_mail(world: World) -> EmailMessage:
    return message_from_bytes(world.script.accepted[-1], policy=SMTP)


async def test_an_answer_goes_on_in_the_thread_in_the_writers_own_words_alone(world: World, reply_id: UUID) -> None:
    await world.owner.execute("UPDATE send_ledger SET provider_message_id = '<learned@provider.test>'")
    job_id = await answer(world, reply_id, "Of course, tomorrow?\n\nAnn", "<p>Of course, <b>tomorrow</b>?</p>")
    await world.send()
    first, mail = message_from_bytes(world.script.accepted[0], policy=SMTP), last_mail(world)
    assert (mail["To"], mail["From"], mail["Subject"]) == ("bob@lead.test", "Ann <inbox0@acme.test>", "Re: Hello Bob")
    assert mail["In-Reply-To"] == THEIRS
    assert mail["References"].split() == [first["Message-ID"], "<learned@provider.test>", THEIRS]
    assert [name for name in mail if name.startswith(("List-", "Feedback"))] == []
    assert mail["X-Coldstream-Ref"] == mail["Message-ID"].partition("@")[0].strip("<")
    text, html = (part.get_content() for part in mail.iter_parts())
    assert text.splitlines() == ["Of course, tomorrow?", "", "Ann"]
    assert html.strip() == "<p>Of course, <b>tomorrow</b>?</p>"
    row = await world.owner.fetchrow("SELECT * FROM emails WHERE kind = 'reply'")
    assert row is not None
    assert (row["status"], row["thread_id"], row["in_reply_to"]) == ("sent", first["Message-ID"], THEIRS)
    assert (row["sequence_id"], row["enrollment_id"], row["open_tracked"]) == (None, None, False)
    assert row["campaign_id"] is not None
    result = {"email_id": str(row["id"]), "scheduled_at": world.clock.now().isoformat().replace("+00:00", "Z")}
    assert await job(world, job_id) == ("completed", result)


async def test_the_next_answer_names_everything_that_was_said_before(world: World, reply_id: UUID) -> None:
    await answer(world, reply_id)
    await world.send()
    first, second = (message_from_bytes(raw, policy=SMTP)["Message-ID"] for raw in world.script.accepted)
    world.clock.move(HOUR)
    (email_id,) = await world.column("SELECT id FROM emails WHERE kind = 'reply'")
    again = await got_reply(world, email_id, message_id="<answer-2@lead.test>", subject="Re: Hello Bob")
    world.clock.move(HOUR)
    await answer(world, again, "See you then.")
    await world.send()
    mail = last_mail(world)
    assert (mail["Subject"], mail["In-Reply-To"]) == ("Re: Hello Bob", "<answer-2@lead.test>")
    assert mail["References"].split() == [first, THEIRS, second, "<answer-2@lead.test>"]
    assert len(await world.column("SELECT DISTINCT thread_id FROM emails")) == 1


async def test_a_reply_that_is_faster_than_a_second_stands_behind_what_it_answers(world: World, reply_id: UUID) -> None:
    sent_at = (await world.column("SELECT committed_at FROM send_ledger"))[0].replace(microsecond=700_000)
    await world.owner.execute("UPDATE send_ledger SET committed_at = $1", sent_at)
    await world.owner.execute("UPDATE replies SET received_at = $1", sent_at.replace(microsecond=0))
    await answer(world, reply_id)
    await world.send()
    first = message_from_bytes(world.script.accepted[0], policy=SMTP)
    assert last_mail(world)["References"].split() == [first["Message-ID"], THEIRS]


async def test_an_answer_counts_as_no_campaigns_mail(world: World, reply_id: UUID) -> None:
    await answer(world, reply_id)
    await world.send()
    queued, sent = [await world.events(kind) for kind in ("email.queued", "email.sent")]
    assert [event.kind for event in queued if isinstance(event, EmailQueued)] == ["campaign", "reply"]
    assert [event.kind for event in sent if isinstance(event, EmailSent)] == ["campaign", "reply"]
    happenings = [
        Happening(event_id=new_id(), team_id=world.team.id, at=MONDAY, event=event) for event in [*queued, *sent]
    ]
    assert [known.sent for each in happenings if (known := mark(each))] == [True]
    assert await world.column("SELECT count(*) FROM send_ledger WHERE campaign_id IS NOT NULL") == [1]
    for query in (
        verify.LEDGER_AGAINST_EMAILS,
        verify.LEDGER_AGAINST_JOURNAL,
        verify.ENROLLMENTS_AGAINST_JOURNAL,
        verify.CAMPAIGNS_AGAINST_ENROLLMENTS,
    ):
        assert await world.owner.fetch(query) == []


async def test_neither_campaign_nor_stop_nor_hour_nor_health_is_in_its_way(world: World, reply_id: UUID) -> None:
    await world.owner.execute("UPDATE campaigns SET status = 'paused'")
    await world.owner.execute("UPDATE enrollments SET state = 'stopped', ended_at = now()")
    await world.owner.execute(
        "UPDATE inbox_settings SET send_days = '{wed}', weekends_enabled = false, auto_throttle_enabled = true"
    )
    await world.owner.execute("UPDATE inboxes SET health_score = 10, health_known = true")
    for kind, scope in (("complaint", "inbox"), ("reputation", "inbox"), ("reputation", "campaign")):
        key = world.inboxes[0].id if scope == "inbox" else (await world.column("SELECT id FROM campaigns"))[0]
        breaker = {"team_id": world.team.id, "kind": kind, "scope": scope, "scope_key": str(key), "state": "open"}
        await insert(world.owner, "breaker", breaker | {"retry_at": MONDAY + 9 * HOUR, "changed_at": MONDAY})
    await world.owner.execute("UPDATE leads SET deleted_at = now()")
    await answer(world, reply_id)
    await world.send()
    assert await ends(world) == [("accepted", "sent", None)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "INSERT INTO suppression_list (team_id, email, reason) SELECT id, 'bob@lead.test', 'manual' FROM teams",
            "supp",
        ),
        (
            """INSERT INTO suppression_list (team_id, email, reason, scope)
            VALUES (NULL, 'lead.test', 'manual', 'domain')""",
            "suppressed (manual)",
        ),
        ("UPDATE inboxes SET status = 'paused'", "inbox is paused"),
        ("UPDATE inboxes SET deleted_at = now()", "inbox was deleted"),
        ("UPDATE inbox_settings SET daily_send_limit = 1, hourly_limit = 0", "limit"),
        ("UPDATE replies SET from_email = 'no address'", "no address"),
        ("UPDATE replies SET from_email = 'two@at@lead.test'", "address"),
        ("DELETE FROM replies", "reply is gone"),
        (
            """INSERT INTO lead_stop (id, team_id, lead_key, reason, event_id, stopped_at)
            SELECT gen_random_uuid(), team_id, lead_key, 'erased', gen_random_uuid(), '2026-03-02 10:30Z'
            FROM send_ledger""",
            "was erased",
        ),
    ],
)
async def test_what_must_not_or_cannot_be_answered_is_refused_with_its_reason(
    world: World, reply_id: UUID, change: str, why: str
) -> None:
    await world.owner.execute("ALTER TABLE inbox_settings DROP CONSTRAINT IF EXISTS inbox_settings_hourly_limit_check")
    await world.owner.execute(change)
    status, said = await job(world, await answer(world, reply_id))
    assert status == "failed"
    assert why in said
    assert await ends(world) == []


async def test_another_teams_reply_is_none(world: World, reply_id: UUID) -> None:
    other = new_id()
    await world.owner.execute("INSERT INTO teams (id, name, slug) VALUES ($1, 'other', 'other')", other)
    job_id = await enqueue(world.owner, other, AnswerReply(reply_id=reply_id, body_text="Hm."), world.clock.now())
    assert await answer_replies(world.deps)
    assert (await job(world, job_id))[0] == "failed"


async def test_who_opts_out_after_it_was_queued_gets_none(world: World, reply_id: UUID) -> None:
    await answer(world, reply_id)
    row = {"team_id": world.team.id, "email": "bob@lead.test", "reason": "unsubscribe"}
    await insert(world.owner, "suppression_list", row | {"value_hash": lead_key(PEPPER, "bob@lead.test")})
    await world.send()
    assert len(world.script.accepted) == 1
    assert await ends(world) == [("suppressed", "cancelled", "suppression: unsubscribe")]
    (cancelled,) = [event for event in await world.events("email.cancelled") if isinstance(event, EmailCancelled)]
    assert (cancelled.kind, cancelled.reason) == ("reply", "suppressed")


@pytest.mark.parametrize("reason", ["suppressed", "erased"])
async def test_t2_looks_once_more(world: World, reply_id: UUID, reason: str) -> None:
    await answer(world, reply_id)
    (send,), _ = await claim_some(world.deps, 1)
    letter = compose(world.deps.settings, send, (), world.clock.now())
    assert isinstance(letter, Letter)
    if reason == "suppressed":
        row = {"team_id": world.team.id, "email": "bob@lead.test", "reason": "unsubscribe"}
        await insert(world.owner, "suppression_list", row)
    else:
        stop = {"id": new_id(), "team_id": world.team.id, "lead_key": send.lead_key, "reason": "erased"}
        await insert(world.owner, "lead_stop", stop | {"event_id": new_id(), "stopped_at": world.clock.now()})
    _, outcome = await deliver(world.deps, send, letter)
    assert outcome == Withheld(reason="refused")
    assert len(world.script.accepted) == 1


async def test_a_full_hour_makes_it_wait_and_the_job_says_until_when(world: World, reply_id: UUID) -> None:
    (committed_at,) = await world.column("SELECT committed_at FROM send_ledger WHERE state = 'accepted'")
    world.clock.move(committed_at + 20 * MINUTE - world.clock.now())
    await world.owner.execute("UPDATE inbox_settings SET hourly_limit = 1")
    status, result = await job(world, await answer(world, reply_id))
    assert status == "completed"
    free_at = datetime.fromisoformat(result["scheduled_at"])
    assert free_at == committed_at + HOUR
    world.clock.move(free_at - world.clock.now() - timedelta(seconds=1))
    await world.send()
    assert len(world.script.accepted) == 1
    world.clock.move(timedelta(seconds=1))
    await world.send()
    assert len(world.script.accepted) == 2
    assert await world.column("SELECT committed_at FROM send_ledger WHERE kind = 'reply'") == [free_at]


async def test_of_two_answers_the_second_keeps_the_gap_to_the_first(world: World, reply_id: UUID) -> None:
    await world.owner.execute("UPDATE inbox_settings SET min_delay_seconds = 300, max_delay_seconds = 300")
    slots = [(await job(world, await answer(world, reply_id, text)))[1]["scheduled_at"] for text in ("One.", "Two.")]
    first, second = map(datetime.fromisoformat, slots)
    assert second - first == timedelta(seconds=300)


async def test_it_goes_before_campaign_mail_that_is_due_at_the_same_moment(world: World, reply_id: UUID) -> None:
    await world.leads("cat", "dan")
    await world.plan()
    world.clock.move(HOUR)  # both are due by now, and for longer
    await answer(world, reply_id)
    await world.send()
    assert [kind for (kind,) in await world.ledger("kind") if kind == "reply"] == ["reply"]
    assert last_mail(world)["To"] == "bob@lead.test"
    assert (await world.ledger("state")).count(("queued",)) == 2


async def test_carried_out_twice_it_is_one_mail(world: World, reply_id: UUID) -> None:
    job_id = await answer(world, reply_id)
    first = await job(world, job_id)
    await world.send()
    world.clock.move(HOUR)
    await world.owner.execute("UPDATE job_queue SET status = 'waiting', attempts = 0, result = NULL")
    assert await answer_replies(world.deps)
    await world.send()
    assert first[0] == (await job(world, job_id))[0] == "completed"
    assert len(world.script.accepted) == 2
    assert (await world.types()).count("email.queued") == 2


async def test_after_a_crash_between_t2_and_dot_its_end_is_unknown_until_sent_shows_it(
    world: World, reply_id: UUID
) -> None:
    await answer(world, reply_id)
    (send,), _ = await claim_some(world.deps, 1)
    letter = compose(world.deps.settings, send, (), world.clock.now())
    assert isinstance(letter, Letter)
    async with transaction(world.deps.pool) as tx:
        assert await pass_the_point(tx, [(send, point_of(world.deps, send, letter))]) == [True]
    await world.owner.execute("UPDATE send_ledger SET lease_until = now() - interval '1 s' WHERE kind = 'reply'")
    await reap(world.deps)
    await world.send()
    assert await ends(world) == [("unknown", "unknown", None)]
    day = world.clock.now().date()
    event = EmailConfirmed(email_id=send.send_id, kind="reply", inbox_id=send.inbox_id, sent_on=day, inbox_sent_on=day)
    async with transaction(world.deps.pool) as tx:
        await on_email_confirmed(world.deps, tx, _envelope(world, event), event)
    assert await ends(world) == [("accepted", "sent", None)]
    (_, told) = [event for event in await world.events("email.sent") if isinstance(event, EmailSent)]
    assert (told.kind, told.resolved_by) == ("reply", "sent_folder")
    assert len(world.script.accepted) == 1


def _envelope(world: World, event: EmailConfirmed) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=new_id(),
        source="/coldstream/replies",
        type=event.TYPE,
        subject=event.subject(),
        time=world.clock.now(),
        dataschema=f"{event.TYPE}/v1",
        teamid=world.team.id,
        correlationid=new_id(),
        data=b"",  # pyright: ignore[reportArgumentType] - nobody asks for it
    )


async def test_a_greylisted_answer_is_tried_again_and_a_block_gives_it_to_no_planner(
    world: World, reply_id: UUID
) -> None:
    await answer(world, reply_id)
    world.script.says["rcpt"] = "450 4.7.1 greylisted"
    await world.send()
    (deferred,) = [event for event in await world.events("email.deferred") if isinstance(event, EmailDeferred)]
    world.script.says["rcpt"] = "550 5.7.1 blocked by policy"
    world.clock.move(deferred.retry_at - world.clock.now())
    await world.send()
    assert await ends(world) == [("queued", "queued", None)]
    del world.script.says["rcpt"]
    await world.go_on(25 * HOUR, step=4 * HOUR)
    assert await ends(world) == [("accepted", "sent", None)]
    assert len(world.script.accepted) == 2


async def test_an_answer_that_bounces_suppresses_and_charges_no_good_name(world: World, reply_id: UUID) -> None:
    await answer(world, reply_id)
    world.script.says["rcpt"] = "550 5.1.1 no such user"
    await world.send()
    assert await ends(world) == [("rejected", "bounced", "5.1.1 no such user")]
    (bounce,) = [event for event in await world.events("bounce.%") if isinstance(event, BounceHard)]
    assert bounce.kind == "reply"
    assert await world.column("SELECT email FROM suppression_list") == ["bob@lead.test"]
    assert await world.column("SELECT failures FROM breaker WHERE kind = 'reputation'") == []


async def test_a_colleague_is_answered_at_the_colleagues_address(world: World, reply_id: UUID) -> None:
    await world.owner.execute("UPDATE replies SET from_email = 'Cleo@Lead.test', match_method = 'colleague'")
    await insert(
        world.owner, "suppression_list", {"team_id": world.team.id, "email": "bob@lead.test", "reason": "unsubscribe"}
    )
    await answer(world, reply_id)
    await world.send()
    assert last_mail(world)["To"] == "cleo@lead.test"
    rows = await world.owner.fetch("SELECT lead_key, lead_id FROM send_ledger ORDER BY created_at")
    assert rows[1]["lead_key"] == lead_key(PEPPER, "cleo@lead.test")
    assert rows[1]["lead_id"] == rows[0]["lead_id"]


async def test_it_waits_while_everything_is_paused_or_the_line_is_down_and_is_given_up_after_three_days(
    world: World, reply_id: UUID
) -> None:
    await answer(world, reply_id)
    await world.owner.execute("UPDATE installation SET paused = true")
    await world.send()
    assert await ends(world) == [("queued", "queued", None)]
    await world.owner.execute("UPDATE installation SET paused = false")
    world.script.says |= {"greeting": DROP, "mail": DROP}
    await world.go_on(5 * HOUR, step=30 * MINUTE)
    assert await ends(world) == [("queued", "queued", None)]
    assert not await give_up_answers(world.deps)
    world.clock.move(timedelta(hours=70))
    assert await give_up_answers(world.deps)
    assert not await give_up_answers(world.deps)
    assert await ends(world) == [("expired", "cancelled", "no way out for three days")]
    (cancelled,) = [event for event in await world.events("email.cancelled") if isinstance(event, EmailCancelled)]
    assert cancelled.reason == "expired"


async def test_a_late_answer_still_goes_when_the_line_is_back(world: World, reply_id: UUID) -> None:
    await answer(world, reply_id)
    world.clock.move(20 * HOUR)
    await world.send()
    assert await ends(world) == [("accepted", "sent", None)]
