"""A campaign's links have ids as soon as its sequence is saved, and keep them."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.contract.http_rig import STEP, Caller, Rig, campaign_of, expect, rig_on

LINKED = (
    '<p>See <a href="https://example.com/?a=1&amp;b=2">this</a> or '
    "<a href=\"{{ website | default: 'x' }}\">that</a></p>"
)


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def links_of(rig: Rig, campaign: dict[str, Any]) -> dict[str, UUID]:
    rows = await rig.owner.fetch("SELECT url, id FROM tracked_link WHERE campaign_id = $1", UUID(campaign["id"]))
    return {row["url"]: row["id"] for row in rows}


async def active(caller: Caller, steps: list[dict[str, Any]]) -> dict[str, Any]:
    campaign = await campaign_of(caller, sequences=steps)
    await caller.post(f"/v1/campaigns/{campaign['id']}/activate", status=202)
    return campaign


async def test_the_literal_links_of_all_steps_and_variants_get_ids_when_the_campaign_starts(rig: Rig) -> None:
    caller = await rig.team()
    variant = {"subject": "B", "body": '<a href="https://variant.test/">b</a>'}
    steps = [{"subject": "A", "body": LINKED, "variants": [variant]}, {"body": LINKED, "delay_days": 1}]
    draft = await campaign_of(caller, sequences=steps)
    assert await links_of(rig, draft) == {}
    await caller.post(f"/v1/campaigns/{draft['id']}/activate", status=202)
    assert (await links_of(rig, draft)).keys() == {"https://example.com/?a=1&b=2", "https://variant.test/"}


async def test_a_link_keeps_its_id_when_the_text_around_it_changes(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await active(caller, [{"subject": "A", "body": LINKED}])
    before = await links_of(rig, campaign)
    body = LINKED + '<a href="https://new.test/">new</a>'
    sequences = {"sequences": [{"subject": "A", "body": body}]}
    expect(await caller.ask("PUT", f"/v1/campaigns/{campaign['id']}/sequences", sequences), 200)
    after = await links_of(rig, campaign)
    assert after.keys() - before.keys() == {"https://new.test/"}
    assert before.items() <= after.items()


async def test_a_plain_text_has_no_links(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await active(caller, [STEP | {"body": "See https://example.com/"}])
    assert await links_of(rig, campaign) == {}
