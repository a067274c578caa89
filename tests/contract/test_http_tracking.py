"""Opens and clicks: answered at once, recorded together, counted once in ten seconds, and never for mail not sent."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from msgspec import structs

from libs.schema.events import open_envelope, open_event
from libs.schema.events.email import EmailClicked, EmailOpened
from libs.schema.ids import campaign_send_id
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import open_pool
from libs.schema.runtime.service import HttpServer, Service, run
from libs.schema.secrets import sign_token
from services.api import hits
from services.api.hits import REPEAT, Hit, Hits, network_of, visible
from services.api.routes.tracking import public_app
from tests.contract.http_rig import MONDAY, Rig, rig_on
from tests.support import (
    SECRET_KEY,
    Campaign,
    Lead,
    Team,
    eventually,
    insert,
    make_campaign,
    make_inbox,
    make_lead,
    make_list,
    make_team,
)

TARGET = "https://example.com/offer?a=1&b=2#c"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """An email of the ledger, and one link in it."""

    team: Team
    lead: Lead
    campaign: Campaign
    inbox_id: UUID
    id: UUID
    link_id: UUID

    @property
    def pixel(self) -> str:
        return f"/t/o/{sign_token(SECRET_KEY, 'open', self.team.id, self.id)}"

    @property
    def link(self) -> str:
        return f"/t/c/{sign_token(SECRET_KEY, 'click', self.team.id, self.id, self.link_id)}"


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def mail_of(rig: Rig, *, state: str = "accepted", url: str = TARGET) -> Mail:
    slug = f"t{uuid4().hex[:8]}"
    team = await make_team(rig.owner, slug=slug)
    inbox = await make_inbox(rig.owner, team, email=f"ann@{slug}.test")
    list_id = await make_list(rig.owner, team)
    lead = await make_lead(rig.owner, team, list_id=list_id)
    campaign = await make_campaign(rig.owner, team, inboxes=[inbox], list_id=list_id)
    mail = Mail(
        team=team,
        lead=lead,
        campaign=campaign,
        inbox_id=inbox.id,
        id=campaign_send_id(campaign.id, campaign.step_ids[0], lead.key),
        link_id=new_id(),
    )
    days = {} if state in {"queued", "claimed"} else {"sent_on": MONDAY.date(), "inbox_sent_on": MONDAY.date()}
    sending = {
        "send_id": mail.id,
        "kind": "campaign",
        "team_id": team.id,
        "campaign_id": campaign.id,
        "step_id": campaign.step_ids[0],
        "lead_id": lead.id,
        "lead_key": lead.key,
        "inbox_id": inbox.id,
        "message_id": f"<{mail.id}@x.test>",
        "slot_at": MONDAY,
        "not_before": MONDAY,
        "created_at": MONDAY,
        "state": state,
    }
    await insert(rig.owner, "send_ledger", sending | days)
    link = {"id": mail.link_id, "team_id": team.id, "campaign_id": campaign.id, "url": url, "created_at": MONDAY}
    await insert(rig.owner, "tracked_link", link)
    return mail


@pytest.fixture
async def mail(rig: Rig) -> Mail:
    return await mail_of(rig)


async def told(rig: Rig, team: Team) -> list[EmailOpened | EmailClicked]:
    """The team's hits, once all that was noted is recorded."""
    await rig.hits.drain()
    bodies = await rig.owner.fetch("SELECT body FROM event_log WHERE team_id = $1 ORDER BY position", team.id)
    events = [open_event(open_envelope(each["body"])) for each in bodies]
    return [event for event in events if isinstance(event, EmailOpened | EmailClicked)]


