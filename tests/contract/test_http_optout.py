"""The public opt-out: once is enough, twice is harmless, a GET does nothing, and a forged link is nobody's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from libs.schema.events import open_envelope, open_event
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.ids import campaign_send_id
from libs.schema.secrets import sign_token
from tests.contract.http_rig import MONDAY, Rig, rig_on
from tests.support import SECRET_KEY, Lead, Team, make_campaign, make_inbox, make_lead, make_list, make_team

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An email that went out, and the link in it."""

    team: Team
    lead: Lead
    email_id: UUID
    campaign_id: UUID

    @property
    def link(self) -> str:
        return f"/u/{sign_token(SECRET_KEY, 'unsubscribe', self.team.id, self.email_id)}"


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture
async def sent(rig: Rig) -> Sent:
    slug = f"t{uuid4().hex[:8]}"
    team = await make_team(rig.owner, slug=slug)
    inbox = await make_inbox(rig.owner, team, email=f"ann@{slug}.test")
    list_id = await make_list(rig.owner, team)
    lead = await make_lead(rig.owner, team, list_id=list_id)
    campaign = await make_campaign(rig.owner, team, inboxes=[inbox], list_id=list_id)
    email_id = campaign_send_id(campaign.id, campaign.step_ids[0], lead.key)
    await rig.owner.execute(
        """INSERT INTO send_ledger (send_id, kind, team_id, campaign_id, step_id, lead_id, lead_key, inbox_id,
            message_id, slot_at, not_before, created_at, state, sent_on, inbox_sent_on)
        VALUES ($1, 'campaign', $2, $3, $4, $5, $6, $7, $8, $9, $9, $9, 'accepted', '2026-03-02', '2026-03-01')""",
        email_id,
        team.id,
        campaign.id,
        campaign.step_ids[0],
        lead.id,
        lead.key,
        inbox.id,
        f"<{email_id}@x.test>",
        MONDAY,
    )
    return Sent(team=team, lead=lead, email_id=email_id, campaign_id=campaign.id)


async def left_of(rig: Rig, team: Team) -> tuple[int, int, int]:
    """How many stops, suppressions and events the team has."""
    row = await rig.owner.fetchrow(
        """SELECT (SELECT count(*) FROM lead_stop WHERE team_id = $1) AS stops,
            (SELECT count(*) FROM suppression_list WHERE team_id = $1) AS suppressions,
            (SELECT count(*) FROM event_log WHERE team_id = $1) AS events""",
        team.id,
    )
    assert row is not None
    return row["stops"], row["suppressions"], row["events"]


async def test_one_click_stops_suppresses_and_tells_in_one_transaction(rig: Rig, sent: Sent) -> None:
    answer = await rig.public.post(sent.link, data=ONE_CLICK)
    assert answer.status_code == 200
    stop = await rig.owner.fetchrow("SELECT * FROM lead_stop WHERE team_id = $1", sent.team.id)
    row = await rig.owner.fetchrow("SELECT * FROM suppression_list WHERE team_id = $1", sent.team.id)
    assert stop is not None
    assert row is not None
    assert (stop["reason"], stop["lead_key"], stop["campaign_id"]) == ("unsubscribe", sent.lead.key, None)
    assert (row["email"], row["scope"], row["reason"]) == (sent.lead.email, "email", "unsubscribe")
    assert row["value_hash"] == sent.lead.key
    body = await rig.owner.fetchval("SELECT body FROM event_log WHERE event_id = $1", stop["event_id"])
    event = open_event(open_envelope(body))
    assert isinstance(event, LeadUnsubscribed)
    assert (event.method, event.lead_id, event.email_id) == ("one_click", sent.lead.id, sent.email_id)
    assert (event.campaign_id, str(event.sent_on), str(event.inbox_sent_on)) == (
        sent.campaign_id,
        "2026-03-02",
        "2026-03-01",
    )
    assert b"@" not in body


