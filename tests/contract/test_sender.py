"""The sender's jobs on real PostgreSQL and a scripted SMTP server: one email's way, and every way it can end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP
from itertools import pairwise

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.email import BounceHard, EmailDeferred, EmailQueued, EmailSent
from libs.schema.events.lead import LeadHeld, LeadStopped
from libs.schema.runtime.db import Connection
from services.sender.jobs.mend import reap, settle_unknown, tell_delivered
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, sender_world
from tests.support import Step, insert, make_lead

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


async def test_a_lead_gets_every_step_in_one_thread_and_the_campaign_completes(world: World) -> None:
    (bob,) = await world.leads("bob", custom_fields={"plan": "gold"})
    campaign = await world.campaign(
        Step(subject="Hello {{ first_name }}", body="About {{ plan }}"),
        Step(subject="", body="Still there?", delay_days=2),
    )
    await world.go_on(3 * DAY, step=6 * HOUR)
    first, second = (message_from_bytes(raw, policy=SMTP) for raw in world.script.accepted)
    assert (first["Subject"], second["Subject"]) == ("Hello Bob", "Re: Hello Bob")
    assert [second["In-Reply-To"], second["References"]] == [first["Message-ID"]] * 2
    assert "About gold" in first.get_content()
    assert await world.types() == [
        "lead.enrolled",
        "email.queued",
        "email.sent",
        "email.queued",
        "email.sent",
        "lead.completed",
        "campaign.completed",
    ]
    one, two = [event for event in await world.events("email.sent") if isinstance(event, EmailSent)]
    assert (one.step_id, two.step_id) == campaign.step_ids
    assert (one.step_number, two.step_number) == (1, 2)
    lead = await world.owner.fetchrow("SELECT * FROM leads WHERE id = $1", bob.id)
    assert lead is not None
    assert (lead["status"], lead["current_campaign_id"], lead["next_send_at"]) == ("sequence_complete", None, None)
    emails = await world.owner.fetch("SELECT status, thread_id, subject, sent_on FROM emails ORDER BY scheduled_at")
    assert [email["status"] for email in emails] == ["sent", "sent"]
    assert len({email["thread_id"] for email in emails}) == 1


async def test_a_mail_goes_in_the_second_that_was_shown(world: World) -> None:
    await world.leads("ann", "bob", "cat")
    await world.campaign()
    await world.plan()
    slots = [event.scheduled_at for event in await world.events("email.queued") if isinstance(event, EmailQueued)]
    for slot in sorted(slots):
        world.clock.move(slot - world.clock.now())
        await world.send()
    assert [row[0] for row in await world.ledger("committed_at")] == sorted(slots)
    gaps = [after - before for before, after in pairwise(sorted(slots))]
    assert min(gaps) >= MINUTE


async def test_a_missing_value_holds_the_lead_and_an_import_lets_it_go(world: World) -> None:
    await world.leads("bob", first_name="")
    await world.campaign()
    await world.plan()
    await world.plan()
    (held,) = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert (held.gate, held.value, held.retry_at) == ("variable", "first_name", None)
    assert await world.column("SELECT state FROM enrollments") == ["held"]
    await world.owner.execute("UPDATE leads SET first_name = 'Bob'")
    await world.go_on(HOUR + MINUTE, step=HOUR)
    assert len(world.script.accepted) == 1


async def test_without_a_postal_address_nothing_goes(world: World) -> None:
    await world.owner.execute("UPDATE teams SET physical_address = NULL")
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    (held,) = await world.events("lead.held")
    assert isinstance(held, LeadHeld)
    assert held.gate == "physical_address"


async def test_a_closed_window_is_told_with_its_opening(world: World) -> None:
    await world.owner.execute("UPDATE inbox_settings SET send_days = '{wed}', weekends_enabled = false")
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    (held,) = await world.events("lead.held")
    assert isinstance(held, LeadHeld)
    assert (held.gate, held.retry_at) == ("window", (MONDAY + 2 * DAY).replace(hour=0))
    await world.go_on(3 * DAY, step=HOUR)
    assert await world.column("SELECT extract(isodow FROM committed_at)::int FROM send_ledger") == [3]


async def test_a_lead_waits_while_it_is_in_another_sequence(world: World) -> None:
    await world.leads("bob")
    first = await world.campaign(Step(), Step(subject="", delay_days=1))
    second = await world.campaign()
    await world.plan()
    assert await world.column("SELECT campaign_id FROM enrollments") == [first.id]
    await world.go_on(2 * DAY, step=12 * HOUR)
    assert await world.column("SELECT campaign_id FROM enrollments ORDER BY enrolled_at") == [first.id, second.id]


@pytest.mark.parametrize(
    ("scope", "value"), [("email", "bob@lead.test"), ("domain", "lead.test"), ("email", "gone@erased.test")]
)
async def test_a_suppressed_person_is_not_enrolled_by_address_domain_or_key(
    world: World, scope: str, value: str
) -> None:
    (bob,) = await world.leads("bob")
    row = {"team_id": world.team.id, "email": value, "reason": "manual", "scope": scope}
    await insert(world.owner, "suppression_list", row | {"value_hash": bob.key if value.startswith("gone") else None})
    await world.campaign()
    await world.plan()
    assert await world.column("SELECT id FROM enrollments") == []


async def test_a_greylisted_mail_goes_at_its_second_try(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["rcpt"] = "451 4.7.1 greylisted"
    await world.plan()
    await world.go_on(MINUTE)
    (deferred,) = await world.events("email.deferred")
    assert isinstance(deferred, EmailDeferred)
    assert deferred.phase == "rcpt"
    assert 12 * MINUTE <= deferred.retry_at - MONDAY <= 20 * MINUTE
    del world.script.says["rcpt"]
    await world.go_on(20 * MINUTE)
    assert await world.ledger("state", "attempt") == [("accepted", 2)]
    assert len(world.script.accepted) == 1


async def test_a_refused_recipient_bounces_and_is_suppressed_in_every_campaign(world: World) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    world.script.says["rcpt"] = "550 5.1.1 <bob@lead.test>: no such user"
    await world.go_on(3 * DAY, step=6 * HOUR)
    assert await world.ledger("state", "smtp_status", "committed_at") == [("rejected", "5.1.1", None)]
    (bounce,) = await world.events("bounce.%")
    assert isinstance(bounce, BounceHard)
    assert bounce.diagnostic == "5.1.1 <address>: no such user"
    (stopped,) = await world.events("lead.stopped")
    assert isinstance(stopped, LeadStopped)
    assert stopped.reason == "hard_bounce"
    assert await world.column("SELECT value_hash FROM suppression_list") == [bob.key]
    assert await world.column("SELECT reason FROM lead_stop") == ["hard_bounce"]
    assert await world.column("SELECT status FROM leads") == ["bounced"]
    assert await world.column("SELECT status FROM emails") == ["bounced"]
    assert await world.column("SELECT status FROM campaigns") == ["completed"]


async def test_a_block_charges_nobody_but_the_mail_and_suppresses_no_lead(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["dot"] = "550 5.7.1 message blocked as spam"
    await world.go_on(3 * DAY, step=6 * HOUR)
    assert await world.ledger("state", "attempt") == [("rejected", 2)]
    assert [type(event).TYPE for event in await world.events("bounce.%")] == ["bounce.blocked"]
    assert await world.column("SELECT id FROM suppression_list") == []
    assert await world.column("SELECT state FROM enrollments") == ["failed"]


async def test_a_mail_whose_answer_was_lost_is_never_sent_again_and_counts_after_three_days(world: World) -> None:
    await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    world.script.says["dot"] = DROP
    await world.go_on(2 * DAY, step=6 * HOUR)
    assert await world.ledger("state") == [("unknown",)]
    assert len(world.script.accepted) == 1
    assert await world.column("SELECT status FROM emails") == ["unknown"]
    world.clock.move(DAY + 6 * HOUR)
    await settle_unknown(world.deps)
    await settle_unknown(world.deps)
    assert await world.ledger("state", "resolved_by") == [("accepted", "expired")]
    assert len(world.script.accepted) == 1
    sent = await world.events("email.sent")
    assert [event.resolved_by for event in sent if isinstance(event, EmailSent)] == ["expired"]
    del world.script.says["dot"]
    await world.go_on(DAY, step=6 * HOUR)
    assert len(world.script.accepted) == 2  # step 2, one day after step 1


async def test_silence_for_a_day_means_delivered_and_is_told_once(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.go_on(HOUR)
    assert not await tell_delivered(world.deps)
    world.clock.move(DAY)
    assert await tell_delivered(world.deps)
    assert not await tell_delivered(world.deps)
    assert await world.column("SELECT status FROM emails") == ["delivered"]
    assert (await world.types()).count("email.delivered") == 1


async def test_a_person_who_was_erased_and_imported_again_is_not_mailed_again(world: World) -> None:
    (bob,) = await world.leads("bob")
    campaign = await world.campaign(Step(), Step(subject="", delay_days=5))
    await world.go_on(HOUR)
    assert len(world.script.accepted) == 1
    await world.owner.execute("DELETE FROM leads WHERE id = $1", bob.id)
    again = await make_lead(world.owner, world.team, email="bob@lead.test", list_id=world.list_id)
    await world.go_on(HOUR)
    assert len(world.script.accepted) == 1
    assert await world.column("SELECT lead_id FROM enrollments WHERE campaign_id = $1", campaign.id) == [again.id]
    assert await world.column("SELECT step_number FROM enrollments") == [2]


async def test_five_failures_of_the_line_open_the_breaker_and_a_success_closes_it(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["greeting"] = DROP
    await world.go_on(50 * MINUTE, step=MINUTE)
    assert await world.column("SELECT scope || ' ' || state FROM breaker ORDER BY scope") == [
        "inbox open",
        "smtp_host open",
    ]
    assert await world.column("SELECT circuit_state FROM inboxes") == ["open"]
    assert "inbox.circuit_opened" in await world.types()
    assert "bounce.soft" not in await world.types()
    del world.script.says["greeting"]
    await world.go_on(HOUR, step=MINUTE)
    assert await world.column("SELECT DISTINCT state FROM breaker") == ["closed"]
    assert await world.column("SELECT circuit_state FROM inboxes") == ["closed"]
    assert len(world.script.accepted) == 1
    closed = ["inbox.circuit_closed"] * 2
    assert (await world.types())[-5:] == ["email.sent", "lead.completed", *closed, "campaign.completed"]


async def test_three_wrong_passwords_disconnect_the_inbox(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["auth"] = "535 5.7.8 bad credentials"
    await world.go_on(HOUR, step=MINUTE)
    assert await world.column("SELECT status FROM inboxes") == ["error"]
    assert len(world.script.logins) == 3
    assert "inbox.disconnected" in await world.types()


async def test_a_slot_that_was_missed_for_long_is_planned_anew_and_not_made_up_for_in_a_burst(world: World) -> None:
    await world.leads(*(f"lead{n}" for n in range(20)))
    await world.campaign()
    await world.plan()
    world.clock.move(10 * HOUR)
    await world.plan()
    await world.send()
    assert len(world.script.accepted) <= 1
    assert (await world.types()).count("email.cancelled") == 20
    await world.go_on(3 * HOUR)
    commits = sorted(await world.column("SELECT committed_at FROM send_ledger"))
    assert len(commits) == 20
    assert all(after - before >= MINUTE for before, after in pairwise(commits))


async def test_the_ledger_and_the_emails_say_the_same(world: World) -> None:
    await world.leads("ann", "bob", "cat")
    await world.campaign()
    world.script.by_recipient = lambda phase, to: {
        ("rcpt", "ann@lead.test"): "550 5.1.1 no such user",
        ("dot", "bob@lead.test"): DROP,
    }.get((phase, to))
    await world.go_on(HOUR)
    pairs = await world.column(
        """SELECT l.state || ' ' || m.status FROM send_ledger l JOIN emails m ON m.id = l.send_id
        ORDER BY m.to_email"""
    )
    assert pairs == ["rejected bounced", "unknown unknown", "accepted sent"]


async def test_the_reaper_leaves_the_living_alone(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.go_on(HOUR)
    before = await world.ledger("state", "attempt")
    await reap(world.deps)
    assert await world.ledger("state", "attempt") == before


async def test_a_password_that_cannot_be_opened_asks_a_person_and_loses_no_lead(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.owner.execute("UPDATE inboxes SET smtp_password = 'v1.nonsense'")
    await world.go_on(HOUR, step=MINUTE)
    assert await world.column("SELECT status FROM inboxes") == ["error"]
    assert world.script.connections == 0
    assert await world.column("SELECT state FROM enrollments") == ["active"]


async def test_what_is_no_address_ends_its_lead_and_nobody_elses(world: World) -> None:
    await world.leads("ann", "bob")
    await world.owner.execute("UPDATE leads SET email = 'no address@lead.test' WHERE email = 'ann@lead.test'")
    await world.campaign()
    await world.go_on(HOUR)
    assert await world.column("SELECT ended_reason FROM enrollments ORDER BY ended_reason") == ["not an address", None]
    assert len(world.script.accepted) == 1


async def test_who_is_archived_after_the_slot_was_given_gets_nothing(world: World) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE leads SET deleted_at = now() WHERE id = $1", bob.id)
    await world.go_on(HOUR)
    assert world.script.accepted == []
    assert await world.ledger("state", "attempt") == [("stopped", 1)]
    assert (await world.types())[-3:] == ["email.cancelled", "lead.stopped", "campaign.completed"]
