"""From the step's text to the counted visit: what the sender puts into a mail, the public application answers."""

import asyncio
import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy

import httpx
import pytest
import structlog

from deploy.local.ca import Certificates, certificates
from libs.planning.words.anchors import countable_urls
from libs.schema.events.email import EmailClicked, EmailOpened
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, open_pool
from libs.schema.runtime.service import Runtime
from services.api.hits import Hits
from services.api.queries.links import add_links
from services.api.routes.tracking import public_app
from services.api.settings import ApiSettings
from tests.sender_world import MONDAY, World, sender_world
from tests.support import PEPPER, SECRET_KEY, Step, role_url

TARGETS = ["https://example.com/?a=1&b=2", "https://other.test/#part"]
BODY = (
    "<p>Hi {{ first_name }}, see <a href='https://example.com/?a=1&amp;b=2'>this</a>, "
    '<a class="x" href=https://other.test/#part>that</a> or '
    "<a href=\"{{ website | default: 'https://own.test' }}\">yours</a></p>"
)
ON = {"timezone": "UTC", "send_days": ["mon", "tue", "wed", "thu", "fri"], "track_opens": True, "track_clicks": True}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("pem"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, public_url="http://public.test") as world:
        yield world


@pytest.fixture
async def runtime(world: World) -> AsyncIterator[Runtime]:
    settings = ApiSettings(
        database_url=role_url(world.database, "api"), nats_url="nats://x", secret_key=SECRET_KEY, pepper=PEPPER
    )
    pool = await open_pool(settings.database_url, application_name="test-api")
    log = structlog.stdlib.get_logger()
    yield Runtime(settings=settings, pool=pool, clock=world.clock, new_id=new_id, log=log, stopping=asyncio.Event())
    await pool.close()


def html_of(raw: bytes) -> str:
    part = message_from_bytes(raw, policy=policy.default).get_body(("html",))
    assert part is not None
    return part.get_content()


async def test_the_links_of_a_sent_mail_lead_where_the_author_meant_and_are_counted(
    world: World, runtime: Runtime
) -> None:
    (lead,) = await world.leads("bob")
    campaign = await world.campaign(Step(subject="Hello", body=BODY), settings=ON)
    assert countable_urls(BODY) == TARGETS
    await add_links(world.owner, world.team.id, campaign.id, countable_urls(BODY), new_id, MONDAY)
    await world.plan()
    (slot,) = await world.column("SELECT slot_at FROM send_ledger")
    world.clock.move(slot - world.clock.now())
    await world.send()
    html = html_of(world.script.accepted[0])
    links = re.findall(r"http://public\.test/t/c/[\w-]+", html)
    pixels = re.findall(r"http://public\.test/t/o/[\w-]+", html)
    assert (len(links), len(pixels)) == (2, 1)
    assert "https://own.test" in html

    hits = Hits(runtime)
    transport = httpx.ASGITransport(app=public_app(runtime, hits))
    async with httpx.AsyncClient(transport=transport) as client:
        assert [(await client.get(each)).headers["location"] for each in links] == TARGETS
        assert (await client.get(pixels[0])).headers["content-type"] == "image/gif"
    await hits.drain()
    told = await world.events("email.%ed")
    seen = [event for event in told if isinstance(event, EmailOpened | EmailClicked)]
    assert {event.lead_id for event in seen} == {lead.id}
    assert [type(event) for event in seen] == [EmailClicked, EmailClicked, EmailOpened]
    assert {(event.sent_on, event.step_number) for event in seen} == {(MONDAY.date(), 1)}
