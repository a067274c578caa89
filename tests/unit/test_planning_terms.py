"""What is told of settings: only what decides who is mailed when, in the same words for the same settings."""

from datetime import time

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.settings import campaign_rules
from libs.planning.terms import campaign_terms, difference, inbox_rules, inbox_terms, team_terms
from libs.schema.events.base import Settings
from tests.planning_case import BOX, id_of


def test_the_same_days_in_another_order_are_no_change() -> None:
    one, two = id_of("one"), id_of("two")
    before = campaign_terms({"send_days": ["mon", "tue", "fri"]}, None, [one, two])
    after = campaign_terms({"send_days": ["fri", "mon", "tue"]}, None, [two, one])
    assert difference(before, after).changed == []


def test_only_what_decides_about_mails_is_told_and_nonsense_as_its_default() -> None:
    terms = campaign_terms({"track_opens": True, "note": "ann@acme.test", "min_health_score": "high"}, None, [])
    assert not {"track_opens", "note"} & terms.keys()
    assert terms["min_health_score"] == 0
    team = team_terms({"timezone": None, "note": "ann@acme.test"}, 10, has_address=True)
    assert (team["timezone"], team["physical_address"], "note" in team) == ("UTC", True, False)


def test_a_new_list_and_the_length_of_absences_move_no_slot_and_all_else_does() -> None:
    terms = campaign_terms({}, None, []) | team_terms({}, 10, has_address=True) | inbox_terms(BOX)
    still = {name for name in terms if not difference(terms, terms | {name: "other"}).moves_slots}
    assert still == {"lead_list_id", "out_of_office_days"}
    assert difference(terms, terms).moves_slots is False


@given(start=st.times(), days=st.lists(st.sampled_from(["mon", "tue", "sun"]), unique=True))
def test_an_inboxs_settings_are_read_back_as_they_were_told(start: time, days: list[str]) -> None:
    box = msgspec.structs.replace(BOX, send_window_start=start, send_days=sorted(days))
    told = msgspec.json.decode(msgspec.json.encode(inbox_terms(box)), type=Settings)
    back = msgspec.structs.replace(BOX, **msgspec.structs.asdict(inbox_rules(told)))
    assert back == box


def test_a_campaigns_terms_are_rules_again() -> None:
    settings = {"send_days": ["sun"], "skip_dates": ["2026-03-05"], "holidays": "DE", "timezone": "Asia/Tokyo"}
    assert campaign_rules(campaign_terms(settings, None, [])) == campaign_rules(settings)
