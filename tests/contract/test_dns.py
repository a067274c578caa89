"""Who runs a recipient's mail: noted at import, asked afterwards, kept for a week; never asked while anybody waits."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import dns.asyncresolver
import dns.rcode
import dns.resolver
import pytest

from services.api import dns as api_dns
from services.api.dns import Resolver
from services.api.jobs import ASK_AGAIN, DOMAINS_AT_ONCE, KEEP_PROVIDER, QUESTIONS_AT_ONCE, resolve_providers
from services.api.rules.providers import known_provider, provider_of
from tests.contract.fake_dns import Zone, zone
from tests.contract.http_rig import Rig, rig_on
from tests.support import eventually

WORKSPACE = ["1 aspmx.l.google.com.", "5 alt1.aspmx.l.google.com."]
EXCHANGE = ["0 acme-test.mail.protection.outlook.com."]
OWN = ["10 mx.own.test."]


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture(autouse=True)
async def nothing_known(rig: Rig) -> None:
    await rig.owner.execute("DELETE FROM recipient_domain")


async def note(rig: Rig, *domains: str) -> None:
    await rig.owner.executemany("INSERT INTO recipient_domain (domain) VALUES ($1)", [(each,) for each in domains])


async def known(rig: Rig) -> dict[str, str | None]:
    rows = await rig.owner.fetch("SELECT domain, provider FROM recipient_domain WHERE resolved_at IS NOT NULL")
    return {row["domain"]: row["provider"] for row in rows}


async def resolve(rig: Rig, served: Zone) -> bool:
    return await resolve_providers(rig.runtime, Resolver([served.server]))


async def test_an_import_notes_each_domain_once_and_asks_nobody(rig: Rig) -> None:
    caller, other = await rig.team(), await rig.team()
    rows = [{"email": "a@one.test"}, {"email": "b@ONE.test"}, {"email": "c@two.test"}, {"email": "no address"}]
    for each in (caller, other):
        await each.post("/v1/leads:batch", {"leads": rows}, 200)
    noted = await rig.owner.fetch("SELECT domain, provider, resolved_at FROM recipient_domain ORDER BY domain")
    assert [tuple(row) for row in noted] == [("one.test", None, None), ("two.test", None, None)]


async def test_the_job_finds_out_who_runs_whose_mail(rig: Rig) -> None:
    await note(rig, "workspace.test", "exchange.test", "own.test", "gone.test", "silent.test", "null.test")
    records: dict[str, Any] = {
        "workspace.test": WORKSPACE,
        "exchange.test": EXCHANGE,
        "own.test": OWN,
        "silent.test": [],
        "null.test": ["0 ."],
    }
    async with zone(records) as served:
        assert await resolve(rig, served) is False
        assert sorted(served.asked) == sorted([*records, "gone.test"])
        assert await known(rig) == {
            "workspace.test": "google",
            "exchange.test": "microsoft",
            "own.test": "other",
            "gone.test": "other",
            "silent.test": "other",
            "null.test": "other",
        }
        await resolve(rig, served)
        assert len(served.asked) == 6


async def test_mail_for_everybody_is_known_without_asking(rig: Rig) -> None:
    await note(rig, "gmail.com", "hotmail.fr", "yahoo.com")
    async with zone({}) as served:
        await resolve(rig, served)
        assert served.asked == []
    assert await known(rig) == {"gmail.com": "google", "hotmail.fr": "microsoft", "yahoo.com": "other"}


@pytest.mark.parametrize(
    "answer", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, None], ids=["servfail", "refused", "silence"]
)
async def test_a_name_server_that_fails_leaves_the_provider_unknown_for_a_day(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, answer: dns.rcode.Rcode | None
) -> None:
    monkeypatch.setattr(api_dns, "LIFETIME_S", 0.2)
    await note(rig, "later.test")
    async with zone({"later.test": answer}) as served:
        await resolve(rig, served)
        assert await known(rig) == {"later.test": None}
        asked = len(served.asked)
        rig.clock.move(ASK_AGAIN - timedelta(seconds=1))
        await resolve(rig, served)
        assert len(served.asked) == asked
        rig.clock.move(timedelta(seconds=1))
        served.records["later.test"] = WORKSPACE
        await resolve(rig, served)
        assert await known(rig) == {"later.test": "google"}


async def test_a_known_provider_is_asked_about_again_after_a_week(rig: Rig) -> None:
    await note(rig, "moving.test")
    async with zone({"moving.test": WORKSPACE}) as served:
        await resolve(rig, served)
        served.records["moving.test"] = EXCHANGE
        rig.clock.move(KEEP_PROVIDER - timedelta(seconds=1))
        await resolve(rig, served)
        assert await known(rig) == {"moving.test": "google"}
        rig.clock.move(timedelta(seconds=1))
        await resolve(rig, served)
        assert await known(rig) == {"moving.test": "microsoft"}


async def test_so_many_at_once_and_no_more_questions_than_that(rig: Rig) -> None:
    await note(rig, *(f"d{number}.test" for number in range(DOMAINS_AT_ONCE + 1)))
    async with zone({}) as served:
        served.answer_after_s = 0.01
        assert await resolve(rig, served) is True
        assert (len(served.asked), served.most_at_once) == (DOMAINS_AT_ONCE, QUESTIONS_AT_ONCE)
        assert await resolve(rig, served) is False
    assert len(await known(rig)) == DOMAINS_AT_ONCE + 1


async def test_two_processes_do_not_ask_the_same(rig: Rig) -> None:
    await note(rig, *(f"d{number}.test" for number in range(20)))
    async with zone({}) as served:
        await asyncio.gather(*(resolve(rig, served) for _ in range(5)))
        assert len(served.asked) == 20


async def test_a_signal_does_not_wait_for_a_name_server_and_what_was_claimed_comes_again(rig: Rig) -> None:
    await note(rig, "slow.test")
    async with zone({"slow.test": WORKSPACE}) as served:
        served.answer_after_s = 60
        asking = asyncio.create_task(resolve(rig, served))
        await eventually(lambda: served.most_at_once)
        rig.runtime.stopping.set()
        try:
            assert await asyncio.wait_for(asking, 1) is False
        finally:
            rig.runtime.stopping.clear()
        served.answer_after_s = 0
        assert await resolve(rig, served) is False
        rig.clock.move(timedelta(minutes=5))
        await resolve(rig, served)
    assert await known(rig) == {"slow.test": "google"}


async def test_a_machine_without_name_servers_starts_and_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", nothing)
    assert await Resolver().mail_exchangers("example.com") is None


async def test_the_systems_name_servers_are_not_asked_about_domains_of_no_internet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver()
    monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", None)
    for domain in ("lead.test", "mail.example", "x.invalid", "a.localhost"):
        assert await resolver.mail_exchangers(domain) == []


async def test_a_name_has_addresses_of_either_kind_or_none_or_nobody_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_dns, "LIFETIME_S", 1.0)
    records = {"A four.test": ["192.0.2.1"], "AAAA six.test": ["2001:db8::1"], "A silent.test": None}
    async with zone(records) as served:
        resolver = Resolver([served.server])
        answers = [await resolver.addresses(f"{name}.test") for name in ("four", "six", "gone", "silent")]
    assert answers == [["192.0.2.1"], ["2001:db8::1"], [], None]


async def test_a_text_is_put_together_and_holds_no_character_that_a_column_or_terminal_would_not() -> None:
    async with zone({"TXT long.test": ["x" * 600], "TXT odd.test": ["b\x00\x1b\xff", "a\tb"]}) as served:
        resolver = Resolver([served.server])
        assert await resolver.texts("long.test") == ["x" * 600]
        assert await resolver.texts("odd.test") == ["a\tb", r"b\x00\x1b\xff"]
        assert await resolver.texts(f"{'x' * 64}.test") == []


@pytest.mark.parametrize("server", ["ns.example.test", "127.0.0.1:99999", "nonsense:53"])
def test_a_name_server_is_an_address(server: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Resolver([server])


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.1:5353", "[::1]:5353", "::1"])
def test_an_address_may_name_its_port(server: str) -> None:
    Resolver([server])


@pytest.mark.parametrize(
    ("exchangers", "provider"),
    [
        (["aspmx.l.google.com"], "google"),
        (["SMTP.GOOGLE.COM."], "google"),
        (["hotmail-com.olc.protection.outlook.com"], "microsoft"),
        (["acme.mail.protection.outlook.com", "aspmx.l.google.com"], "microsoft"),
        (["acme-test.p-v1.mx.microsoft"], "microsoft"),
        (["mx.proofpoint.test", "aspmx.l.google.com"], "other"),
        (["google.com.evil.test"], "other"),
        (["notgoogle.com"], "other"),
        ([""], "other"),
        ([], "other"),
    ],
)
def test_the_most_preferred_exchanger_says_who_runs_the_mail(exchangers: list[str], provider: str) -> None:
    assert provider_of(exchangers) == provider


def test_a_company_is_never_known_without_asking() -> None:
    assert known_provider("acme.test") is None
    assert known_provider("outlook.acme.test") is None
