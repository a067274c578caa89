"""What a letter carries over the wire: thread, opt-out, counted links only where asked, its domain's signature."""

import base64
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import dkim  # pyright: ignore[reportMissingTypeStubs]  it has none
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from libs.schema.secrets import read_token, seal_secret
from tests.mail import check_wire, parse
from tests.sender_world import MONDAY, World, sender_world
from tests.support import SECRET_KEY, Campaign, Step, insert

HTML = (
    "<style>a { color: red }</style><p>Hello {{ first_name }}</p>"
    '<a href="https://x.test/?a=1&amp;b=2">prices</a> <a href="https://unknown.test/">more</a>'
)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


async def sent(world: World, *steps: Step, **settings: Any) -> tuple[Campaign, bytes]:
    """A campaign's first mail to Bob, as the server has got it."""
    await world.leads("bob")
    campaign = await world.campaign(*steps)
    await world.owner.execute("UPDATE campaigns SET settings = settings || $2 WHERE id = $1", campaign.id, settings)
    link = {"id": new_id(), "team_id": world.team.id, "campaign_id": campaign.id, "created_at": MONDAY}
    await insert(world.owner, "tracked_link", {**link, "url": "https://x.test/?a=1&b=2"})
    await world.go_on(timedelta(minutes=20))
    [raw] = world.script.accepted
    check_wire(raw)
    return campaign, raw


def html_of(raw: bytes) -> str:
    part = parse(raw).get_body(("html",))
    assert part is not None
    return part.get_content()


async def columns(world: World) -> tuple[bool, bool, str]:
    row = await world.owner.fetchrow("SELECT open_tracked, click_tracked, body_html FROM emails")
    assert row is not None
    return tuple(row)


async def test_links_and_opens_are_counted_where_the_campaign_asks(world: World) -> None:
    _, raw = await sent(world, Step(body=HTML), track_opens=True, track_clicks=True)
    page = html_of(raw)
    click, pixel = re.findall(r'"http://[^"]*/t/[co]/([^"]*)"', page)
    [email_id] = await world.column("SELECT id FROM emails")
    [link_id] = await world.column("SELECT id FROM tracked_link")
    assert read_token(SECRET_KEY, "click", click) == (world.team.id, email_id, link_id)
    assert read_token(SECRET_KEY, "open", pixel) == (world.team.id, email_id)
    assert 'href="https://unknown.test/"' in page
    assert "/t/" not in parse(raw).get_body(("plain",)).get_content()  # pyright: ignore[reportOptionalMemberAccess]
    opened, clicked, kept = await columns(world)
    assert (opened, clicked) == (True, True)
    # Whoever looks at the sent mail in the house is not the reader.
    assert "/t/" not in kept
    assert "https://x.test/?a=1&amp;b=2" in kept


@pytest.mark.parametrize("settings", [{}, {"track_opens": False, "track_clicks": False}, {"track_clicks": "yes"}])
async def test_nothing_is_counted_where_the_campaign_does_not_ask(world: World, settings: dict[str, Any]) -> None:
    _, raw = await sent(world, Step(body=HTML), **settings)
    assert "/t/" not in html_of(raw)
    assert (await columns(world))[:2] == (False, False)


async def test_a_plain_mail_has_nothing_to_count(world: World) -> None:
    _, raw = await sent(world, Step(body="See https://x.test/?a=1&b=2"), track_opens=True, track_clicks=True)
    assert parse(raw).get_content_type() == "text/plain"
    assert "/t/" not in parse(raw).get_content()
    assert await columns(world) == (False, False, None)


@pytest.mark.parametrize(
    ("settings", "inline"), [({}, True), ({"inline_css": True}, True), ({"inline_css": False}, False)]
)
async def test_styles_are_inlined_unless_the_campaign_says_no(
    world: World, settings: dict[str, Any], *, inline: bool
) -> None:
    _, raw = await sent(world, Step(body=HTML), **settings)
    assert ('style="color: red;"' in html_of(raw), "<style>" in html_of(raw)) == (inline, not inline)


async def test_a_mail_names_its_campaign_step_and_team_to_gmail(world: World) -> None:
    campaign, raw = await sent(world)
    fields = str(parse(raw)["Feedback-ID"]).split(":")
    assert fields == [campaign.id.hex, campaign.step_ids[0].hex, "campaign", world.team.id.hex[-12:]]


async def give_key(world: World, *, sealed_with: bytes = SECRET_KEY) -> bytes:
    """Gives acme.test a key; returns what its DNS says."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    [domain_id] = await world.column("SELECT id FROM domains WHERE domain = 'acme.test'")
    sealed = seal_secret(sealed_with, pem, row_id=domain_id, column="dkim_private_key")
    await world.owner.execute("UPDATE domains SET dkim_selector = 's1', dkim_private_key = $1", sealed)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(key.public_key().public_bytes_raw())


async def test_a_mail_over_the_domains_own_server_is_signed(world: World) -> None:
    record = await give_key(world)
    _, raw = await sent(world, Step(body=HTML), track_opens=True)
    assert parse(raw)["DKIM-Signature"] is not None
    assert dkim.verify(raw, dnsfunc=lambda *_, **__: record)  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType]  as above


@pytest.mark.parametrize(
    "change",
    ["UPDATE inboxes SET provider = 'google'", "UPDATE domains SET dkim_private_key = NULL",
     "UPDATE domains SET domain = 'other.test'"],
)  # fmt: skip
async def test_without_a_key_of_its_own_or_over_a_provider_a_mail_is_not_signed(world: World, change: str) -> None:
    await give_key(world)
    await world.owner.execute(change)
    _, raw = await sent(world)
    assert parse(raw)["DKIM-Signature"] is None


async def test_a_key_that_cannot_be_opened_sends_nothing_unsigned(world: World) -> None:
    await give_key(world, sealed_with=bytes(32))
    await world.leads("bob")
    await world.campaign()
    await world.go_on(timedelta(minutes=20))
    assert world.script.accepted == []
    assert await world.column("SELECT DISTINCT kind FROM breaker WHERE failures > 0") == ["auth"]


async def test_an_inbox_whose_address_is_none_sends_nothing_and_ends_nobodys_sequence(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.owner.execute("UPDATE inboxes SET email = 'an n@acme.test'")
    await world.go_on(timedelta(minutes=10))
    assert world.script.accepted == []
    assert await world.column("SELECT state FROM enrollments") == ["active"]
    assert "inbox: not an address" in await world.column("SELECT error_message FROM emails")


async def test_replies_go_to_an_address_with_our_token_where_the_campaign_asks(world: World) -> None:
    _, raw = await sent(world, Step(), reply_token=True)
    [message_id] = await world.column("SELECT message_id FROM send_ledger")
    token, _, domain = message_id.strip("<>").partition("@")
    assert str(parse(raw)["Reply-To"]) == f"inbox0+{token}@{domain}"


async def test_replies_go_to_the_senders_address_where_the_campaign_does_not_ask(world: World) -> None:
    _, raw = await sent(world, Step())
    assert parse(raw)["Reply-To"] is None
