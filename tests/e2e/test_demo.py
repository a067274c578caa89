"""`coldstream demo`: every person behaves as their address says, and the receipt shows that every promise was kept."""

from collections import Counter

from deploy.local.campaign import STEPS, people
from tests.command import coldstream

LEADS = 30
# What each kind of person makes of a three-step sequence: messages accepted, replies, bounces, opt-outs.
ONE, ALL = 1, len(STEPS)
OUTCOMES = {
    "silent": (ALL, 0, 0, 0),
    "greylist": (ALL, 0, 0, 0),  # later, but whole
    "421": (ALL, 0, 0, 0),
    "tarpit": (ALL, 0, 0, 0),
    "ooo": (ALL, 0, 0, 0),  # an absence note is no reply and stops nothing
    "autoreply": (ALL - 1, 0, 0, 0),  # step 2 is for those who do not answer by machine
    "drop": (ALL, 0, 0, 0),  # each end unknown, each found in the Sent folder
    "tarpitdot": (0, 0, 0, 0),  # each end unknown for good, and counted as sent after 72 hours
    "interested": (ONE, 1, 0, 0),
    "meeting": (ONE, 1, 0, 0),
    "question": (ONE, 1, 0, 0),
    "not-interested": (ONE, 1, 0, 0),
    "interested-de": (ONE, 1, 0, 0),
    "interested-fr": (ONE, 1, 0, 0),
    "interested-ja": (ONE, 1, 0, 0),
    "not-interested-de": (ONE, 1, 0, 0),
    "colleague": (ONE, 1, 0, 0),  # found by house and subject alone
    "alias": (ONE, 1, 0, 0),
    "leftcompany": (ONE, 0, 0, 0),  # a machine's word, and nobody is there to be written to
    "forged": (ALL, 0, 0, 0),  # reports that name none of our ids change nothing
    "unsubscribe": (ONE, 1, 0, 1),
    "oneclick": (ONE, 0, 0, 1),
    "hardbounce": (0, 0, 1, 0),
    "mailboxfull": (0, 0, 1, 0),
    "dsn": (ONE, 0, 1, 0),
    "softdsn": (ALL, 0, ALL, 0),
    "policy": (0, 0, 0, 0),  # the sender is refused: that is nobody's bounce
    "policydot": (0, 0, 0, 0),
}


def kinds(leads: int) -> Counter[str]:
    """How many of each kind the demo has among so many people."""
    return Counter(person["email"].partition(".")[0] for person in people(leads))


def expected(leads: int) -> tuple[int, ...]:
    """The same four figures for a whole campaign."""
    return tuple(sum(OUTCOMES[kind][figure] * number for kind, number in kinds(leads).items()) for figure in range(4))


def unanswered(leads: int) -> int:
    """How many ends stay unknown for good because the server never says them."""
    return kinds(leads)["tarpitdot"] * ALL


def unreported(leads: int, accepted: int) -> int:
    """How many of softdsn's mails, of which `accepted` arrived, were lost to a kill: nobody reports on a lost mail."""
    return kinds(leads)["softdsn"] * ALL - accepted


async def test_a_campaign_ends_as_its_people_behave_and_no_promise_is_broken() -> None:
    accepted, replies, bounces, unsubscribes = expected(LEADS)
    done = await coldstream("demo", "--leads", str(LEADS), "--headless", "--json", timeout_s=300)
    assert done.code == 0, done.err
    receipt = done.json()
    assert receipt["leads"] == LEADS
    assert (receipt["replies"], receipt["unsubscribes"]) == (replies, unsubscribes)
    assert receipt["bounces"] == bounces - unreported(LEADS, receipt["behaviours"]["softdsn"]["accepted"])
    # a sender killed between the point of no return and the dot leaves an end that nobody saw; nothing is sent again
    lost = receipt["unknown"] - unanswered(LEADS)
    assert accepted - lost <= receipt["accepted"] == receipt["copies_in_sent"] <= accepted
    assert (receipt["duplicates"], receipt["sent_after_stop"]) == (0, 0)
    assert {kind: done["people"] for kind, done in receipt["behaviours"].items()} == kinds(LEADS)
    assert receipt["blocked"] == sum(kinds(LEADS)[kind] for kind in ("policy", "policydot"))
    arms = receipt["variants"]
    assert [arm["arm"] for arm in arms] == ["A", "B"]
    assert all(arm["sent"] for arm in arms)
    assert receipt["event_log"] == receipt["stream"] > 0
    assert receipt["email_events"] > 0
    assert receipt["rebuild_equal"] is True
    assert receipt["seconds"] > 0
