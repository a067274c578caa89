"""What a service has a handler for is what its durable consumer brings it: the rest would wait for ever unheard."""

import pytest

from libs.schema.events.base import Event
from libs.schema.runtime.streams import DURABLES
from services.sender.app import HEARS


@pytest.mark.parametrize("kind", HEARS, ids=lambda kind: kind.TYPE)
def test_the_senders_durable_brings_every_type_that_it_handles(kind: type[Event]) -> None:
    noun = kind.TYPE.partition(".")[0]
    assert {f"{kind.TYPE}.*", f"{noun}.*.*"} & set(DURABLES["sender"])


def test_no_filter_of_the_senders_durable_is_for_nobody() -> None:
    heard = {kind.TYPE for kind in HEARS}
    exact = {subject.removesuffix(".*") for subject in DURABLES["sender"] if not subject.endswith(".*.*")}
    assert exact - heard <= {"warmup.planned"}  # of warm-up, which comes later
