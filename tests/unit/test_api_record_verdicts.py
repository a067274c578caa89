"""What is known of a domain's records over time, when they are looked at again, and the record that mends them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.rules.records.dmarc import check_dmarc
from services.api.rules.records.found import PARTS, Found, Part, Remark
from services.api.rules.records.publish import Sender, dmarc_to_publish, spf_to_publish
from services.api.rules.records.spf import check_spf
from services.api.rules.records.verdict import (
    AFTER_SILENCE,
    DAY,
    KEPT_IN_SILENCE,
    SOON,
    SPREAD,
    Known,
    says_the_same,
    settle,
    wait_for,
)
from tests.unit.dict_dns import run

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def verdicts(**parts: Known) -> dict[Part, Known]:
    return {part: parts.get(part, Known()) for part in PARTS}


def found_of(
    spf: Found | None = None, dkim: Found | None = None, dmarc: Found | None = None
) -> dict[Part, Found | None]:
    return {"spf": spf, "dkim": dkim, "dmarc": dmarc}


REMARK = Remark(code="spf_open", detail="open", mend="close it")
GOOD, BAD = Found(valid=True, record="v=spf1 -all"), Found(valid=False, record="v=spf1 all", remarks=(REMARK,))


def test_an_answer_replaces_what_was_known() -> None:
    known = settle(verdicts(), found_of(spf=GOOD), NOW)
    assert known["spf"] == Known(valid=True, checked_at=NOW, record="v=spf1 -all")
    later = NOW + DAY
    assert settle(known, found_of(spf=BAD), later)["spf"] == Known(
        valid=False, checked_at=later, record="v=spf1 all", remarks=(REMARK,)
    )
    assert settle(known, found_of(spf=Found(valid=None)), later)["spf"] == Known()


def test_silence_keeps_a_verdict_for_three_days_and_is_none_itself() -> None:
    known = settle(verdicts(), found_of(spf=BAD, dmarc=GOOD), NOW)
    assert known["dkim"].valid is None
    assert [remark.code for remark in known["dkim"].remarks] == ["unanswered"]
    kept = settle(known, found_of(), NOW + KEPT_IN_SILENCE - timedelta(seconds=1))
    assert kept == known
    lost = settle(kept, found_of(), NOW + KEPT_IN_SILENCE)
    assert [lost[part].valid for part in PARTS] == [None, None, None]
    assert lost["spf"].record is None


def test_only_another_verdict_or_policy_is_news() -> None:
    one = verdicts(spf=Known(valid=True, checked_at=NOW), dmarc=Known(valid=True, policy="none", checked_at=NOW))
    assert says_the_same(one, {**one, "spf": Known(valid=True, checked_at=NOW + DAY, record="another")})
    assert not says_the_same(one, {**one, "spf": Known(valid=False, checked_at=NOW)})
    assert not says_the_same(one, {**one, "spf": Known()})
    assert not says_the_same(one, {**one, "dmarc": Known(valid=True, policy="reject", checked_at=NOW)})


@pytest.mark.parametrize(
    ("found", "since_change", "expected"),
    [
        (found_of(GOOD, GOOD, GOOD), timedelta(0), DAY),
        (found_of(GOOD, Found(valid=None), GOOD), timedelta(0), DAY),
        (found_of(GOOD, BAD, GOOD), timedelta(0), SOON),
        (found_of(GOOD, BAD, GOOD), DAY, DAY),
        (found_of(GOOD, None, GOOD), timedelta(0), SOON),
        (found_of(GOOD, None, BAD), DAY, AFTER_SILENCE),
    ],
)
@given(number=st.uuids())
def test_it_is_looked_at_daily_and_sooner_while_somebody_mends_it_or_nobody_answers(
    found: dict[Part, Found | None], since_change: timedelta, expected: timedelta, number: UUID
) -> None:
    assert expected <= wait_for(number, found, since_change) <= expected * (1 + SPREAD)
    assert wait_for(number, found, since_change) == wait_for(number, found, since_change)


def remark(code: str) -> list[Remark]:
    return [Remark(code=code, detail="d", mend="m")]


@pytest.mark.parametrize(
    ("record", "said", "senders", "expected"),
    [
        (None, "spf_missing", [("google", "smtp.gmail.com")], "v=spf1 include:_spf.google.com ~all"),
        (None, "spf_missing", [("microsoft", None)], "v=spf1 include:spf.protection.outlook.com ~all"),
        (
            None,
            "spf_missing",
            [("smtp", "smtp.acme.example"), ("smtp", "192.0.2.1"), ("smtp", "2001:db8::1"), ("google", None)],
            "v=spf1 a:smtp.acme.example include:_spf.google.com ip4:192.0.2.1 ip6:2001:db8::1 ~all",
        ),
        (None, "spf_missing", [], None),
        ("v=spf1 mx", "spf_endless", [], "v=spf1 mx ~all"),
        ("v=spf1 mx +ALL", "spf_open", [], "v=spf1 mx ~all"),
        ("v=spf1 all", "spf_open", [], "v=spf1 ~all"),
        ("v=spf1 include:open.example -all", "spf_open", [], None),
        ("v=spf1 -all", "spf_several", [("google", None)], None),
    ],
)
def test_the_spf_record_to_publish_is_the_least_that_mends_it(
    record: str | None, said: str, senders: list[tuple[str, str | None]], expected: str | None
) -> None:
    sending = [Sender(provider=provider, smtp_host=host) for provider, host in senders]
    value = spf_to_publish(record, remark(said), sending)
    assert value == expected
    if value is not None and "a:smtp" not in value:
        zone = {"TXT acme.example": [value], "MX acme.example": ["mx.acme.example"]}
        zone |= {f"TXT {name}": ["v=spf1 -all"] for name in ("_spf.google.com", "spf.protection.outlook.com")}
        assert run(check_spf("acme.example"), zone)[0].valid is True


@pytest.mark.parametrize(
    ("record", "said", "expected"),
    [
        (None, "dmarc_missing", "v=DMARC1; p=none"),
        ("v=DMARC1; p=x; sp=y; rua=mailto:d@a.example", "dmarc_policy", "v=DMARC1; p=none; rua=mailto:d@a.example"),
        ("v=DMARC1; p=none", "dmarc_several", None),
        ("v=DMARC1; p=none", "dmarc_inherited", None),
    ],
)  # fmt: skip
def test_the_dmarc_record_to_publish_keeps_what_is_good(record: str | None, said: str, expected: str | None) -> None:
    value = dmarc_to_publish(record, remark(said))
    assert value == expected
    if value is not None:
        assert run(check_dmarc("acme.example"), {"TXT _dmarc.acme.example": [value]})[0].valid is True