async def test_an_open_is_a_pixel_first_and_an_event_soon_after(rig: Rig, mail: Mail) -> None:
    answer = await rig.public.get(mail.pixel, headers={"User-Agent": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    assert answer.headers["cache-control"] == "no-store"
    (event,) = await told(rig, mail.team)
    assert event == EmailOpened(
        email_id=mail.id,
        lead_id=mail.lead.id,
        inbox_id=mail.inbox_id,
        campaign_id=mail.campaign.id,
        step_id=mail.campaign.step_ids[0],
        step_number=1,
        sent_on=MONDAY.date(),
        inbox_sent_on=MONDAY.date(),
        user_agent=BROWSER,
        network="127.0.0.0/24",
    )


async def test_a_click_goes_where_the_stored_link_leads_and_is_told_with_the_link(rig: Rig, mail: Mail) -> None:
    answer = await rig.public.get(mail.link)
    assert (answer.status_code, answer.headers["location"]) == (302, TARGET)
    assert answer.headers["cache-control"] == "no-store"
    (event,) = await told(rig, mail.team)
    assert isinstance(event, EmailClicked)
    assert (event.link_id, event.email_id, event.head) == (mail.link_id, mail.id, False)


async def test_head_is_answered_alike_and_told_apart(rig: Rig, mail: Mail) -> None:
    pixel, link = await rig.public.head(mail.pixel), await rig.public.head(mail.link)
    assert (pixel.status_code, pixel.content, pixel.headers["content-length"]) == (200, b"", "42")
    assert (link.status_code, link.headers["location"]) == (302, TARGET)
    assert [event.head for event in await told(rig, mail.team)] == [True, True]


@pytest.mark.parametrize("state", ["queued", "claimed", "in_data", "rejected", "suppressed", "stopped", "expired"])
async def test_mail_that_was_not_sent_is_never_told_as_opened(rig: Rig, state: str) -> None:
    mail = await mail_of(rig, state=state)
    assert (await rig.public.get(mail.pixel)).status_code == 200
    assert (await rig.public.get(mail.link)).status_code == 302
    assert await told(rig, mail.team) == []


async def test_mail_of_unknown_end_may_have_been_read(rig: Rig) -> None:
    mail = await mail_of(rig, state="unknown")
    await rig.public.get(mail.pixel)
    assert len(await told(rig, mail.team)) == 1


async def test_the_same_token_counts_once_in_ten_seconds(rig: Rig, mail: Mail) -> None:
    for _ in range(50):
        await rig.public.get(mail.pixel)
    await rig.public.get(mail.link)
    assert len(await told(rig, mail.team)) == 2
    rig.clock.move(timedelta(seconds=9))
    await rig.public.get(mail.pixel)
    assert len(await told(rig, mail.team)) == 2
    rig.clock.move(timedelta(seconds=1))
    await rig.public.get(mail.pixel)
    assert len(await told(rig, mail.team)) == 3


async def test_a_clock_that_was_set_back_makes_no_hit_a_repetition_for_long(rig: Rig, mail: Mail) -> None:
    later = Hit(event_id=new_id(), at=rig.clock.now() + timedelta(days=1), team_id=mail.team.id, email_id=new_id())
    rig.hits.note(later)
    await rig.public.get(mail.pixel)
    rig.clock.move(REPEAT)
    await rig.public.get(mail.pixel)
    assert len(await told(rig, mail.team)) == 2


async def test_many_hits_are_one_statement(rig: Rig) -> None:
    mails = [await mail_of(rig) for _ in range(5)]
    await asyncio.gather(*(rig.public.get(mail.pixel) for mail in mails))
    await rig.hits.flush()
    count = "SELECT count(DISTINCT xmin::text) FROM event_log WHERE type = 'email.opened' AND team_id = ANY ($1)"
    assert await rig.owner.fetchval(count, [mail.team.id for mail in mails]) == 1


async def test_the_loop_records_within_a_moment_and_ends_with_the_process(rig: Rig, mail: Mail) -> None:
    await rig.public.get(mail.pixel)
    assert await rig.hits.record_soon() is True
    assert await rig.hits.record_soon() is False
    assert len(await told(rig, mail.team)) == 1


async def test_after_a_failed_flush_the_hits_come_again_and_after_an_unheard_commit_they_do_not(
    rig: Rig, mail: Mail
) -> None:
    await rig.public.get(mail.pixel)
    await rig.owner.execute("REVOKE INSERT ON event_log FROM coldstream_api")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await rig.hits.flush()
    finally:
        await rig.owner.execute("GRANT INSERT ON event_log TO coldstream_api")
    assert len(await told(rig, mail.team)) == 1
    hit = Hit(event_id=new_id(), at=rig.clock.now() + REPEAT, team_id=mail.team.id, email_id=mail.id)
    for late in (timedelta(0), REPEAT):  # the second time as if the answer to COMMIT had been lost
        rig.hits.note(structs.replace(hit, at=hit.at + late))
        await rig.hits.flush()
    assert len(await told(rig, mail.team)) == 2


async def test_too_many_waiting_hits_are_dropped_and_not_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.hits.drain()  # what other tests have left
    monkeypatch.setattr(hits, "MAX_WAITING", 1)
    first, second = await mail_of(rig), await mail_of(rig)
    await rig.public.get(first.pixel)
    assert (await rig.public.get(second.pixel)).status_code == 200
    assert (len(await told(rig, first.team)), len(await told(rig, second.team))) == (1, 0)
    await rig.public.get(second.pixel)  # a dropped hit does not count as seen
    assert len(await told(rig, second.team)) == 1


async def test_a_hundred_thousand_repetitions_are_one_hit_and_leave_nothing_behind(rig: Rig, mail: Mail) -> None:
    hit = Hit(event_id=new_id(), at=rig.clock.now(), team_id=mail.team.id, email_id=mail.id)
    for _ in range(100_000):
        rig.hits.note(hit)
    assert len(await told(rig, mail.team)) == 1


async def test_what_was_hit_before_the_process_ended_is_recorded(rig: Rig, mail: Mail) -> None:
    runtime = replace(
        rig.runtime,
        stopping=asyncio.Event(),
        pool=await open_pool(rig.runtime.settings.database_url, application_name="t"),
    )
    ending = Hits(runtime)
    app = public_app(runtime, ending)
    service = Service(
        name="api", runtime=runtime, servers=[HttpServer(app=app, host="127.0.0.1", port=0)], close=ending.drain
    )
    running = asyncio.create_task(run(service))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://public.test") as client:
        assert (await client.get(mail.pixel)).status_code == 200
    runtime.stopping.set()
    await asyncio.wait_for(running, 20)
    assert len(await told(rig, mail.team)) == 1


def turned(mail: Mail, purpose: str) -> dict[str, str]:
    """Tokens that are not ours, by what was done to them (reliability.md B45, B46)."""
    token = (mail.pixel if purpose == "open" else mail.link).rpartition("/")[2]
    other = "unsubscribe" if purpose == "open" else "open"
    return {
        "flipped": token[:5] + ("B" if token[5] == "A" else "A") + token[6:],
        "cut": token[:-2],
        "of another purpose": sign_token(SECRET_KEY, other, mail.team.id, mail.id),
        "nonsense": "nonsense",
        "long": "x" * 5000,
        "umlaut": "%C3%BC%00",
        "an address": "https:%5C%5Cevil.test",
        "a line break": token + "%0d%0aLocation:%20evil.test",
    }


TURNS = ("flipped", "cut", "of another purpose", "nonsense", "long", "umlaut", "an address", "a line break")


@pytest.mark.parametrize("turn", TURNS)
async def test_a_token_that_is_not_ours_gets_a_neutral_pixel_and_no_redirect(rig: Rig, mail: Mail, turn: str) -> None:
    pixel = await rig.public.get(f"/t/o/{turned(mail, 'open')[turn]}")
    link = await rig.public.get(f"/t/c/{turned(mail, 'click')[turn]}")
    assert (pixel.status_code, pixel.headers["content-type"]) == (200, "image/gif")
    assert link.status_code == 404
    assert "location" not in link.headers
    assert await told(rig, mail.team) == []


async def test_another_teams_mail_is_not_opened_and_its_link_leads_nowhere(rig: Rig, mail: Mail) -> None:
    stranger = await mail_of(rig)
    open_token = sign_token(SECRET_KEY, "open", stranger.team.id, mail.id)
    click_token = sign_token(SECRET_KEY, "click", stranger.team.id, mail.id, mail.link_id)
    assert (await rig.public.get(f"/t/o/{open_token}")).status_code == 200
    assert (await rig.public.get(f"/t/c/{click_token}")).status_code == 404
    assert await told(rig, mail.team) == []
    assert await told(rig, stranger.team) == []


async def test_a_team_that_is_gone_has_no_links_and_no_pixels(rig: Rig) -> None:
    mail = await mail_of(rig)
    await rig.owner.execute("DELETE FROM teams WHERE id = $1", mail.team.id)
    for path in (mail.pixel, mail.link):
        assert (await rig.public.get(path)).status_code == 404
    assert await told(rig, mail.team) == []


@pytest.mark.parametrize(
    ("stored", "location"),
    [
        ("https://example.com/ü?q=é", "https://example.com/%C3%BC?q=%C3%A9"),
        ("https://example.com/%C3%BC?next=https://other.test/", "https://example.com/%C3%BC?next=https://other.test/"),
        ("https://example.com/a\r\nSet-Cookie: x=1", "https://example.com/a%0D%0ASet-Cookie:%20x=1"),
    ],
)
async def test_a_redirect_is_one_header_whatever_is_stored(rig: Rig, stored: str, location: str) -> None:
    mail = await mail_of(rig, url=stored)
    answer = await rig.public.get(mail.link)
    assert (answer.status_code, answer.headers["location"]) == (302, location)
    assert "set-cookie" not in answer.headers


async def test_other_methods_are_refused(rig: Rig, mail: Mail) -> None:
    for path in (mail.pixel, mail.link):
        assert (await rig.public.post(path)).status_code == 405


async def test_without_the_database_a_known_pixel_still_appears_and_an_unknown_link_says_try_again(
    rig: Rig, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> httpx.Response:
        raise OSError("away")

    assert (await rig.public.get(mail.pixel)).status_code == 200
    monkeypatch.setattr(rig.hits.target, "_look_up", refuse)
    monkeypatch.setattr(rig.hits.team_is_there, "_look_up", refuse)
    assert (await rig.public.get(mail.pixel)).status_code == 200
    answer = await rig.public.get(mail.link)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_the_service_records_by_itself(rig: Rig, mail: Mail) -> None:
    ticking = asyncio.create_task(_tick(rig))
    try:
        await rig.public.get(mail.pixel)
        count = "SELECT count(*) FROM event_log WHERE team_id = $1 AND type = 'email.opened'"
        await eventually(lambda: rig.owner.fetchval(count, mail.team.id))
    finally:
        ticking.cancel()
        await asyncio.wait([ticking])


async def _tick(rig: Rig) -> None:
    while True:
        await rig.hits.record_soon()


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("a-socket", None),
        (None, None),
    ],
)
def test_only_the_network_of_an_address_is_kept(host: str | None, network: str | None) -> None:
    assert network_of(host) == network


def test_a_user_agent_is_cut_and_holds_no_control_characters() -> None:
    assert visible("a\x00b\x85c\ud800" + "x" * 5000) == "abc" + "x" * 253
    assert visible(None) is None