async def test_a_second_time_changes_nothing_and_is_answered_alike(rig: Rig, sent: Sent) -> None:
    first = await rig.public.post(sent.link, data=ONE_CLICK)
    second = await rig.public.post(sent.link)
    assert (first.status_code, first.text) == (second.status_code, second.text)
    assert await left_of(rig, sent.team) == (1, 1, 1)


async def test_many_at_once_opt_out_once(rig: Rig, sent: Sent) -> None:
    answers = await asyncio.gather(*(rig.public.post(sent.link, data=ONE_CLICK) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert await left_of(rig, sent.team) == (1, 1, 1)


async def test_a_get_shows_a_page_and_opts_nobody_out(rig: Rig, sent: Sent) -> None:
    page = await rig.public.get(sent.link)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<form method="post">' in page.text
    assert sent.lead.email not in page.text
    assert (await rig.public.head(sent.link)).status_code == 200
    assert await left_of(rig, sent.team) == (0, 0, 0)


async def test_the_pages_button_is_told_apart_from_the_mail_programs(rig: Rig, sent: Sent) -> None:
    assert (await rig.public.post(sent.link, data={})).status_code == 200
    body = await rig.owner.fetchval("SELECT body FROM event_log WHERE team_id = $1", sent.team.id)
    assert b'"method":"page"' in body


async def test_the_seeds_bare_token_works_too(rig: Rig, sent: Sent) -> None:
    token = await rig.owner.fetchval("SELECT unsubscribe_token FROM leads WHERE id = $1", sent.lead.id)
    assert (await rig.public.get(f"/u/{token}")).status_code == 200
    assert (await rig.public.post(f"/u/{token}", data=ONE_CLICK)).status_code == 200
    assert await left_of(rig, sent.team) == (1, 1, 1)
    # And the two ways out are one.
    assert (await rig.public.post(sent.link, data=ONE_CLICK)).status_code == 200
    assert await left_of(rig, sent.team) == (1, 1, 1)


async def test_whoever_was_let_back_in_by_hand_can_leave_again(rig: Rig, sent: Sent) -> None:
    await rig.public.post(sent.link, data=ONE_CLICK)
    await rig.owner.execute("DELETE FROM suppression_list WHERE team_id = $1", sent.team.id)
    await rig.public.post(sent.link, data=ONE_CLICK)
    assert await left_of(rig, sent.team) == (2, 1, 2)


@pytest.mark.parametrize("turn", ["flip", "cut", "other purpose", "other team", "nonsense", "long", "umlaut"])
async def test_a_link_that_is_not_ours_is_404_and_does_nothing(rig: Rig, sent: Sent, turn: str) -> None:
    token = sent.link.removeprefix("/u/")
    forged = {
        "flip": ("B" if token[5] == "A" else "A").join((token[:5], token[6:])),
        "cut": token[:-2],
        "other purpose": sign_token(SECRET_KEY, "open", sent.team.id, sent.email_id),
        "other team": sign_token(SECRET_KEY, "unsubscribe", uuid4(), sent.email_id),
        "nonsense": "nonsense",
        "long": "x" * 5000,
        "umlaut": "%C3%BC%00",
    }[turn]
    for answer in (await rig.public.get(f"/u/{forged}"), await rig.public.post(f"/u/{forged}", data=ONE_CLICK)):
        assert answer.status_code == 404
    assert await left_of(rig, sent.team) == (0, 0, 0)


async def test_a_form_that_has_no_end_is_refused(rig: Rig, sent: Sent) -> None:
    answer = await rig.public.post(sent.link, content=b"x" * 20_000)
    assert answer.status_code == 413
    assert await left_of(rig, sent.team) == (0, 0, 0)


async def test_the_page_allows_no_script_and_is_not_kept(rig: Rig, sent: Sent) -> None:
    headers = (await rig.public.get(sent.link)).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-robots-tag"] == "noindex"
