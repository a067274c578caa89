"""What came of it is read as it was written: emails, replies, days, and the events in the stream's order."""

from collections.abc import AsyncIterator

import pytest

from libs.schema.runtime.clock import new_id
from tests.contract.http_rig import MONDAY, Rig, campaign_of, rig_on
from tests.support import make_campaign, make_inbox, make_lead, make_list, make_team


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def test_emails_replies_and_days_are_read(rig: Rig) -> None:
    team = await make_team(rig.owner, slug="results")
    caller = await rig.key_of(team.id)
    inbox = await make_inbox(rig.owner, team, email="ann@results.test")
    list_id = await make_list(rig.owner, team)
    lead = await make_lead(rig.owner, team, list_id=list_id)
    campaign = await make_campaign(rig.owner, team, inboxes=[inbox], list_id=list_id)
    ids = [new_id() for _ in range(3)]
    for email_id in ids:
        await rig.owner.execute(
            """INSERT INTO emails
                (id, team_id, campaign_id, lead_id, inbox_id, from_email, to_email, subject, body_text)
            VALUES ($1, $2, $3, $4, $5, 'ann@results.test', $6, 'Hi', 'text')""",
            email_id,
            team.id,
            campaign.id,
            lead.id,
            inbox.id,
            lead.email,
        )
    first = await caller.get(f"/v1/emails?campaign_id={campaign.id}&status=queued&limit=2")
    rest = await caller.get(f"/v1/emails?campaign_id={campaign.id}&status=queued&limit=2&cursor={first['next_cursor']}")
    assert {row["id"] for row in first["data"] + rest["data"]} == {str(each) for each in ids}
    assert "body_text" not in first["data"][0]
    assert (await caller.get(f"/v1/emails/{ids[0]}"))["body_text"] == "text"
    await rig.owner.execute(
        """INSERT INTO replies (id, team_id, lead_id, inbox_id, from_email, received_at, intent, intent_confidence)
        VALUES ($1, $2, $3, $4, 'bob@lead.test', $5, 'interested', 0.75)""",
        ids[0],
        team.id,
        lead.id,
        inbox.id,
        MONDAY,
    )
    (reply,) = (await caller.get("/v1/replies?intent=interested"))["data"]
    assert (reply["intent_confidence"], await caller.get(f"/v1/replies/{ids[0]}")) == (0.75, reply)
    await rig.owner.execute(
        "INSERT INTO daily_stats (team_id, date, emails_sent, reply_rate) VALUES ($1, '2026-03-02', 4, 0.25)", team.id
    )
    (day,) = (await caller.get("/v1/daily-stats?first=2026-03-01&last=2026-03-02"))["data"]
    assert (day["date"], day["emails_sent"], day["reply_rate"]) == ("2026-03-02", 4, 0.25)


async def test_events_are_the_journals_bytes_in_the_streams_order_and_can_be_tailed(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    await caller.post(f"/v1/campaigns/{campaign['id']}/activate", status=202)
    assert (await caller.get("/v1/events"))["data"] == []  # nothing is on the stream yet
    await rig.owner.execute(
        "UPDATE event_log SET stream_seq = 2000000 - position WHERE team_id = $1 AND stream_seq IS NULL", caller.team_id
    )
    events = (await caller.get("/v1/events"))["data"]
    assert [event["type"] for event in events] == ["campaign.activated", "inbox.connected", "lead.imported"]
    assert events[0]["specversion"] == "1.0"
    one = await caller.get("/v1/events?limit=1&type=inbox.connected&type=lead.imported")
    two = await caller.get(f"/v1/events?limit=1&type=inbox.connected&type=lead.imported&cursor={one['next_cursor']}")
    assert [one["data"], two["data"], two["next_cursor"]] == [[events[1]], [events[2]], None]
    assert (await caller.get(f"/v1/events?after={events[1]['id']}"))["data"] == [events[2]]
    lead = (await caller.get("/v1/leads"))["data"][0]
    assert (await caller.get(f"/v1/leads/{lead['id']}/events"))["data"] == [events[2]]
    stranger = await rig.team()
    assert (await stranger.refused("GET", f"/v1/events?after={events[1]['id']}"))["status"] == 404
