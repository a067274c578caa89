"""`coldstream demo`: every person behaves as their address says, and the receipt shows that every promise was kept."""

from collections import Counter

from deploy.local.campaign import STEPS, people
from tests.command import coldstream

LEADS = 40
# What each kind of person makes of a three-step sequence: messages accepted, replies, bounces, opt-outs.
ONE, ALL = 1, len(STEPS)
OUTCOMES = {
    "silent": (ALL, 0, 0, 0),
    "greylist": (ALL, 0, 0, 0),  # later, but whole
    "ooo": (ALL, 0, 0, 0),  # an absence note is no reply and stops nothing
    "drop": (ALL, 0, 0, 0),  # each end unknown, each found in the Sent folder
    "interested": (ONE, 1, 0, 0),
    "not-interested": (ONE, 1, 0, 0),
    "unsubscribe": (ONE, 1, 0, 1),
    "oneclick": (ONE, 0, 0, 1),
    "hardbounce": (0, 0, 1, 0),
    "dsn": (ONE, 0, 1, 0),
}


def expected(leads: int) -> tuple[int, ...]:
    """The same four figures for a whole campaign."""
    kinds = Counter(person["email"].partition(".")[0] for person in people(leads))
    return tuple(sum(OUTCOMES[kind][figure] * number for kind, number in kinds.items()) for figure in range(4))


async def test_a_campaign_ends_as_its_people_behave_and_no_promise_is_broken() -> None:
    accepted, *answers = expected(LEADS)
    done = await coldstream("demo", "--leads", str(LEADS), "--headless", "--json", timeout_s=300)
    assert done.code == 0, done.err
    receipt = done.json()
    assert receipt["leads"] == LEADS
    assert [receipt["replies"], receipt["bounces"], receipt["unsubscribes"]] == answers
    # a sender killed between the point of no return and the dot leaves an end that nobody saw; nothing is sent again
    assert accepted - receipt["unknown"] <= receipt["accepted"] <= accepted
    assert (receipt["duplicates"], receipt["sent_after_stop"]) == (0, 0)
    assert receipt["event_log"] == receipt["stream"] > 0
    assert receipt["email_events"] > 0
    assert receipt["rebuild_equal"] is True
    assert receipt["seconds"] > 0
