"""When a breaker opens, halves and closes: field.md 4.4, its ready-made limits, and how often they are wrong."""

import random
from datetime import UTC, datetime, timedelta
from math import exp, lgamma, log
from statistics import median
from uuid import UUID

import pytest

from services.sender.rules.breaker import (
    Breaker,
    after_failure,
    after_send_limit,
    closed,
    failure_kind,
    gives_up,
)
from services.sender.rules.reputation import (
    LEAST_SENDS,
    PROBES,
    WORST_RATE,
    Bounces,
    Complaints,
    after_bounce,
    after_complaint,
    after_pause,
    after_probe,
    bounce_limit,
    chance_of_worse,
)
from services.sender.rules.verdict import Answer, Deferred, NoAnswer, Withheld, judge

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BOUNCING = Breaker(kind="reputation", key="an inbox")
COMPLAINED = Breaker(kind="complaint", key="an inbox")


def test_five_failures_in_a_row_open_the_breaker_for_ever_longer_up_to_four_hours() -> None:
    breaker, now = Breaker(kind="transport", key="an inbox"), NOW
    pauses: list[float | None] = []
    for _ in range(13):
        now = breaker.retry_at or now
        breaker = after_failure(breaker, "refused", now)
        pauses.append((breaker.retry_at - now).total_seconds() / 60 if breaker.retry_at else None)
    assert pauses == [None, None, None, None, 5, 10, 20, 40, 80, 160, 240, 240, 240]
    assert closed(breaker) == Breaker(kind="transport", key="an inbox")


def test_what_was_under_way_when_it_opened_makes_no_pause_longer() -> None:
    breaker = Breaker(kind="transport", scope="smtp_host", key="mail.test")
    for _ in range(30):
        breaker = after_failure(breaker, "timeout", NOW)
    assert (breaker.state, breaker.failures, breaker.retry_at) == ("open", 5, NOW + 5 * MINUTE)


def test_a_wrong_password_opens_at_once_and_three_within_the_hour_ask_a_person() -> None:
    breaker, now = Breaker(kind="auth"), NOW
    for failures, gone in ((1, False), (2, False), (3, True)):
        breaker = after_failure(breaker, "auth 535", now)
        assert (breaker.state, breaker.failures, gives_up(breaker)) == ("open", failures, gone)
        assert breaker.retry_at is not None
        now = breaker.retry_at


def test_three_wrong_passwords_on_three_days_ask_nobody() -> None:
    breaker = Breaker(kind="auth")
    for day in range(3):
        breaker = after_failure(breaker, "auth 535", NOW + day * DAY)
    assert not gives_up(breaker)


@pytest.mark.parametrize(
    ("first_of_day", "frees_after"), [(None, 6 * HOUR), (-23 * HOUR, 6 * HOUR), (-10 * HOUR, 14 * HOUR)]
)
def test_a_send_limit_holds_until_the_rolling_day_frees(first_of_day: timedelta | None, frees_after: timedelta) -> None:
    first = None if first_of_day is None else NOW + first_of_day
    breaker = after_send_limit(Breaker(kind="provider_limit"), "dot 550", NOW, first)
    assert (breaker.state, breaker.retry_at) == ("open", NOW + frees_after)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Answer(phase="auth", code=535, text="bad"), "auth"),
        (Answer(phase="auth", code=454, text="later"), "transport"),
        (Answer(phase="rcpt", code=421, text="closing"), "transport"),
        (Answer(phase="rcpt", code=550, text="no such user"), None),
        (Answer(phase="dot", code=250, text="ok"), None),
        (Answer(phase="dot", code=550, text="5.4.5 Daily user sending limit exceeded."), "provider_limit"),
        (Answer(phase="mail", code=550, text="5.7.705 tenant has exceeded threshold"), "provider_limit"),
        (Answer(phase="rcpt", code=550, text="5.7.708 traffic not accepted from this IP"), "provider_limit"),
        (Answer(phase="rcpt", code=450, text="4.7.708 later"), None),
        (NoAnswer(phase="dot", reason="timeout"), "transport"),
        (Withheld(reason="refused"), None),
    ],
)
def test_only_the_line_itself_charges_the_breaker(outcome: Answer | NoAnswer | Withheld, kind: str | None) -> None:
    assert failure_kind(outcome) == kind


def test_the_mail_that_met_a_send_limit_is_not_to_blame() -> None:
    outcome = Answer(phase="dot", code=550, text="5.4.5 Daily user sending limit exceeded")
    verdict = judge(outcome, send_id=UUID(int=7), attempt=5, previous_code=550, now=NOW)
    assert isinstance(verdict, Deferred)
    assert verdict.own


