"""A/B tests through the job: from outcomes to the winner, its event, and the planner that gives it every new mail."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from libs.planning import queries as planning
from libs.planning.sequence import Step as PlannedStep
from libs.planning.sequence import Variant, variant_of
from libs.schema.events import open_envelope, open_event
from libs.schema.events.base import Event
from libs.schema.events.campaign import CampaignVariantWon
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, close_pool, open_pool
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.settings import Settings
from libs.schema.runtime.telemetry import logger
from services.analytics.jobs import Judge
from tests.support import (
    PEPPER,
    SECRET_KEY,
    Campaign,
    Team,
    insert,
    make_campaign,
    make_inbox,
    make_list,
    make_team,
    role_url,
)

SENT_ON = date(2026, 3, 2)
DRAFTED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD_ENOUGH = datetime(2026, 3, 10, 0, 1, tzinfo=UTC)  # the day's last minute is seven days past


@dataclass(kw_only=True)
class Trial:
    """A campaign whose first step tests two arms, and a judge whose clock the test moves."""

    owner: Connection
    team: Team
    campaign: Campaign
    arms: tuple[UUID, ...]
    clock: FixedClock
    judge: Judge

    async def outcomes(self, arm: int, sent: int, replied: int, day: date = SENT_ON) -> None:
        """Mails of the arm, the first ones answered."""
        await self.owner.execute(
            """INSERT INTO email_outcome (email_id, team_id, campaign_id, step_id, variant_id, sent_on, inbox_sent_on,
                sent, delivered, returned, bounced, opened, clicked, unsubscribed, human_replies)
            SELECT gen_random_uuid(), $1, $2, $3, $4, $5, $5, true, true, false, false, false, false, false,
                (n <= $7::int)::int
            FROM generate_series(1, $6::int) AS n""",
            self.team.id, self.campaign.id, self.campaign.step_ids[0], self.arms[arm], day, sent, replied,
        )  # fmt: skip

    async def winners(self) -> list[UUID]:
        return [row["id"] for row in await self.owner.fetch("SELECT id FROM sequence_variants WHERE is_winner")]

    async def told(self) -> list[Event]:
        rows = await self.owner.fetch("SELECT body FROM event_log WHERE type = 'campaign.variant_won'")
        return [open_event(open_envelope(row["body"])) for row in rows]


@pytest.fixture
async def trial(database: str, owner: Connection) -> AsyncIterator[Trial]:
    team = await make_team(owner)
    inbox, list_id = await make_inbox(owner, team), await make_list(owner, team)
    campaign = await make_campaign(owner, team, inboxes=[inbox], list_id=list_id)
    arms = new_id(), new_id()
    for index, arm in enumerate(arms):
        row = {"id": arm, "sequence_id": campaign.step_ids[0], "variant_index": index, "subject": "x", "body": "y"}
        await insert(owner, "sequence_variants", row | {"created_at": DRAFTED_AT})
    url, clock = role_url(database, "analytics"), FixedClock(OLD_ENOUGH)
    pool = await open_pool(url, application_name="test", max_size=2)
    runtime = Runtime(
        settings=Settings(database_url=url, nats_url="nats://unused", secret_key=SECRET_KEY, pepper=PEPPER),
        pool=pool,
        clock=clock,
        new_id=new_id,
        log=logger(),
        stopping=asyncio.Event(),
    )
    yield Trial(owner=owner, team=team, campaign=campaign, arms=arms, clock=clock, judge=Judge(runtime))
    await close_pool(pool)


async def test_the_winner_is_shown_told_with_its_numbers_and_gets_every_new_mail(trial: Trial) -> None:
    await trial.outcomes(0, 200, 2)
    await trial.outcomes(1, 210, 22)
    await trial.judge.judge_tests()
    assert await trial.winners() == [trial.arms[1]]
    (told,) = await trial.told()
    assert isinstance(told, CampaignVariantWon)
    assert (told.step_id, told.variant_id) == (trial.campaign.step_ids[0], trial.arms[1])
    assert (told.arm_ids, told.arm_sent, told.arm_replied) == (list(trial.arms), [200, 210], [2, 22])
    assert told.probability >= 0.97
    assert told.expected_loss < 0.002
    assert await winners_of(trial, *trial.arms) == [trial.arms[1]]
    trial.clock.move(timedelta(hours=2))
    await trial.judge.judge_tests()
    assert len(await trial.told()) == 1


async def new_arm(trial: Trial, at: datetime) -> UUID:
    arm = new_id()
    row = {"id": arm, "sequence_id": trial.campaign.step_ids[0], "variant_index": 2, "subject": "x", "body": "z"}
    await insert(trial.owner, "sequence_variants", row | {"created_at": at})
    return arm


async def winners_of(trial: Trial, *arms: UUID) -> list[UUID]:
    """Who gets the mails of a version whose step has these arms."""
    kept = [{"variant_id": str(arm), "subject": "x", "body": "y"} for arm in arms]
    await trial.owner.execute("UPDATE sequence_version SET steps = jsonb_set(steps, '{0,variants}', $1)", kept)
    (version,) = await planning.versions(trial.owner, trial.team.id, {(trial.campaign.id, 1)})
    return version.winners


async def test_a_new_arm_beside_a_winner_begins_a_new_test_of_all_arms_from_that_day_on(trial: Trial) -> None:
    one, two = trial.arms
    await trial.outcomes(0, 200, 2)
    await trial.outcomes(1, 200, 22)
    await trial.judge.judge_tests()
    three = await new_arm(trial, OLD_ENOUGH)
    assert await winners_of(trial, one, two) == [two]  # who keeps the version without it
    assert await winners_of(trial, one, two, three) == []
    trial.clock.move(timedelta(hours=1))
    await trial.judge.judge_tests()
    assert await trial.winners() == []

    day = OLD_ENOUGH.date()
    trial.arms = one, two, three
    for arm, replied in enumerate((4, 1, 4)):
        await trial.outcomes(arm, 200, replied, day)
    trial.clock.move(timedelta(days=9))
    await trial.judge.judge_tests()
    assert len(await trial.told()) == 1  # what the second arm did before does not make it win again
    await trial.outcomes(2, 200, 40, day)
    trial.clock.move(timedelta(hours=1))
    await trial.judge.judge_tests()
    assert await trial.winners() == [three]
    assert await winners_of(trial, one, two, three) == [three]
    assert await winners_of(trial, one, two) == [two]  # who does not have it, still gets the better of what there was
    told = (await trial.told())[-1]
    assert isinstance(told, CampaignVariantWon)
    assert (told.variant_id, told.arm_sent) == (three, [200, 200, 400])


async def test_the_newest_verdict_counts_where_two_could_and_fewer_arms_begin_no_test(trial: Trial) -> None:
    one, two = trial.arms
    await trial.outcomes(0, 200, 2)
    await trial.outcomes(1, 200, 22)
    await trial.judge.judge_tests()
    three, day = await new_arm(trial, OLD_ENOUGH), OLD_ENOUGH.date()
    trial.arms = one, two, three
    for arm, replied in enumerate((44, 1, 1)):
        await trial.outcomes(arm, 200, replied, day)
    trial.clock.move(timedelta(days=9))
    await trial.judge.judge_tests()
    assert await trial.winners() == [one]
    assert await winners_of(trial, one, two, three) == await winners_of(trial, one, two) == [one]
    await trial.owner.execute("UPDATE sequence_variants SET deleted_at = $2 WHERE id = $1", three, OLD_ENOUGH)
    trial.clock.move(timedelta(hours=1))
    await trial.judge.judge_tests()
    assert await trial.winners() == [one]
    assert len(await trial.told()) == 2


async def test_mails_that_are_not_seven_days_old_do_not_count(trial: Trial) -> None:
    trial.clock.move(-timedelta(minutes=2))
    await trial.outcomes(0, 200, 2)
    await trial.outcomes(1, 200, 22)
    await trial.judge.judge_tests()
    assert await trial.winners() == []
    trial.clock.move(timedelta(minutes=61))
    await trial.judge.judge_tests()
    assert await trial.winners() == [trial.arms[1]]


async def test_it_judges_once_an_hour_of_business_time(trial: Trial) -> None:
    await trial.judge.judge_tests()
    await trial.outcomes(0, 200, 2)
    await trial.outcomes(1, 200, 22)
    trial.clock.move(timedelta(minutes=59))
    await trial.judge.judge_tests()
    assert await trial.winners() == []
    trial.clock.move(timedelta(minutes=1))
    await trial.judge.judge_tests()
    assert len(await trial.winners()) == 1


async def test_no_difference_is_shown_until_the_step_gets_other_arms(trial: Trial) -> None:
    await trial.outcomes(0, 600, 20)
    await trial.outcomes(1, 600, 21)
    await trial.judge.judge_tests()
    shown = "SELECT no_difference FROM sequences WHERE id = $1"
    assert await trial.owner.fetchval(shown, trial.campaign.step_ids[0]) is True
    assert await trial.winners() == []
    await trial.owner.execute("UPDATE sequence_variants SET deleted_at = $2 WHERE id = $1", trial.arms[0], OLD_ENOUGH)
    row = {"id": new_id(), "sequence_id": trial.campaign.step_ids[0], "variant_index": 0, "subject": "x", "body": "z"}
    await insert(trial.owner, "sequence_variants", row)
    trial.clock.move(timedelta(hours=1))
    await trial.judge.judge_tests()
    assert await trial.owner.fetchval(shown, trial.campaign.step_ids[0]) is False


def test_a_winner_gets_every_lead_and_before_that_each_arm_its_share() -> None:
    one, two = (Variant(variant_id=UUID(int=number), subject="x", body="y") for number in (1, 2))
    step = PlannedStep(step_id=UUID(int=9), step_number=1, subject="", body="b", variants=(one, two))
    keys = [f"lead {number}".encode() for number in range(200)]
    drawn = [variant_of(step, key) for key in keys]
    assert {arm and arm.variant_id for arm in drawn} == {one.variant_id, two.variant_id}
    assert {variant_of(step, key, [two.variant_id]) for key in keys} == {two}
    assert [variant_of(step, key, [UUID(int=7)]) for key in keys] == drawn
