"""Every event type ever written can be read: the golden files hold its bytes, and are only ever added to.

A new type or a new version gets its file by `python -m tests.contract.test_events`, which touches no existing one.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from libs.schema.events import REGISTRY, Event, NewerEventError, UnknownEventError, open_envelope, open_event, seal
from libs.schema.events.base import UPCASTS, Envelope, register

GOLDEN: Final = Path(__file__).parent / "golden"
AT: Final = datetime(2026, 3, 2, 9, 30, 15, 250000, tzinfo=UTC)
TEAM: Final = UUID("0195a6b0-0000-7000-8000-00000000beef")
TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CAUSE: Final = Envelope(
    specversion="1.0",
    id=UUID("0195a6b0-0000-7000-8000-0000000000c2"),
    source="/coldstream/api",
    type="lead.marked",
    subject="lead/1",
    time=AT,
    dataschema="lead.marked/v1",
    teamid=TEAM,
    correlationid=UUID("0195a6b0-0000-7000-8000-0000000000c1"),
    data=msgspec.Raw(b"{}"),
)
FILES: Final = sorted(GOLDEN.glob("*.json"))


def example(kind: type[Event]) -> Event:
    """An event with every field filled, each with a value of its own."""
    ids: Iterator[int] = iter(range(1, 100))
    return kind(
        **{field.name: _value(msgspec.inspect.type_info(field.type), ids) for field in msgspec.structs.fields(kind)}
    )


_VALUES: Final[dict[type[msgspec.inspect.Type], Callable[[int], Any]]] = {
    msgspec.inspect.UUIDType: lambda number: UUID(f"0195a6b0-0000-7000-8000-{number:012}"),
    msgspec.inspect.DateTimeType: lambda number: AT.replace(day=number % 28 + 1),
    msgspec.inspect.DateType: lambda number: date(2026, 3, number % 28 + 1),
    msgspec.inspect.StrType: lambda number: f"text {number}",
    msgspec.inspect.BoolType: lambda number: number % 2 == 0,
    msgspec.inspect.IntType: lambda number: number,
    msgspec.inspect.FloatType: lambda number: number / 4,
}


def _value(info: msgspec.inspect.Type, ids: Iterator[int]) -> Any:
    if isinstance(info, msgspec.inspect.LiteralType):
        return info.values[0]
    if isinstance(info, msgspec.inspect.ListType):
        return [_value(info.item_type, ids), _value(info.item_type, ids)]
    if isinstance(info, msgspec.inspect.DictType):
        return {_value(info.key_type, ids): _value(info.value_type, ids)}
    if isinstance(info, msgspec.inspect.UnionType):
        return _value(next(each for each in info.types if not isinstance(each, msgspec.inspect.NoneType)), ids)
    return _VALUES[type(info)](next(ids))


def golden_bytes(event: Event) -> bytes:
    """The event as it would lie in the journal."""
    event_id = UUID("0195a6b0-0000-7000-8000-0000000000c3")
    return seal(event, event_id=event_id, team_id=TEAM, time=AT, by="tests", cause=CAUSE, traceparent=TRACEPARENT)


def golden_file(kind: type[Event]) -> Path:
    return GOLDEN / f"{kind.TYPE}.v{kind.VERSION}.json"


def write_missing() -> list[str]:
    """Writes a golden file for each type and version that has none; returns their names."""
    missing = [kind for kind in REGISTRY.values() if not golden_file(kind).exists()]
    for kind in missing:
        golden_file(kind).write_bytes(golden_bytes(example(kind)) + b"\n")
    return [golden_file(kind).name for kind in missing]


def test_every_type_has_a_golden_file_of_its_version_and_every_file_a_type() -> None:
    assert {golden_file(kind) for kind in REGISTRY.values()} <= set(FILES)
    assert {file.stem.rpartition(".v")[0] for file in FILES} == set(REGISTRY)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_file_is_read_with_every_field_it_has(file: Path) -> None:
    envelope = open_envelope(file.read_bytes())
    event = open_event(envelope)
    assert f"{envelope.type}.v{envelope.version}" == file.stem
    assert (envelope.source, envelope.teamid, envelope.time) == ("/coldstream/tests", TEAM, AT)
    assert (envelope.correlationid, envelope.causationid) == (CAUSE.correlationid, CAUSE.id)
    assert envelope.traceparent == TRACEPARENT
    assert envelope.subject == event.subject()
    if envelope.version == type(event).VERSION:
        written, read = msgspec.json.decode(envelope.data), msgspec.to_builtins(event)
        assert {name: read[name] for name in written} == written
        assert {name: read[name] for name in read.keys() - written} == _added(type(event), written)


@pytest.mark.parametrize("kind", REGISTRY.values(), ids=lambda kind: kind.TYPE)
def test_a_type_is_written_as_its_golden_file_says(kind: type[Event]) -> None:
    golden = golden_file(kind).read_bytes().removesuffix(b"\n")
    envelope = msgspec.json.decode(golden_bytes(open_event(open_envelope(golden))))
    for name in _added(kind, msgspec.json.decode(golden)["data"]):
        del envelope["data"][name]
    assert msgspec.json.encode(envelope) == golden


def _added(kind: type[Event], written: Mapping[str, Any]) -> dict[str, Any]:
    """The optional fields that have come since, with their defaults: the one change that needs no new version."""
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in written and not field.required]
    return {field.name: msgspec.to_builtins(field.default) for field in fields}


def test_no_event_has_a_field_for_personal_data() -> None:
    named = {field.name for kind in REGISTRY.values() for field in msgspec.structs.fields(kind)}
    forbidden = {
        "email",
        "address",
        "first_name",
        "last_name",
        "name",
        "phone",
        "subject",
        "body",
        "url",
        "ip",
        "password",
    }
    assert named & forbidden == set()


def test_an_unknown_type_and_a_newer_version_are_told_apart() -> None:
    envelope = open_envelope(golden_bytes(example(REGISTRY["email.sent"])))
    with pytest.raises(UnknownEventError):
        open_event(msgspec.structs.replace(envelope, type="email.abducted"))
    with pytest.raises(NewerEventError):
        open_event(msgspec.structs.replace(envelope, dataschema="email.sent/v2"))


def test_an_older_version_climbs_the_upcast_steps() -> None:
    class Renamed(Event, frozen=True, kw_only=True):
        TYPE = "probe.renamed"
        VERSION = 3
        AGGREGATE = "probe"

        probe_id: UUID
        reason: str
        count: int

    register(Renamed)
    UPCASTS["probe.renamed", 1] = lambda data: {"probe_id": data["probe_id"], "reason": data["why"]}
    UPCASTS["probe.renamed", 2] = lambda data: data | {"count": 1}
    try:
        envelope = open_envelope(golden_bytes(example(REGISTRY["email.sent"])))
        data = msgspec.Raw(msgspec.json.encode({"probe_id": TEAM, "why": "because"}))
        first = msgspec.structs.replace(envelope, type="probe.renamed", dataschema="probe.renamed/v1", data=data)
        assert open_event(first) == Renamed(probe_id=TEAM, reason="because", count=1)
    finally:
        del REGISTRY["probe.renamed"], UPCASTS["probe.renamed", 1], UPCASTS["probe.renamed", 2]


@pytest.mark.parametrize("name", ["sent", "email.", "Email.sent.now", "email sent.x"])
def test_a_type_that_is_not_two_words_is_not_registered(name: str) -> None:
    kind = type("Wrong", (Event,), {"TYPE": name}, frozen=True, kw_only=True)
    with pytest.raises(ValueError, match="not of the form"):
        register(kind)


def test_a_type_is_registered_once() -> None:
    with pytest.raises(ValueError, match="doubled"):
        register(REGISTRY["email.sent"])


if __name__ == "__main__":
    sys.stdout.write("".join(f"written: {name}\n" for name in write_missing()))
