"""Explain over plain facts, one case at a time: each closed gate, each reason, and how it was before."""

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

import msgspec
import pytest

from libs.planning.explain.answer import explain
from libs.planning.explain.case import Case, Offer, Stop, Told
from libs.planning.explain.explanation import GATES, INBOX_GATES, Explanation, GateAnswer
from libs.planning.explain.past import applying, put_back, settings_then
from libs.planning.explain.sayings import Finding, sentence_of
from libs.planning.settings import campaign_rules, team_rules
from libs.planning.terms import campaign_terms, inbox_terms, team_terms
from libs.schema.events.base import Event, Settings
from libs.schema.events.campaign import CampaignChanged, CampaignCircuitOpened, CampaignPaused, CampaignResumed
from libs.schema.events.email import EmailQueued, EmailSent
from libs.schema.events.inbox import InboxHealthChanged, InboxPaused
from tests.planning_case import BOX, DAY, HOUR, MEMBER, MINUTE, MONDAY, SEND, STEPS, a_case, id_of


def gate(said: Explanation, name: str) -> GateAnswer:
    return next(each for each in said.gates if each.gate == name)


def test_all_gates_are_told_in_their_order() -> None:
    said = explain(a_case())
    assert [each.gate for each in said.gates] == list(GATES)
    assert [each.gate for each in said.inboxes[0].gates] == list(INBOX_GATES)
    assert (said.answer, said.scheduled_at) == ("will_send", MONDAY)
    assert all(each.verdict != "closed" for each in said.gates)


@pytest.mark.parametrize(
    ("changes", "answer", "reason", "until"),
    [
        ({"person": {"paused": True}}, "held", "installation", None),
        ({"member": {"campaign_status": "paused"}}, "held", "campaign", None),
        (
            {"member": {"campaign_status": "scheduled", "scheduled_start_at": MONDAY + DAY}},
            "waiting",
            "campaign",
            MONDAY + DAY,
        ),
        ({"member": {"campaign_status": "archived"}}, "never", "campaign", None),
        ({"version": {"circuit_until": MONDAY + HOUR}}, "waiting", "campaign", MONDAY + HOUR),
        ({"lead": {"archived": True}}, "never", "lead", None),
        ({"lead": {"suppressed": "manual"}}, "never", "suppression", None),
        ({"lead": {"stopped": "replied"}}, "never", "stop", None),
        ({"box": {"status": "paused"}}, "held", "inbox", None),
        ({"box": {"campaign_ids": []}}, "held", "inbox", None),
        (
            {"box": {"circuit": "transport", "circuit_retry_at": MONDAY + HOUR}},
            "waiting",
            "circuit",
            MONDAY + HOUR,
        ),
        ({"box": {"health_score": 60}}, "held", "health", None),
        ({"box": {"send_days": ["sun"]}}, "held", "window", None),
        ({"lead": {"next_at": MONDAY + 3 * DAY}}, "waiting", "due", MONDAY + 3 * DAY),
        ({"lead": {"first_name": None}}, "held", "variable", None),
        ({"team": {"physical_address": None}}, "held", "physical_address", None),
        ({"lead": {"step_number": 3}}, "done", "finished", None),
        ({"member": {"state": "finished"}}, "done", "finished", None),
        ({"member": {"state": "stopped", "ended_reason": "replied"}}, "never", "replied", None),
    ],
)
def test_each_closed_gate_is_the_answer(
    changes: dict[str, Any], answer: str, reason: str, until: datetime | None
) -> None:
    said = explain(a_case(**changes))
    assert (said.answer, said.reason, said.until) == (answer, reason, until)
    assert said.sentence.endswith(".")
    assert "None" not in said.sentence


def test_a_full_day_is_told_with_its_numbers_and_clears_at_the_next_windows_opening() -> None:
    busy = [MONDAY + n * HOUR for n in range(3)]
    said = explain(a_case(box={"busy": busy}, now=MONDAY + 4 * HOUR, lead={"next_at": MONDAY}))
    (inbox,) = said.inboxes
    daily = next(each for each in inbox.gates if each.gate == "daily_limit")
    assert (daily.verdict, daily.value, daily.limit) == ("closed", "3", "3")
    assert said.scheduled_at == MONDAY + DAY


def test_a_mail_with_its_second_is_not_kept_by_the_limits_that_count_itself() -> None:
    case = a_case(
        sends=[SEND],
        box={"busy": [SEND.not_before], "daily_send_limit": 1},
        team={"days": [MONDAY.date()], "counts": [1]},
    )
    said = explain(case)
    assert (said.answer, said.scheduled_at, said.inbox_id) == ("will_send", SEND.not_before, BOX.id)
    assert gate(said, "daily_limit").verdict == "open"
    assert gate(said, "gap").verdict == "open"