@pytest.mark.parametrize(
    ("sends", "limit"), [(20, 4), (30, 4), (40, 5), (50, 5), (75, 6), (100, 7), (150, 9), (200, 11)]
)
def test_the_limits_are_those_of_the_page(sends: int, limit: int) -> None:
    assert bounce_limit(sends) == limit
    assert after_bounce(BOUNCING, Bounces(sends=sends, bounces=limit - 1), NOW, NOW).state == "closed"
    opened = after_bounce(BOUNCING, Bounces(sends=sends, bounces=limit), NOW, NOW)
    assert (opened.state, opened.failures, opened.sends, opened.threshold) == ("open", limit, sends, limit)
    assert opened.retry_at == NOW + DAY


@pytest.mark.parametrize(("bounces", "sends"), [(0, 10), (4, 20), (7, 100), (11, 200), (60, 2000)])
def test_the_chance_is_the_area_under_the_beta_curve(bounces: int, sends: int) -> None:
    a, b = 1 + bounces, 49 + sends - bounces
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)

    def density(x: float) -> float:
        return exp(scale + (a - 1) * log(x) + (b - 1) * log(1 - x))

    steps = 20_000
    width = (1 - WORST_RATE) / steps
    area = sum(density(WORST_RATE + (n + 0.5) * width) for n in range(steps)) * width
    assert chance_of_worse(bounces, sends) == pytest.approx(area, abs=1e-4)


def test_nine_mails_prove_nothing() -> None:
    assert after_bounce(BOUNCING, Bounces(sends=LEAST_SENDS - 1, bounces=9), NOW, NOW).state == "closed"


@pytest.mark.parametrize(
    ("rate", "trips", "first"), [(0.01, (0, 0.006), None), (0.02, (0.008, 0.032), None), (0.08, (0.97, 1), (50, 75)),
        (0.12, (0.99, 1), (26, 37)), (0.25, (1, 1), (12, 18))]
)  # fmt: skip
def test_it_opens_as_often_and_as_soon_as_the_page_says(
    rate: float, trips: tuple[float, float], first: tuple[int, int] | None
) -> None:
    chance = random.Random(4)  # noqa: S311 - a simulation
    limits = [bounce_limit(sends) for sends in range(301)]
    opened_at: list[int] = []
    for _ in range(2_000):
        bounces = 0
        for sends in range(1, 301):
            bounces += chance.random() < rate
            if sends >= LEAST_SENDS and bounces >= limits[sends]:
                opened_at.append(sends)
                break
    assert trips[0] <= len(opened_at) / 2_000 <= trips[1]
    if first is not None:
        assert first[0] <= median(opened_at) <= first[1]


def test_after_a_day_five_probes_close_it_and_what_lay_before_is_forgotten() -> None:
    opened = after_bounce(BOUNCING, Bounces(sends=20, bounces=4), NOW, NOW)
    late = after_bounce(opened, Bounces(sends=20, bounces=5), NOW - DAY, NOW + HOUR)
    assert late == opened  # a report about a mail of before says nothing new
    trying = after_pause(opened)
    assert trying.state == "half-open"
    assert after_probe(trying, PROBES - 1) == trying
    done = after_probe(trying, PROBES)
    assert (done.state, done.failures, done.counted_from) == ("closed", 0, NOW + DAY)


def test_a_probe_that_bounces_opens_it_for_another_day() -> None:
    opened = after_pause(after_bounce(BOUNCING, Bounces(sends=20, bounces=4), NOW, NOW))
    later = NOW + DAY + HOUR
    again = after_bounce(opened, Bounces(sends=1, bounces=1), later, later)
    assert (again.state, again.retry_at) == ("open", later + DAY)


@pytest.mark.parametrize(
    ("seen", "state", "limit"),
    [
        (Complaints(week=1, month=1, sends=100), "closed", 3),
        (Complaints(week=1, month=1, sends=999), "closed", 3),
        (Complaints(week=1, month=1, sends=1000), "half-open", 1),
        (Complaints(week=1, month=1, sends=2000), "closed", 6),
        (Complaints(week=2, month=2, sends=50), "half-open", 2),
        (Complaints(week=1, month=3, sends=1000), "open", 3),
        (Complaints(week=3, month=3, sends=100_000), "open", 3),
    ],
)
def test_one_complaint_is_watched_two_halve_three_ask_a_person(seen: Complaints, state: str, limit: int) -> None:
    breaker = after_complaint(COMPLAINED, seen, NOW)
    assert (breaker.state, breaker.threshold) == (state, limit)
    assert breaker.retry_at == (None if state == "closed" else NOW + 7 * DAY)
    assert breaker.sends == seen.sends


def test_a_complaint_lifts_no_open_breaker() -> None:
    opened = after_complaint(COMPLAINED, Complaints(week=3, month=3, sends=10), NOW)
    assert after_complaint(opened, Complaints(week=1, month=4, sends=10), NOW + 10 * DAY) == opened
