"""A dict as the whole internet: the checks of a domain's records ask it."""

from collections.abc import Mapping, Sequence

from services.api.rules.records.found import Check, Found

Zone = Mapping[str, Sequence[str]]  # by "TXT name", "MX name", "A name"
_KINDS = {"texts": "TXT", "exchangers": "MX", "addresses": "A"}


def run(check: Check, zone: Zone) -> tuple[Found, int]:
    """What the check finds in the zone, and how many questions it took."""
    asked = 0
    try:
        question = next(check)
        while True:
            asked += 1
            question = check.send(list(zone.get(f"{_KINDS[question.kind]} {question.name}", ())))
    except StopIteration as end:
        return end.value, asked
