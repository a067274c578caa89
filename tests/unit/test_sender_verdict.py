"""What an SMTP answer means, gate by gate; tables from field.md 4.5, RFC 3463 and what providers really say."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.gates import Mailbox, Recipient, mailbox_hold, recipient_hold
from libs.planning.sequence import Step, Variant, step_at, variant_of
from services.sender.rules.lifecycle import LEAD_STATUSES, after_return, email_status
from services.sender.rules.verdict import (
    Accepted,
    Answer,
    Bounced,
    Deferred,
    Failed,
    NoAnswer,
    Phase,
    Unknown,
    Verdict,
    classify,
    judge,
    mask,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SEND = UUID(int=7)
BEFORE_THE_DOT: tuple[Phase, ...] = ("connect", "starttls", "auth", "mail", "rcpt", "data", "body")


def verdict_on(outcome: Answer | NoAnswer, *, attempt: int = 1, previous_code: int | None = None) -> Verdict:
    return judge(outcome, send_id=SEND, attempt=attempt, previous_code=previous_code, now=NOW)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5.1.1 <bob@lead.test>: Recipient address rejected: User unknown in virtual mailbox table", "hard"),
        ("5.1.1 The email account that you tried to reach does not exist.", "hard"),
        ("5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "hard"),
        ("5.4.1 Recipient address rejected: Access denied. AS(201806281)", "hard"),
        ("5.7.1 user unknown", "hard"),
        ("5.2.1 The email account that you tried to reach is disabled", "hard"),
        ("No such user here", "hard"),
        ("5.1.2 bad destination system", "hard"),
        ("5.1.1 Message blocked as spam", "blocked"),
        ("5.7.515 Access denied, sending domain does not meet the required authentication level", "blocked"),
        ("5.7.26 This mail has been blocked because the sender is unauthenticated", "blocked"),
        ("5.7.1 Our system has detected that this message is likely unsolicited mail", "blocked"),
        ("5.7.64 TenantAttribution; Relay Access Denied", "blocked"),
        ("5.4.5 Daily user sending limit exceeded", "blocked"),
        ("5.1.8 Access denied, bad outbound sender", "blocked"),
        ("Service refused: client host [192.0.2.1] blocked using zen", "blocked"),
        ("5.2.2 The email account that you tried to reach is over quota", "soft"),
        ("Mailbox full", "soft"),
        ("5.0.0", "soft"),
        ("Transaction failed", "soft"),
        ("5.3.4 Message too big for system", "message"),
        ("5.2.3 Message length exceeds administrative limit", "message"),
        ("5.6.0 content conversion failed", "message"),
        ("5.6.7 needs SMTPUTF8", "message"),
    ],
)
def test_a_permanent_refusal_is_charged_to_who_caused_it(text: str, kind: str) -> None:
    assert classify(text)[0] == kind


@pytest.mark.parametrize("code", [250, 251, 200, 299])
def test_any_2xx_after_the_dot_accepts(code: int) -> None:
    verdict = verdict_on(Answer(phase="dot", code=code, text="2.0.0 Ok: queued as 4F6B2C0042"))
    assert verdict == Accepted(code=code, status="2.0.0", queue_id="4F6B2C0042")


@given(st.sampled_from(BEFORE_THE_DOT), st.integers(1, 20), st.text(max_size=30))
def test_silence_before_the_dot_is_never_unknown(phase: Phase, attempt: int, reason: str) -> None:
    verdict = verdict_on(NoAnswer(phase=phase, reason=reason), attempt=attempt)
    assert isinstance(verdict, Deferred | Bounced)


@given(st.integers(1, 20), st.sampled_from(["reset", "timeout"]))
def test_silence_after_the_dot_is_always_unknown(attempt: int, reason: str) -> None:
    assert verdict_on(NoAnswer(phase="dot", reason=reason), attempt=attempt) == Unknown(reason=reason)


@pytest.mark.parametrize("code", [-1, 0, 100, 354, 600])
def test_a_garbled_answer_after_the_dot_is_unknown(code: int) -> None:
    assert isinstance(verdict_on(Answer(phase="dot", code=code, text="?")), Unknown)


@given(st.integers(1, 5), st.sampled_from([421, 450, 451, 452, 454]))
def test_a_temporary_refusal_waits_its_turn_and_never_less_than_a_greylist(attempt: int, code: int) -> None:
    verdict = verdict_on(Answer(phase="rcpt", code=code, text="4.7.1 Greylisted, come back"), attempt=attempt)
    assert isinstance(verdict, Deferred)
    minutes = (15, 60, 240, 720, 1440)[attempt - 1]
    assert timedelta(minutes=0.8 * minutes) <= verdict.until - NOW <= timedelta(minutes=1.2 * minutes)
    assert verdict.until - NOW >= timedelta(minutes=5)


def test_the_sixth_temporary_refusal_is_a_soft_bounce() -> None:
    verdict = verdict_on(Answer(phase="rcpt", code=452, text="4.2.2 mailbox full"), attempt=6)
    assert isinstance(verdict, Bounced)
    assert (verdict.kind, verdict.reason) == ("soft", "retries_exhausted")


def test_a_broken_line_of_our_own_never_bounces_a_lead() -> None:
    verdict = verdict_on(NoAnswer(phase="connect", reason="refused"), attempt=99)
    assert isinstance(verdict, Deferred)
    assert verdict.own


def test_a_block_is_tried_once_more_a_day_later_and_then_given_up() -> None:
    blocked = Answer(phase="rcpt", code=550, text="5.7.1 blocked")
    first, second = verdict_on(blocked), verdict_on(blocked, attempt=2, previous_code=550)
    assert isinstance(first, Deferred)
    assert first.until == NOW + timedelta(hours=24)
    assert isinstance(second, Bounced)
    assert second.kind == "blocked"


def test_a_refused_sender_never_charges_the_recipient() -> None:
    verdict = verdict_on(Answer(phase="mail", code=550, text="sender rejected"), previous_code=550)
    assert isinstance(verdict, Bounced)
    assert verdict.kind == "blocked"


def test_a_message_at_fault_fails_without_a_bounce() -> None:
    assert isinstance(verdict_on(Answer(phase="dot", code=552, text="5.3.4 too big")), Failed)


@given(st.emails(), st.emails())
def test_a_diagnostic_carries_no_address(one: str, other: str) -> None:
    text = mask(f"5.1.1 <{one}>: user unknown; original {other} rejected")
    assert text == "5.1.1 <address>: user unknown; original <address> rejected"


def test_a_diagnostic_is_one_line() -> None:
    assert mask("5.1.1 no\nsuch   user <bob@lead.test>") == "5.1.1 no such user <address>"


PERSON = Recipient(
    installation_paused=False,
    campaign_status="active",
    enrollment_state="active",
    archived=False,
    suppressed=None,
    stopped=None,
)
BOX = Mailbox(
    status="active", archived=False, circuit=None, circuit_retry_at=None, health_score=None, min_health_score=70
)


@pytest.mark.parametrize(
    ("changes", "gate", "effect"),
    [
        ({"installation_paused": True, "suppressed": "manual"}, "installation", "wait"),
        ({"campaign_status": "paused", "stopped": "replied"}, "campaign", "wait"),
        ({"campaign_status": "archived"}, "campaign", "stop"),
        ({"campaign_circuit_until": NOW, "stopped": "replied"}, "campaign", "wait"),
        ({"enrollment_state": "stopped"}, "lead", "stop"),
        ({"archived": True}, "lead", "stop"),
        ({"suppressed": "unsubscribe", "stopped": "replied"}, "suppression", "stop"),
        ({"stopped": "replied"}, "stop", "stop"),
    ],
)
def test_the_first_closed_gate_speaks(changes: dict[str, object], gate: str, effect: str) -> None:
    hold = recipient_hold(msgspec.structs.replace(PERSON, **changes))
    assert hold is not None
    assert (hold.gate, hold.effect) == (gate, effect)


def test_a_healthy_world_holds_nobody() -> None:
    assert recipient_hold(PERSON) is None
    assert mailbox_hold(BOX) is None


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({"status": "paused"}, "inbox"),
        ({"archived": True}, "inbox"),
        ({"circuit": "transport", "circuit_retry_at": NOW}, "circuit"),
        ({"health_score": 69}, "health"),
    ],
)
def test_an_inbox_in_trouble_holds_its_mail(changes: dict[str, object], gate: str) -> None:
    hold = mailbox_hold(msgspec.structs.replace(BOX, **changes))
    assert hold is not None
    assert hold.gate == gate


def test_every_end_of_a_send_shows_as_one_status() -> None:
    assert email_status("accepted") == "sent"
    assert email_status("accepted", delivered=True) == "delivered"
    assert email_status("accepted", delivered=True, bounced=True) == "bounced"
    assert email_status("rejected", bounced=True) == "bounced"
    assert email_status("rejected") == "failed"
    assert email_status("queued", bounced=True) == "queued"


def test_the_order_of_lead_statuses_is_the_contracts() -> None:
    assert LEAD_STATUSES.index("replied") < LEAD_STATUSES.index("bounced") < LEAD_STATUSES.index("spam_reported")


def test_a_variant_is_sticky_and_follows_the_weights() -> None:
    arms = (Variant(UUID(int=1), "a", "a", 75), Variant(UUID(int=2), "b", "b", 25))
    step = Step(step_id=SEND, step_number=1, subject="", body="", variants=arms)
    drawn = [variant_of(step, f"lead {n}".encode()) for n in range(1000)]
    assert drawn == [variant_of(step, f"lead {n}".encode()) for n in range(1000)]
    assert 700 < sum(arm is arms[0] for arm in drawn) < 800


def test_a_step_that_was_taken_out_is_stepped_over() -> None:
    steps = [Step(step_id=SEND, step_number=n, subject="", body="") for n in (1, 3)]
    assert step_at(steps, 2) is steps[1]
    assert step_at(steps, 4) is None


def test_a_sequence_goes_on_one_working_day_after_the_return() -> None:
    friday = date(2026, 3, 6)
    assert after_return(friday, NOW, "UTC", days=7) == datetime(2026, 3, 9, tzinfo=UTC)
    assert after_return(friday, NOW, "Asia/Tokyo", days=7) == datetime(2026, 3, 8, 15, tzinfo=UTC)
    assert after_return(date(2026, 3, 9), NOW, "America/New_York", days=7) == datetime(2026, 3, 10, 4, tzinfo=UTC)
    assert after_return(date(2025, 3, 6), NOW, "UTC", days=7) == NOW
    assert after_return(None, NOW, "UTC", days=3) == NOW + timedelta(days=3)
