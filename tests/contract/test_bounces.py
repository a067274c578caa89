"""Real reports from many mail systems (sisimai/set-of-emails, BSD): what is recognised, and how far hard is agreed on.

The messages lie beside the repository in the shared folder; where it is missing there is nothing to read.
"""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.replies.rules.inspection import Inspection, inspect

BOUNCES = Path(__file__).parents[2].parent / "shared" / "bounces"
# Measured floors of 168 messages and 161 reports; they only rise. Not recognised: a bounce that a person forwarded,
# and an opt-out by a mail program, which we call that. Not agreed: "user unknown" without a code or under a vague one,
# which field.md 4.5 calls hard.
RECOGNISED = 166
HARD_AGREED = 155
EXPECTED_KINDS = {"feedback": {"complaint"}, "vacation": {"auto_reply"}}

needs_bounces = pytest.mark.skipif(not BOUNCES.is_dir(), reason="no shared folder beside this repository")


def expected() -> dict[str, list[dict[str, Any]]]:
    return msgspec.json.decode((BOUNCES / "expected.json").read_bytes())


def inspected() -> dict[str, Inspection]:
    return {name: inspect((BOUNCES / f"{name}.eml").read_bytes()) for name in expected()}


@needs_bounces
def test_real_reports_are_recognised_as_what_they_are() -> None:
    found = inspected()
    right = [
        name
        for name, rows in expected().items()
        if found[name].kind in EXPECTED_KINDS.get(rows[0]["reason"], {"bounce"})
    ]
    assert len(right) >= RECOGNISED, sorted(set(found) - set(right))


@needs_bounces
def test_real_reports_agree_on_which_addresses_are_dead() -> None:
    found = inspected()
    wanted = {name: rows for name, rows in expected().items() if rows[0]["reason"] not in EXPECTED_KINDS}
    agreed = [
        name
        for name, rows in wanted.items()
        if sorted(row["hard"] for row in rows) == sorted(each.hard for each in found[name].recipients)
    ]
    assert len(agreed) >= HARD_AGREED, sorted(set(wanted) - set(agreed))


@needs_bounces
def test_no_report_takes_long() -> None:
    raws = [path.read_bytes() for path in sorted(BOUNCES.glob("*.eml"))]
    started = time.process_time()
    for raw in raws:
        inspect(raw)
    assert (time.process_time() - started) / len(raws) < 0.05
