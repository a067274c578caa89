"""What the DNS says of a sending domain: asked by a job over a real line, kept for a while, told when it is news."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import dns.asyncresolver
import dns.rcode
import pytest

from services.api import checks, records
from services.api import dns as api_dns
from services.api.checks import AT_ONCE, CLAIM, LOOKED_AT_ONCE, check_domains
from services.api.dns import Resolver
from services.api.records import look_up
from services.api.rules.records.verdict import AFTER_SILENCE, DAY, KEPT_IN_SILENCE, SOON
from tests.contract.domains_world import KEY, LATER, added, codes, due_in, good, look, told, verdicts
from tests.contract.fake_dns import Records, zone
from tests.contract.http_rig import Rig, expect, rig_on
from tests.support import eventually


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture(autouse=True)
async def no_domains(rig: Rig) -> None:
    await rig.owner.execute("DELETE FROM domains")


async def test_a_new_domain_is_looked_up_at_once_and_told_once(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    before = await caller.get(f"/v1/domains/{domain_id}")
    assert (before["last_checked_at"], before["check_asked_at"], before["spf_valid"]) == (None, None, None)
    async with zone(good("acme.test")) as served:
        assert await look(rig, served) is False
        assert await look(rig, served) is False
        assert len(served.asked) == 3
    after = await caller.get(f"/v1/domains/{domain_id}")
    assert await verdicts(caller, domain_id) == [True, True, True]
    assert (after["spf_record"], after["dkim_record"]) == ("v=spf1 ip4:192.0.2.1 -all", KEY)
    assert (after["dmarc_record"], after["dmarc_policy"]) == ("v=DMARC1; p=none", "none")
    now = rig.clock.now().isoformat().replace("+00:00", "Z")
    assert [after[name] for name in ("check_asked_at", "last_checked_at", "verified_at")] == [now] * 3
    assert [(check["checked_at"], check["remarks"], check["publish"]) for check in after["checks"]] == [
        (now, [], None)
    ] * 3
    assert await told(rig, caller) == [
        {
            "domain_id": domain_id,
            "spf_valid": True,
            "dkim_valid": True,
            "dmarc_valid": True,
            "dmarc_policy": "none",
            "health_score": None,
        }
    ]
    assert DAY <= await due_in(rig, domain_id) <= DAY * LATER


async def test_a_foreign_key_where_we_sign_is_told_and_a_new_key_is_looked_for_soon(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        await look(rig, served)
        path = f"/v1/domains/{domain_id}/dkim"
        rig.clock.move(DAY * 3 / 4)
        record = expect(await caller.ask("PUT", path, {"selector": "s1", "algorithm": "ed25519"}), 200)
        await look(rig, served)
        assert await codes(caller, domain_id) == {"spf": [], "dkim": ["dkim_foreign"], "dmarc": []}
        assert SOON <= await due_in(rig, domain_id) <= SOON * LATER
        served.records[f"TXT {record['name']}"] = [record["value"]]
        rig.clock.move(SOON * LATER)
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]
        expect(await caller.ask("DELETE", path), 204)
        asked = len(served.asked)
        await look(rig, served)
        assert len(served.asked) > asked
    assert [each["dkim_valid"] for each in await told(rig, caller)] == [True, False, True]


async def test_only_what_changed_is_told(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        for policy in ("none", "none", "reject", "reject"):
            served.records["TXT _dmarc.acme.test"] = [f"v=DMARC1; p={policy}"]
            await look(rig, served)
            rig.clock.move(DAY * LATER)
        assert len(served.asked) == 4 * 3
        served.records["TXT acme.test"] = ["v=spf1 +all"]
        await look(rig, served)
    assert [(each["spf_valid"], each["dmarc_policy"]) for each in await told(rig, caller)] == [
        (True, "none"), (True, "reject"), (False, "reject"),
    ]  # fmt: skip
    assert (await caller.get(f"/v1/domains/{domain_id}"))["checks"][0]["publish"]["value"] == "v=spf1 ~all"


async def test_without_a_selector_the_usual_ones_are_tried_and_one_may_be_named(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller, selector=None)
    path = f"/v1/domains/{domain_id}"
    async with zone(good("acme.test", "own")) as served:
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, None, True]
        assert (await codes(caller, domain_id))["dkim"] == ["dkim_selector_unknown"]
        served.records["TXT k1._domainkey.acme.test"] = [KEY]
        rig.clock.move(DAY * LATER)
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]
        assert (await codes(caller, domain_id))["dkim"] == ["dkim_guessed"]
        named = expect(await caller.ask("PATCH", path, {"dkim_selector": "Own"}), 200)
        assert named["dkim_selector"] == "own"
        await look(rig, served)
        assert await codes(caller, domain_id) == {"spf": [], "dkim": [], "dmarc": []}
        assert expect(await caller.ask("PATCH", path, {"dkim_selector": None}), 200)["dkim_selector"] is None
        await look(rig, served)
        assert (await codes(caller, domain_id))["dkim"] == ["dkim_guessed"]


@pytest.mark.parametrize(
    "answer", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, None], ids=["servfail", "refused", "silence"]
)
async def test_silence_is_no_verdict_and_keeps_the_last_for_three_days(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, answer: dns.rcode.Rcode | None
) -> None:
    monkeypatch.setattr(api_dns, "LIFETIME_S", 0.2)
    caller = await rig.team()
    domain_id = await added(caller)
    silent: dict[str, Any] = dict.fromkeys(good("acme.test"), answer)
    async with zone(silent) as served:
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [None, None, None]
        assert (await codes(caller, domain_id))["spf"] == ["unanswered"]
        assert await told(rig, caller) == []
        served.records.update(good("acme.test"))
        rig.clock.move(AFTER_SILENCE * LATER)
        monkeypatch.setattr(api_dns, "LIFETIME_S", 5.0)
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]
        answered_at = (await caller.get(f"/v1/domains/{domain_id}"))["last_checked_at"]
        served.records.update(silent)
        monkeypatch.setattr(api_dns, "LIFETIME_S", 0.2)
        rig.clock.move(KEPT_IN_SILENCE - timedelta(seconds=1))
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]
        assert (await caller.get(f"/v1/domains/{domain_id}"))["last_checked_at"] == answered_at
        assert AFTER_SILENCE <= await due_in(rig, domain_id) <= AFTER_SILENCE * LATER
        rig.clock.move(AFTER_SILENCE * LATER)
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [None, None, None]
    assert [each["spf_valid"] for each in await told(rig, caller)] == [True, None]


async def test_a_silent_include_is_no_verdict_about_the_rest(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_dns, "LIFETIME_S", 1.0)
    caller = await rig.team()
    domain_id = await added(caller)
    more = {"TXT acme.test": ["v=spf1 include:_spf.acme.test -all"], "TXT _spf.acme.test": dns.rcode.SERVFAIL}
    async with zone(good("acme.test") | more) as served:
        await look(rig, served)
    assert await verdicts(caller, domain_id) == [None, True, True]


async def test_a_zone_that_answers_slowly_costs_no_more_than_its_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "WITHIN_S", 1.0)
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone({"TXT acme.test": ["v=spf1 include:acme.test -all"]}) as served:
        served.answer_after_s = 0.3
        await look(rig, served)
        assert (await codes(caller, domain_id))["spf"] == ["unanswered"]


HOSTILE: list[tuple[Records, str]] = [
    ({"TXT acme.test": ["v=spf1 " + "include:a.test " * 3_000]}, "spf_long"),
    ({"TXT acme.test": [f"{'x' * 200}{number}" for number in range(200)]}, "spf_missing"),
    ({"TXT acme.test": ["v=spf1 \x00\x1b[31m\xff -all"]}, "spf_syntax"),
    ({"TXT acme.test": ["v=spf1 include:acme.test -all"]}, "spf_lookups"),
    ({"TXT acme.test": ["v=spf1 include:loop.test -all"], "CNAME loop.test": ["loop.test."]}, "unanswered"),
    ({"TXT acme.test": [f"v=spf1 include:{'.'.join(['x' * 60] * 4)}.test -all"]}, "spf_dangling"),
]  # fmt: skip


@pytest.mark.parametrize(("hostile", "expected"), HOSTILE, ids=[code for _, code in HOSTILE])
async def test_a_hostile_zone_gets_a_verdict_and_few_questions(rig: Rig, hostile: Records, expected: str) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(hostile) as served:
        await look(rig, served)
        assert (await codes(caller, domain_id))["spf"] == [expected]
        assert len(served.asked) <= 20
    shown = await caller.get(f"/v1/domains/{domain_id}")
    assert len(str(shown)) < 10_000


async def test_an_alias_of_a_key_is_followed(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    alias = {"CNAME s1._domainkey.acme.test": ["s1.provider.test."], "TXT s1.provider.test": [KEY]}
    async with zone(alias) as served:
        await look(rig, served)
    assert (await verdicts(caller, domain_id))[1] is True


async def test_who_asks_during_a_look_gets_another_one(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        served.held = []
        looking = asyncio.create_task(look(rig, served))
        await eventually(lambda: served.held)
        rig.clock.move(timedelta(minutes=1))
        await caller.post(f"/v1/domains/{domain_id}/check", None, 202)
        served.let_go()
        await looking
        assert await verdicts(caller, domain_id) == [True, True, True]
        assert await due_in(rig, domain_id) <= timedelta(0)


async def test_what_was_found_of_a_replaced_key_is_not_stored(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        served.held = []
        looking = asyncio.create_task(look(rig, served))
        await eventually(lambda: served.held)
        expect(await caller.ask("PATCH", f"/v1/domains/{domain_id}", {"dkim_selector": "s2"}), 200)
        served.let_go()
        await looking
        assert await verdicts(caller, domain_id) == [None, None, None]
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, False, True]


async def test_so_many_at_once_and_each_by_one_process(rig: Rig) -> None:
    caller = await rig.team()
    for number in range(AT_ONCE + 2):
        await added(caller, f"d{number}.test")
    async with zone({}) as served:
        served.answer_after_s = 0.01
        assert await look(rig, served) is True
        assert await look(rig, served) is False
        assert served.most_at_once <= LOOKED_AT_ONCE * 3
        questions = len(served.asked)
        assert questions == (AT_ONCE + 2) * 3
        rig.clock.move(SOON * LATER)
        await asyncio.gather(*(look(rig, served) for _ in range(3)))
        assert len(served.asked) == 2 * questions


async def test_a_domain_that_cannot_be_looked_up_does_not_hold_the_others_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(resolver: Resolver, domain: str, *more: str | None) -> Any:
        if domain == "poison.test":
            raise AssertionError("a fault of ours")
        return await look_up(resolver, domain, *more)

    monkeypatch.setattr(checks, "look_up", failing)
    caller = await rig.team()
    poison, domain_id = await added(caller, "poison.test"), await added(caller)
    async with zone(good("acme.test")) as served:
        with pytest.raises(ExceptionGroup, match="could not be looked up"):
            await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]
        assert await due_in(rig, poison) == CLAIM


async def test_a_signal_does_not_wait_for_a_name_server_and_what_was_claimed_comes_again(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        served.answer_after_s = 60
        looking = asyncio.create_task(look(rig, served))
        await eventually(lambda: served.most_at_once)
        rig.runtime.stopping.set()
        try:
            assert await asyncio.wait_for(looking, 5) is False
        finally:
            rig.runtime.stopping.clear()
        served.answer_after_s = 0
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [None, None, None]
        rig.clock.move(CLAIM)
        await look(rig, served)
        assert await verdicts(caller, domain_id) == [True, True, True]


async def test_reserved_names_are_not_asked_of_public_servers_and_stay_unchecked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    resolver = Resolver()
    monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", None)
    await check_domains(rig.runtime, resolver)
    said = await caller.get(f"/v1/domains/{domain_id}")
    assert (await verdicts(caller, domain_id), said["last_checked_at"]) == ([None] * 3, None)
    assert await told(rig, caller) == []
    assert await due_in(rig, domain_id) == DAY