@pytest.mark.parametrize(
    ("changes", "answer", "reason"),
    [
        ({"member": {"campaign_status": "paused"}}, "held", "campaign"),
        ({"box": {"status": "paused"}}, "held", "inbox"),
        ({"lead": {"stopped": "replied"}}, "never", "stop"),
    ],
)
def test_a_mail_with_its_second_is_asked_again(changes: dict[str, Any], answer: str, reason: str) -> None:
    said = explain(a_case(sends=[SEND], **changes))
    assert (said.answer, said.reason) == (answer, reason)


def test_a_mail_under_way_goes_whatever_has_closed_since() -> None:
    send = msgspec.structs.replace(SEND, state="in_data", committed_at=MONDAY)
    assert explain(a_case(sends=[send], box={"status": "paused"})).answer == "will_send"


def test_the_stop_that_applies_is_named_by_its_event() -> None:
    told = Told(
        id=id_of("event"),
        type="lead.marked",
        subject="lead/x",
        time=MONDAY,
        event=CampaignPaused(campaign_id=id_of("c")),
    )
    case = a_case(lead={"stopped": "marked"}, stops=[Stop(reason="marked", event_id=told.id, at=MONDAY)], events=[told])
    set_by = explain(case).set_by
    assert set_by is not None
    assert set_by.id == told.id


OFFER = Offer(
    id=id_of("campaign"),
    name="Spring",
    status="active",
    lead_list_id=id_of("list"),
    scheduled_start_at=None,
    steps=STEPS,
)


@pytest.mark.parametrize(
    ("offer", "person", "reason"),
    [
        (OFFER, {}, "next_round"),
        (None, {}, "no_campaign"),
        (msgspec.structs.replace(OFFER, status="draft"), {}, "campaign"),
        (msgspec.structs.replace(OFFER, lead_list_id=None), {}, "not_in_list"),
        (msgspec.structs.replace(OFFER, steps=[]), {}, "no_steps"),
        (OFFER, {"status": "unsubscribed"}, "left"),
        (OFFER, {"archived_at": MONDAY}, "archived"),
    ],
)
def test_who_is_in_no_sequence_is_told_the_first_reason(
    offer: Offer | None, person: dict[str, Any], reason: str
) -> None:
    case = msgspec.structs.replace(a_case(person=person), chosen=None, memberships=[], lead=None, sight=None)
    said = explain(msgspec.structs.replace(case, offer=offer))
    assert (said.answer, said.reason, said.gates) == ("not_enrolled", reason, [])


@pytest.mark.parametrize("name", [name for name in GATES if name != "lead"])
def test_every_gate_has_words_of_its_own(name: str) -> None:
    finding = Finding(
        answer="held",
        reason=name,
        value="7",
        limit="9",
        until=None,
        scheduled_at=None,
        inbox=None,
        step_number=1,
        campaign="Spring",
    )
    assert "it ended" not in sentence_of(finding, "UTC")


# -- the past ---------------------------------------------------------------------------------------------------------


def told_at(minutes: int, event: Any) -> Told:
    return Told(
        id=id_of(f"{event.TYPE} {minutes}"),
        type=event.TYPE,
        subject=event.subject(),
        time=MONDAY + minutes * MINUTE,
        event=event,
    )


def a_change(now: int, was: int) -> CampaignChanged:
    settings: Settings = {"min_health_score": now, "timezone": "UTC"}
    changed = ["min_health_score"]
    return CampaignChanged(
        campaign_id=MEMBER.campaign_id, changed=changed, settings=settings, was={"min_health_score": was}
    )


EVENTS = [
    told_at(1, EmailQueued(email_id=SEND.send_id, inbox_id=BOX.id, scheduled_at=SEND.slot_at)),
    told_at(10, CampaignPaused(campaign_id=id_of("campaign"))),
    told_at(20, CampaignResumed(campaign_id=id_of("campaign"))),
    told_at(30, InboxPaused(inbox_id=BOX.id, reason="by hand")),
    told_at(40, InboxHealthChanged(inbox_id=BOX.id, health_score=40, previous=None)),
    told_at(
        50,
        CampaignCircuitOpened(
            campaign_id=id_of("campaign"),
            kind="reputation",
            state="open",
            failures=4,
            sends=20,
            limit=4,
            retry_at=MONDAY + DAY,
            reason="bounces",
        ),
    ),
    told_at(
        60,
        EmailSent(
            email_id=SEND.send_id,
            inbox_id=BOX.id,
            sent_on=MONDAY.date(),
            inbox_sent_on=MONDAY.date(),
            attempt=1,
            resolved_by="smtp",
            scheduled_at=SEND.slot_at,
        ),
    ),
]


def at_minute(minute: int, told: Mapping[str, Settings] | None = None) -> Case:
    at = MONDAY + minute * MINUTE
    gone = msgspec.structs.replace(SEND, state="accepted", committed_at=MONDAY + 60 * MINUTE)
    case = a_case(
        now=MONDAY + 5 * DAY,
        at=at,
        sends=[gone],
        member={"step_number": 2, "next_at": MONDAY + 2 * DAY + HOUR, "inbox_id": BOX.id},
        events=[told for told in EVENTS if told.time <= at],
    )
    return put_back(case, {}, told or {})


