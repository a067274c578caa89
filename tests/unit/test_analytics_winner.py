"""The A/B rule of field.md 4.10: its thresholds, its numbers against a closed form, and how often it is right."""

import math
from collections import Counter
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.rules.winner import Arm, NoDifference, Undecided, Verdict, Won, comparison, judge

ARMS = tuple(UUID(int=number) for number in range(1, 6))


def verdict(*counts: tuple[int, int]) -> Verdict:
    return judge(
        [Arm(variant_id=arm, sent=sent, replied=replied) for arm, (sent, replied) in zip(ARMS, counts, strict=False)]
    )


def winner(*counts: tuple[int, int]) -> int | None:
    """The place of the arm that has won."""
    found = verdict(*counts)
    return ARMS.index(found.variant_id) if isinstance(found, Won) else None


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (((149, 3), (149, 40)), None),  # too few mails
        (((150, 3), (149, 40)), None),  # of one arm
        (((150, 1), (150, 18)), None),  # too few answers, sure as it is
        (((150, 1), (150, 19)), 1),
        (((150, 19), (150, 1)), 0),
        (((300, 9), (300, 15)), None),  # 3 % v 5 %, not sure
        (((600, 18), (600, 30)), None),  # the same at the end: 0.960
        (((600, 18), (600, 31)), 1),  # 0.972
        (((200, 2), (200, 3), (200, 22)), 2),
        (((200, 2), (200, 22), (200, 23)), None),  # two good ones: neither is the best for sure
        (((1000, 1), (150, 40)), 1),  # arms need not be of one size
    ],
)
def test_a_winner_is_declared_only_when_all_four_conditions_hold(
    counts: tuple[tuple[int, int], ...], expected: int | None
) -> None:
    assert winner(*counts) == expected


def test_after_six_hundred_mails_an_arm_there_is_no_difference_to_find() -> None:
    assert verdict((600, 20), (599, 21)) == Undecided()
    assert verdict((600, 20), (600, 21)) == NoDifference()
    assert verdict((600, 0), (600, 1)) == NoDifference()
    assert verdict((600, 5)) == Undecided()  # one arm is no test


def test_who_is_surely_best_by_a_hair_is_so_at_no_loss() -> None:
    found = verdict((150, 3), (150, 25))
    assert isinstance(found, Won)
    assert (found.probability > 0.9999, found.expected_loss < 1e-6) == (True, True)


def better(one: tuple[int, int], two: tuple[int, int]) -> float:
    """P(two beats one) of two Beta posteriors, summed exactly (Miller, "Formulas for Bayesian A/B Testing")."""
    (a, b), (c, d) = ((1 + replied, 33 + sent - replied) for sent, replied in (one, two))

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    terms = (log_beta(a + i, b + d) - math.log(d + i) - log_beta(1 + i, d) - log_beta(a, b) for i in range(c))
    return sum(math.exp(term) for term in terms)


counts = st.integers(150, 3000).flatmap(lambda sent: st.tuples(st.just(sent), st.integers(0, sent)))


@settings(max_examples=60, deadline=None)
@given(counts, counts)
def test_the_integration_is_right_to_three_digits(one: tuple[int, int], two: tuple[int, int]) -> None:
    (first, _), (second, loss) = comparison([one, two])
    assert second == pytest.approx(better(one, two), abs=1e-3)
    assert first + second == pytest.approx(1, abs=1e-3)
    assert 0 <= loss <= 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(150, 900), st.integers(0, 60)), min_size=3, max_size=5))
def test_one_of_all_arms_is_the_best(arms: list[tuple[int, int]]) -> None:
    chances = comparison(arms)
    assert sum(probability for probability, _ in chances) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("rates", "right", "wrong"),
    [((0.03, 0.05), (0.35, 0.8), 0.06), ((0.03, 0.06), (0.6, 1.0), 0.06), ((0.03, 0.03), (0.0, 0.25), 0.25)],
)
def test_it_finds_the_better_arm_as_often_as_the_page_says(
    rates: tuple[float, float], right: tuple[float, float], wrong: float
) -> None:
    """The page: 3 v 5 right 58 %, wrong 0.3 %; 3 v 6 right 82 %; equal arms, some winner 13 %. 50 seeded runs each."""
    ends = Counter(_run(rates, seed) for seed in range(50))
    assert right[0] <= ends[1] / 50 <= right[1]
    assert ends[0] / 50 <= wrong


def _run(rates: tuple[float, float], seed: int) -> int | None:
    random, replied = Random(seed), [0, 0]  # noqa: S311  a simulation, repeatable by its seed
    for sent in range(50, 601, 50):
        for arm, rate in enumerate(rates):
            replied[arm] += sum(random.random() < rate for _ in range(50))
        found = winner(*((sent, count) for count in replied))
        if found is not None:
            return found
    return None
