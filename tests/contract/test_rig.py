"""The test rig gives what the other tests rely on."""

import asyncpg
import nats
import pytest

from libs.schema.runtime.db import Connection
from tests.support import SERVICES, Step, make_campaign, make_inbox, make_lead, make_list, make_team, role_url


async def test_a_database_is_migrated_and_its_campaign_is_made_in_few_words(owner: Connection) -> None:
    team = await make_team(owner)
    inbox = await make_inbox(owner, team, smtp_port=2525)
    people = await make_list(owner, team)
    lead = await make_lead(owner, team, list_id=people)
    campaign = await make_campaign(owner, team, inboxes=[inbox], list_id=people, steps=[Step(), Step(delay_days=3)])
    assert len(campaign.step_ids) == 2
    assert await owner.fetchval("SELECT lead_count FROM lead_lists WHERE id = $1", people) == 1
    steps = await owner.fetchval("SELECT steps FROM sequence_version WHERE campaign_id = $1", campaign.id)
    assert [step["step_id"] for step in steps] == [str(step_id) for step_id in campaign.step_ids]
    assert await owner.fetchval("SELECT email FROM leads WHERE id = $1", lead.id) == lead.email


async def test_a_database_is_fresh_for_each_test(owner: Connection) -> None:
    assert await owner.fetchval("SELECT count(*) FROM teams") == 0


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_logs_in_as_itself(module_database: str, service: str) -> None:
    connection = await asyncpg.connect(role_url(module_database, service))
    try:
        assert await connection.fetchval("SELECT current_user") == f"coldstream_{service}"
    finally:
        await connection.close()


async def test_the_stream_is_there_and_empty(nats_streams: str) -> None:
    client = await nats.connect(nats_streams)  # pyright: ignore[reportUnknownMemberType] - nats-py's options are untyped
    try:
        jetstream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - the same
        assert (await jetstream.stream_info("EVENTS")).state.messages == 0
    finally:
        await client.close()