@pytest.mark.parametrize(
    ("minute", "answer", "reason"),
    [
        (0, "will_send", None),
        (5, "will_send", None),
        (15, "held", "campaign"),
        (25, "will_send", None),
        (35, "held", "inbox"),
        (55, "waiting", "campaign"),
        (65, "waiting", "campaign"),
    ],
)
def test_an_earlier_instant_is_judged_by_what_had_been_told_until_then(
    minute: int, answer: str, reason: str | None
) -> None:
    said = explain(at_minute(minute))
    assert (said.answer, said.reason) == (answer, reason)


def test_the_step_of_an_earlier_instant_is_the_one_that_was_next() -> None:
    assert [explain(at_minute(minute)).step_number for minute in (5, 65)] == [1, 2]


def test_a_score_of_an_earlier_instant_is_the_one_of_then() -> None:
    case = at_minute(45)
    assert case.sight is not None
    assert case.sight.boxes[BOX.id].health_score == 40


def test_what_was_set_then_is_what_an_earlier_instant_is_judged_by() -> None:
    campaign = campaign_terms({"timezone": "UTC", "send_days": ["sun"]}, id_of("list"), [id_of("other")])
    inbox = inbox_terms(msgspec.structs.replace(BOX, daily_send_limit=77, send_window_start=time(4, 30)))
    team = team_terms({"timezone": "Asia/Tokyo", "contact_gap_hours": 5}, 42, has_address=False)
    told = {f"campaign/{MEMBER.campaign_id}": campaign, f"inbox/{BOX.id}": inbox, f"team/{id_of('team')}": team}
    case = at_minute(5, told)
    assert case.sight is not None
    box, version = case.sight.boxes[BOX.id], case.sight.versions[MEMBER.campaign_id, 1]
    assert (box.daily_send_limit, box.send_window_start, box.campaign_ids) == (77, time(4, 30), [])
    assert campaign_rules(version.settings).send_days == {"sun"}
    then = case.sight.team
    assert (then.zone, then.daily_limit, then.physical_address) == ("Asia/Tokyo", 42, None)
    assert team_rules(then.settings).contact_gap_hours == 5


def test_what_is_not_known_of_an_earlier_instant_is_named_and_nothing_else() -> None:
    always = {"lead_fields", "kill_switch", "lifted_suppressions", "given_up_slots"}
    said = explain(at_minute(5))
    settings = {"campaign_settings", "team_settings", "inbox_settings"}
    assert set(said.assumes) == always | settings | {"campaign_status", "inbox_status", "steps"}
    assert "as they are now: the campaign's settings" in said.notes[0]
    assert said.notes[1].startswith("not counted: suppressions that were lifted since")
    terms = campaign_terms({}, None, [BOX.id])
    known = explain(at_minute(37, {f"campaign/{MEMBER.campaign_id}": terms, f"inbox/{BOX.id}": inbox_terms(BOX)}))
    assert set(known.assumes) == always | {"team_settings", "steps"}
    assert explain(a_case()).assumes == []


@pytest.mark.parametrize(
    ("last", "following", "known"),
    [
        (None, None, None),
        (a_change(now=2, was=1), None, 2),
        (a_change(now=2, was=1), a_change(now=3, was=2), 2),
        (None, a_change(now=2, was=1), 1),
        (CampaignChanged(campaign_id=MEMBER.campaign_id), None, None),  # of a release that did not say
        (CampaignChanged(campaign_id=MEMBER.campaign_id), a_change(now=2, was=1), 1),
        (None, CampaignChanged(campaign_id=MEMBER.campaign_id), None),
    ],
)
def test_what_stood_between_two_changes_is_what_the_one_left_or_the_other_found(
    last: Event | None, following: Event | None, known: int | None
) -> None:
    then = settings_then(last, following)
    assert then == (None if known is None else {"min_health_score": known, "timezone": "UTC"})


def test_a_reply_stops_a_past_sequence_only_where_replies_did_so() -> None:
    stops = [Stop(reason=reason, event_id=id_of(reason), at=MONDAY) for reason in ("replied", "soft_bounce", "marked")]
    kept = applying(stops, {"stop_on_reply": False, "stop_on_bounce": True})
    assert [stop.reason for stop in kept] == ["soft_bounce", "marked"]
    assert applying(stops, {}) == stops


def test_a_mail_whose_settings_have_changed_is_planned_as_though_it_had_no_slot() -> None:
    void = msgspec.structs.replace(SEND, is_void=True, due_at=MONDAY)
    said = explain(a_case(sends=[void]))
    assert (said.answer, said.scheduled_at) == ("will_send", MONDAY)
    assert "not given yet" in said.notes[0]
