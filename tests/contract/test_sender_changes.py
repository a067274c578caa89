"""What is changed while a campaign runs takes effect at once: its whole queue follows, foretold to the second."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from deploy.local.ca import Certificates, certificates
from libs.planning.simulate.queries import Asked, read_team_world
from libs.planning.simulate.run import simulate
from libs.schema.events.email import EmailCancelled
from libs.schema.events.inbox import InboxHealthChanged
from libs.schema.events.lead import LeadStopped
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, transaction
from services.sender.jobs.changes import BATCH, free_changed
from services.sender.jobs.plan import plan_slots
from services.sender.jobs.send import claim_some
from tests.contract.stage import Stage, stage_on, stamp
from tests.sender_world import MONDAY, hear
from tests.support import PEPPER, Campaign, Lead, Step, insert, make_list

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
Second = tuple[UUID, UUID, datetime]  # lead, inbox, planned second


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def stage(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[Stage]:
    async with stage_on(database, owner, pem, inboxes=2) as stage:
        yield stage


async def crowd(stage: Stage, count: int) -> list[Lead]:
    return await stage.world.leads(*(f"lead{number}" for number in range(count)))


async def queued(stage: Stage) -> list[Second]:
    rows = await stage.world.owner.fetch("SELECT lead_id, inbox_id, slot_at FROM send_ledger WHERE state = 'queued'")
    return sorted((row["lead_id"], row["inbox_id"], row["slot_at"]) for row in rows)


async def foretold(stage: Stage, campaign: Campaign) -> list[Second]:
    """The simulated seconds of the day ahead: what the next round gives."""
    now = stage.world.clock.now()
    asked = Asked(campaign_id=campaign.id, now=now, pepper=PEPPER, public_url="http://127.0.0.1:8081")
    world = await read_team_world(stage.world.owner, stage.world.team.id, asked, None)
    assert world is not None
    sends = [send for _, send in simulate(world).sends]
    return sorted((send.lead_id, send.inbox_id, send.scheduled_at) for send in sends if send.scheduled_at < now + DAY)


async def asked_for(stage: Stage) -> list[str]:
    return await stage.world.column("SELECT scope FROM replan ORDER BY scope")


def path_of(stage: Stage, number: int) -> str:
    return f"/v1/inboxes/{stage.world.inboxes[number].id}"


async def settings_of(stage: Stage, number: int, **settings: Any) -> None:
    await stage.patch(f"{path_of(stage, number)}/settings", settings)


def keeps_its_pauses(seconds: list[Second]) -> bool:
    """No inbox sends twice within a minute: nothing comes in a burst."""
    for inbox in {inbox for _, inbox, _ in seconds}:
        times = sorted(at for _, by, at in seconds if by == inbox)
        if any(after - before < MINUTE for before, after in pairwise(times)):
            return False
    return True


# -- windows and limits -----------------------------------------------------------------------------------------------


async def test_a_narrower_window_moves_the_whole_queue_as_it_was_foretold(stage: Stage) -> None:
    leads = await crowd(stage, 12)
    campaign = await stage.world.campaign()
    await stage.world.plan()
    before = await queued(stage)
    for number in (0, 1):
        await settings_of(stage, number, send_window_start="13:00", send_window_end="16:00")
    said = await foretold(stage, campaign)
    assert said != before
    (first, *_) = sorted(said, key=lambda each: each[2])
    explained = await stage.explain(leads[0])
    assert explained["scheduled_at"] >= "2026-03-02T13:00:00Z"
    assert await queued(stage) == before  # the sender has not looked yet
    await stage.world.plan()
    after = await queued(stage)
    assert after == said
    assert first[2].hour == 13
    assert len(after) == 12
    assert keeps_its_pauses(after)
    assert await asked_for(stage) == []
    assert (await stage.explain(leads[0]))["scheduled_at"] in {
        stamp(at) for lead, _, at in after if lead == leads[0].id
    }
    reasons = [each.reason for each in await stage.world.events("email.cancelled") if isinstance(each, EmailCancelled)]
    assert reasons == ["replanned"] * 12


async def test_a_wider_window_lets_the_queue_go_earlier_than_it_would_have_gone(stage: Stage) -> None:
    await crowd(stage, 6)
    for number in (0, 1):
        await settings_of(stage, number, send_window_start="15:00")
    campaign = await stage.world.campaign()
    await stage.world.plan()
    assert min(at for _, _, at in await queued(stage)).hour == 15
    for number in (0, 1):
        await settings_of(stage, number, send_window_start="09:00")
    said = await foretold(stage, campaign)
    await stage.world.plan()
    assert await queued(stage) == said
    assert max(at for _, _, at in said) < MONDAY + 2 * HOUR


async def test_a_raised_limit_brings_those_who_were_put_off_and_a_lowered_one_puts_off_again(stage: Stage) -> None:
    await crowd(stage, 12)
    for number in (0, 1):
        await settings_of(stage, number, daily_send_limit=2)
    campaign = await stage.world.campaign()
    await stage.world.plan()
    today = [at for _, _, at in await queued(stage) if at.day == 2]
    assert len(today) == 4
    for number in (0, 1):
        await settings_of(stage, number, daily_send_limit=50)
    said = await foretold(stage, campaign)
    await stage.world.plan()
    assert await queued(stage) == said
    assert [at.day for _, _, at in said] == [2] * 12
    for number in (0, 1):
        await settings_of(stage, number, daily_send_limit=3)
    said = await foretold(stage, campaign)
    await stage.world.plan()
    assert await queued(stage) == said
    assert sum(at.day == 2 for _, _, at in said) == 6
    assert keeps_its_pauses(said)


async def test_the_leads_own_hours_are_kept_from_the_next_tick_on(stage: Stage) -> None:
    await stage.world.leads("berliner", city="Berlin")
    campaign = await stage.world.campaign()
    await stage.world.plan()
    assert (await queued(stage))[0][2].hour == 9
    body = {"settings": {"lead_window_start": "14:00", "lead_window_end": "16:00"}}
    await stage.patch(f"/v1/campaigns/{campaign.id}", body)
    assert await asked_for(stage) == ["campaign"]
    said = await foretold(stage, campaign)
    await stage.world.plan()
    assert await queued(stage) == said
    assert said[0][2].hour == 13  # Berlin's fourteen o'clock


async def test_a_teams_limits_move_the_mails_of_all_its_campaigns(stage: Stage) -> None:
    await crowd(stage, 8)
    campaign = await stage.world.campaign()
    await stage.world.plan()
    assert [at.day for _, _, at in await queued(stage)] == [2] * 8
    await stage.patch("/v1/team", {"settings": {"domain_daily_limit": 3, "domain_gap_minutes": 30}})
    said = await foretold(stage, campaign)
    await stage.world.plan()
    after = await queued(stage)
    assert after == said
    assert sum(at.day == 2 for _, _, at in after) == 3
    assert await asked_for(stage) == []


async def test_worse_health_moves_the_queue_the_same_way(stage: Stage) -> None:
    await crowd(stage, 4)
    inbox = stage.world.inboxes[0]
    await stage.world.owner.execute("UPDATE inbox_settings SET auto_throttle_enabled = inbox_id = $1", inbox.id)
    await stage.world.campaign()
    await stage.world.plan()
    for event_inbox in stage.world.inboxes:
        await hear(stage.world, InboxHealthChanged(inbox_id=event_inbox.id, health_score=60, previous=95))
    assert await asked_for(stage) == ["inbox"]


# -- what else moves mails --------------------------------------------------------------------------------------------


async def test_a_paused_inboxs_first_mails_go_from_another_and_follow_ups_wait_for_it(stage: Stage) -> None:
    await crowd(stage, 4)
    campaign = await stage.world.campaign(Step(), Step(subject="", delay_hours=2))
    await stage.world.go_on(40 * MINUTE)
    await stage.world.leads("late0", "late1", "late2", "late3")
    await stage.world.plan()
    paused = stage.world.inboxes[0].id
    assert sum(by == paused for _, by, _ in await queued(stage)) == 4
    await stage.post(f"{path_of(stage, 0)}/pause")
    said = await foretold(stage, campaign)
    await stage.world.plan()
    after = await queued(stage)
    assert after == [each for each in said if each in after]
    assert [by == paused for _, by, _ in after] == [False] * 6
    held = await stage.world.column("SELECT held_gate FROM enrollments WHERE next_at IS NOT NULL")
    assert held == ["inbox", "inbox"]


async def test_an_inbox_that_is_added_gets_its_share_of_the_queue(stage: Stage) -> None:
    await crowd(stage, 8)
    campaign = await stage.world.campaign()
    both = [str(inbox.id) for inbox in stage.world.inboxes]
    await stage.put(f"/v1/campaigns/{campaign.id}/inboxes", {"inbox_ids": both[:1]})
    await stage.world.plan()
    assert {str(by) for _, by, _ in await queued(stage)} == {both[0]}
    await stage.put(f"/v1/campaigns/{campaign.id}/inboxes", {"inbox_ids": both})
    said = await foretold(stage, campaign)
    await stage.world.plan()
    assert await queued(stage) == said
    assert {str(by) for _, by, _ in said} == set(both)


async def test_a_new_list_gives_its_leads_at_once_and_who_is_on_the_way_stays(stage: Stage) -> None:
    (ann,) = await stage.world.leads("ann")
    campaign = await stage.world.campaign()
    await stage.world.plan()
    before = await queued(stage)
    other = await make_list(stage.world.owner, stage.world.team, name="other")
    await stage.world.owner.execute(
        "UPDATE lead_lists SET updated_at = (SELECT updated_at FROM lead_lists WHERE id = $1)", other
    )
    bob = (await stage.world.leads("bob"))[0]
    await stage.world.owner.execute("UPDATE leads SET lead_list_id = $2 WHERE id = $1", bob.id, other)
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"lead_list_id": str(other)})
    assert await asked_for(stage) == []
    await stage.world.plan()
    after = await queued(stage)
    assert [each for each in after if each[0] == ann.id] == before
    assert {lead for lead, _, _ in after} == {ann.id, bob.id}


async def test_replies_that_shall_stop_from_now_on_stop_who_has_replied_before(stage: Stage) -> None:
    ann, bob = await stage.world.leads("ann", "bob")
    campaign = await stage.world.campaign(Step(), Step(subject="", delay_hours=3))
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"settings": {"stop_on_reply": False}})
    await stage.world.go_on(HOUR)
    stop = {"id": new_id(), "team_id": stage.world.team.id, "lead_key": ann.key, "reason": "replied"}
    await insert(stage.world.owner, "lead_stop", stop | {"event_id": new_id(), "stopped_at": stage.world.clock.now()})
    await stage.world.plan()
    assert {lead for lead, _, _ in await queued(stage)} == {ann.id, bob.id}
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"settings": {"stop_on_reply": True}})
    assert (await stage.explain(ann))["answer"] == "never"
    await stage.world.plan()
    assert {lead for lead, _, _ in await queued(stage)} == {bob.id}
    stopped = [event.lead_id for event in await stage.world.events("lead.stopped") if isinstance(event, LeadStopped)]
    assert stopped == [ann.id]


@pytest.mark.parametrize("body", [{"name": "Summer"}, {"settings": {"track_opens": True}}, {"settings": {}}])
async def test_what_no_slot_depends_on_moves_none(stage: Stage, body: dict[str, Any]) -> None:
    await crowd(stage, 3)
    campaign = await stage.world.campaign()
    await stage.world.plan()
    before = await queued(stage)
    await stage.patch(f"/v1/campaigns/{campaign.id}", body)
    await settings_of(stage, 0, hourly_limit=(await stage.caller.get(f"{path_of(stage, 0)}/settings"))["hourly_limit"])
    await stage.patch("/v1/team", {"company_name": "Acme & Sons", "settings": {"out_of_office_days": 9}})
    assert await asked_for(stage) == []
    await stage.world.plan()
    assert await queued(stage) == before


# -- how it is done ---------------------------------------------------------------------------------------------------


async def test_a_mail_that_is_claimed_and_one_that_its_server_put_off_keep_what_they_have(stage: Stage) -> None:
    ann, bob, cat = await stage.world.leads("ann", "bob", "cat")
    await stage.world.campaign()
    await stage.world.plan()
    first, *_, last = sorted(await queued(stage), key=lambda each: each[2])
    stage.world.clock.move(first[2] - stage.world.clock.now())
    ((send,), _) = await claim_some(stage.world.deps, 1)
    later = MONDAY + 5 * HOUR
    await stage.world.owner.execute("UPDATE send_ledger SET not_before = $2 WHERE lead_id = $1", last[0], later)
    for number in (0, 1):
        await settings_of(stage, number, send_window_start="11:00")
    while await plan_slots(stage.world.deps):
        pass
    rows = await stage.world.owner.fetch("SELECT lead_id, state, slot_at FROM send_ledger")
    found = {row["lead_id"]: (row["state"], row["slot_at"]) for row in rows}
    assert found.keys() == {ann.id, bob.id, cat.id}
    assert found.pop(send.lead_id or ann.id) == ("claimed", first[2])
    assert found.pop(last[0]) == ("queued", later)
    ((state, at),) = found.values()
    assert (state, at.hour) == ("queued", 11)


async def test_many_mails_lose_their_slots_batch_by_batch_and_nobody_gets_one_before_the_last(stage: Stage) -> None:
    world = stage.world
    campaign = await world.campaign()
    await world.owner.execute(
        """INSERT INTO leads (id, team_id, lead_list_id, email)
        SELECT gen_random_uuid(), $1, $2, n || '@many.test' FROM generate_series(1, $3::int) AS n""",
        world.team.id, world.list_id, BATCH + 1,
    )  # fmt: skip
    await world.owner.execute(
        """INSERT INTO enrollments (id, team_id, campaign_id, lead_id, lead_key, sequence_version, step_number,
            enrolled_at)
        SELECT gen_random_uuid(), $1, $2, id, sha256(email::bytea), 1, 1, $3 FROM leads""",
        world.team.id, campaign.id, MONDAY,
    )  # fmt: skip
    await world.owner.execute(
        """INSERT INTO send_ledger (send_id, kind, team_id, campaign_id, step_id, lead_id, lead_key, enrollment_id,
            inbox_id, message_id, slot_at, not_before, due_at, created_at)
        SELECT e.id, 'campaign', $1, $2, $3, e.lead_id, e.lead_key, e.id, $4, e.id::text, $5, $5, $6, $6
        FROM enrollments AS e""",
        world.team.id, campaign.id, campaign.step_ids[0], world.inboxes[0].id, MONDAY + HOUR, MONDAY,
    )  # fmt: skip
    await settings_of(stage, 0, daily_send_limit=30)
    counts: list[int] = []
    for _ in range(3):
        async with transaction(world.deps.pool) as tx:
            seen: list[str] = []
            with tx.query_logger(lambda record, seen=seen: seen.append(record.query)):
                assert await free_changed(tx, world.clock.now()) is (len(counts) < 2)
        counts.append(len(seen))
        left = await world.column("SELECT count(*) FROM send_ledger WHERE state = 'queued'")
        assert left == [1 if len(counts) == 1 else 0]
    assert max(counts) < 12
    assert await world.column("SELECT DISTINCT next_at FROM enrollments") == [MONDAY]
    assert await asked_for(stage) == []


async def test_a_team_is_planned_only_when_all_its_void_slots_are_free(stage: Stage) -> None:
    await crowd(stage, 3)
    await stage.world.campaign()
    await stage.world.plan()
    await stage.world.leads("late")
    await settings_of(stage, 0, daily_send_limit=30)
    await settings_of(stage, 1, daily_send_limit=30)
    assert await plan_slots(stage.world.deps) is True  # the first inbox's are free, the second's are not
    assert 0 < len(await queued(stage)) < 3
    while await plan_slots(stage.world.deps):
        pass
    await stage.world.plan()
    assert len(await queued(stage)) == 4


async def test_an_event_that_comes_again_or_late_moves_nothing_more(stage: Stage) -> None:
    await crowd(stage, 3)
    campaign = await stage.world.campaign()
    await stage.world.plan()
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"settings": {"skip_dates": ["2026-03-02"]}})
    await stage.world.plan()
    after = await queued(stage)
    (told,) = await stage.world.events("campaign.changed")
    for _ in range(2):
        await hear(stage.world, told)
        await stage.world.plan()
    assert await queued(stage) == after
    assert {at.day for _, _, at in after} <= {3}
