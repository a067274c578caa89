"""A campaign's whole run on a virtual clock: the planner's own rounds, one after the other, until nothing more goes.

The clock stands still only where something happens: on the grid's instants at which somebody can be planned, and in
the seconds in which mails go. Never reads and never writes; the same world gives the same seconds, always.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Literal
from uuid import UUID, uuid5

import msgspec

from libs.planning.facts import DueLead
from libs.planning.gates import Hold, mailbox_hold
from libs.planning.preflight.findings import LEFT
from libs.planning.round import Moved, Ready, mailbox_of, plan_round
from libs.planning.schedule import BATCH, LATE, Slot, choose_batch, look_again_at, ready_from, round_of, went_at
from libs.planning.sequence import step_at
from libs.planning.settings import campaign_rules, team_rules
from libs.planning.simulate.ground import Ground
from libs.planning.simulate.simulation import MAX_DAYS, Newcomer, OpenSend, Runner, SimulatedSend, World
from libs.schema.ids import SEND_NAMESPACE

MAX_MAILS = 50_000
MAX_LOOKS = 250_000  # of the planner at a lead: some 50 µs each

Stopped = Literal["mails", "days", "looks", "leads"]


class Path(msgspec.Struct, kw_only=True):
    """A lead on its way through its sequence."""

    lead: DueLead
    mails: int = 0
    slot: Slot | None = None  # it has its second, and waits for it
    hold: Hold | None = None  # what keeps it, if a gate does
    over: str | None = None  # how its sequence ended


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A simulation that has been carried out: all mails of all campaigns, in the order in which they go."""

    world: World
    sends: Sequence[tuple[UUID, SimulatedSend]]  # with their campaigns
    paths: Sequence[Path]
    stopped_by: Stopped | None


def simulate(world: World, *, most_looks: int = MAX_LOOKS) -> Run:
    """Lets the world go on until the campaign is at its end, or a bound is reached; `most_looks` bounds its work."""
    clock = _Clock(world, most_looks)
    stopped_by = clock.run()
    return Run(
        world=world,
        sends=clock.sends,
        paths=list(clock.paths.values()),
        stopped_by=stopped_by or ("leads" if world.truncated else None),
    )


class _Clock:
    """The world as time passes: what happens next is the first of its events, and then whoever can be is planned."""

    def __init__(self, world: World, most_looks: int) -> None:
        self._most_looks = most_looks
        self.sends: list[tuple[UUID, SimulatedSend]] = []
        self.paths: dict[UUID, Path] = {}
        self._world = world
        self._ground = Ground(world)
        self._now = world.now
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = count()
        self._versions = {(one.campaign_id, one.version): one for one in world.versions}
        self._versions |= {(one.id, one.version.version): one.version for one in world.runners}
        self._running: set[UUID] = set()
        self._newcomers = {one.lead.lead_id: one for one in sorted(world.newcomers, key=lambda one: one.lead.lead_id)}
        self._entered: set[tuple[UUID, UUID]] = set()
        self._in_sequence: set[UUID] = {lead.lead_id for lead in world.leads}
        self._follow_ups: list[Path] = []
        self._new: list[Path] = []
        self._slots = self._looks = 0
        self._left = 0  # paths of the campaign that may still go on
        self._begin()

    def run(self) -> Stopped | None:
        """Carries everything out; what stopped it, if not the end."""
        last = self._world.start_at + MAX_DAYS
        while self._events:
            if self._events[0][0] > last:
                return "days"
            self._now = self._events[0][0]
            while self._events and self._events[0][0] == self._now:
                heappop(self._events)[2]()
            while batch := self._batch():
                if self._slots >= MAX_MAILS or self._looks >= self._most_looks:
                    return "mails" if self._slots >= MAX_MAILS else "looks"
                self._plan(batch)
            if self._is_over():
                return None
        return None

    def _begin(self) -> None:
        world = self._world
        waiting = {send.enrollment_id for send in world.sends}
        for lead in world.leads:
            path = self._set_out(self._released(lead), mails=int(lead.thread_subject is not None))
            if lead.enrollment_id not in waiting:
                self._wait(path, self._starts_at(lead.campaign_id))
        for send in world.sends:
            path = self.paths.get(send.enrollment_id) if send.enrollment_id else None
            self._expect(send, path)
        for runner in world.runners:
            self._at(self._starts_at(runner.id), partial(self._start, runner))

    def _released(self, lead: DueLead) -> DueLead:
        """A campaign that is resumed or was changed looks at all its held leads again, as the sender does."""
        resumed = lead.campaign_id == self._world.campaign_id and self._world.resumes
        if lead.held_gate == "out_of_office" or not (resumed or lead.campaign_id in self._world.released):
            return lead
        return msgspec.structs.replace(lead, held_until=None)

    def _set_out(self, lead: DueLead, *, mails: int = 0) -> Path:
        path = self.paths[lead.enrollment_id] = Path(lead=lead, mails=mails)
        self._left += lead.campaign_id == self._world.campaign_id
        return path

    def _starts_at(self, campaign_id: UUID) -> datetime:
        return self._world.start_at if campaign_id == self._world.campaign_id else self._world.now

    def _at(self, at: datetime, do: Callable[[], None]) -> None:
        heappush(self._events, (max(at, self._now), next(self._numbers), do))

    # -- campaigns and their leads ------------------------------------------------------------------------------------

    def _start(self, runner: Runner) -> None:
        """The campaign takes its leads, those of lower ids first, as the sender's pages do."""
        self._running.add(runner.id)
        for newcomer in self._newcomers.values():
            self._enter(runner, newcomer)

    def _enter(self, runner: Runner, newcomer: Newcomer) -> bool:
        first = step_at(runner.version.steps, 1)
        key = runner.id, newcomer.lead.lead_id
        if first is None or runner.lead_list_id != newcomer.lead_list_id or keeps_out(newcomer) is not None:
            return False
        if key[1] in self._in_sequence or runner.id in newcomer.enrolled_in or key in self._entered:
            return False
        self._entered.add(key)
        self._in_sequence.add(newcomer.lead.lead_id)
        lead = msgspec.structs.replace(
            newcomer.lead,
            enrollment_id=uuid5(SEND_NAMESPACE, f"simulated|{runner.id}|{newcomer.lead.lead_id}"),
            campaign_id=runner.id,
            sequence_version=runner.version.version,
            step_number=first.step_number,
            next_at=self._now + first.delay,
        )
        self._wait(self._set_out(lead), self._now)
        return True

    def _end(self, path: Path, reason: str) -> None:
        """The sequence is over, and the next campaign of the lead's list may take it."""
        path.over, path.slot = reason, None
        self._left -= path.lead.campaign_id == self._world.campaign_id
        self._in_sequence.discard(path.lead.lead_id)
        newcomer = self._newcomers.get(path.lead.lead_id)
        if newcomer is not None:
            any(self._enter(runner, newcomer) for runner in self._world.runners if runner.id in self._running)

    def _is_over(self) -> bool:
        """Whether the campaign has started, and nobody is on the way through it or to it."""
        ours = self._world.campaign_id
        if self._left or ours not in self._running:
            return False
        runner = next(one for one in self._world.runners if one.id == ours)
        hoping = {
            one.lead.lead_id
            for one in self._newcomers.values()
            if one.lead.lead_id in self._in_sequence
            and one.lead_list_id == runner.lead_list_id
            and ours not in one.enrolled_in
            and (ours, one.lead.lead_id) not in self._entered
        }
        return not any(path.lead.lead_id in hoping and not _rests(path) for path in self.paths.values())

    # -- mails --------------------------------------------------------------------------------------------------------

    def _expect(self, send: OpenSend, path: Path | None) -> None:
        """A mail that has its second, is under way, or whose end nobody knows, as the simulation begins."""
        if send.due_again_at is not None:  # the ground was read without its slot
            if path is not None:
                path.lead = msgspec.structs.replace(
                    path.lead, next_at=send.due_again_at, held_gate=None, held_until=None
                )
                self._wait(path, self._starts_at(path.lead.campaign_id))
            return
        if path is None:
            self._at(send.at + LATE, partial(self._ground.remove, send.inbox_id, send.at, None))
            return
        sent_at = went_at(send.committed_at or send.at, send.at)
        if send.state == "unknown":
            self._at(send.next_settle_at or self._now, partial(self._go_on, path, sent_at))
        elif send.state == "in_data":
            self._at(self._now, partial(self._go, path, send.inbox_id, sent_at))
        else:
            path.slot = Slot(enrollment_id=path.lead.enrollment_id, inbox_id=send.inbox_id, at=send.at)
            self._at(max(send.at, self._starts_at(path.lead.campaign_id)), partial(self._meet, path, path.slot))

    def _meet(self, path: Path, slot: Slot) -> None:
        """A slot of before the simulation has come: the gates are asked again, as the sender does."""
        lead, box = path.lead, self._ground.box(slot.inbox_id, self._now)
        rules = campaign_rules(self._versions[lead.campaign_id, lead.sequence_version].settings)
        ended = "archived" if lead.archived else (lead.suppressed and "suppressed") or lead.stopped
        hold = mailbox_hold(mailbox_of(box, rules.min_health_score)) if box else Hold(gate="inbox")
        if ended:
            self._ground.remove(slot.inbox_id, slot.at, lead.email)
            self._end(path, ended)
        elif slot.at <= self._now - LATE:
            self._miss(path, slot)
        elif hold is not None:
            again = min(hold.retry_at or slot.at + LATE, slot.at + LATE)
            self._at(again, partial(self._meet, path, slot))
        else:
            self._go(path, slot.inbox_id, went_at(self._now, slot.at))

    def _miss(self, path: Path, slot: Slot) -> None:
        """The slot has passed by too much: another one is wanted."""
        self._ground.remove(slot.inbox_id, slot.at, path.lead.email)
        path.slot = None
        path.lead = msgspec.structs.replace(path.lead, next_at=max(slot.at, self._now), held_gate=None, held_until=None)
        self._wait(path, self._now)

    def _go(self, path: Path, inbox_id: UUID, at: datetime) -> None:
        """The mail goes."""
        lead = path.lead
        send = SimulatedSend(lead_id=lead.lead_id, step_number=lead.step_number, inbox_id=inbox_id, scheduled_at=at)
        self.sends.append((lead.campaign_id, send))
        path.mails += 1
        self._go_on(path, at)

    def _go_on(self, path: Path, sent_at: datetime) -> None:
        lead = path.lead
        following = step_at(self._versions[lead.campaign_id, lead.sequence_version].steps, lead.step_number + 1)
        path.slot = None
        if following is None:
            self._end(path, "finished")
            return
        path.lead = msgspec.structs.replace(
            lead,
            step_number=following.step_number,
            next_at=sent_at + following.delay,
            thread_subject=lead.thread_subject or "the thread",
            held_gate=None,
            held_until=None,
            opened=False,
            clicked=False,
        )
        self._wait(path, self._now)

    # -- planning -----------------------------------------------------------------------------------------------------

    def _wait(self, path: Path, since: datetime) -> None:
        """The lead wants a slot as soon as a round looks at it."""
        lead = path.lead
        at = ready_from(lead.next_at, lead.held_gate, lead.held_until, max(since, self._now))
        self._at(at, partial(self._be_ready, path))

    def _be_ready(self, path: Path) -> None:
        insort(self._follow_ups if path.lead.step_number > 1 else self._new, path, key=_longest_due)

    def _batch(self) -> list[Path]:
        """The leads of the next round, as the sender chooses them."""
        share = team_rules(self._world.team.settings).follow_up_share
        chosen = choose_batch(self._follow_ups[:BATCH], self._new[:BATCH], share, BATCH)
        follow_ups = sum(path.lead.step_number > 1 for path in chosen)
        del self._follow_ups[:follow_ups]
        del self._new[: len(chosen) - follow_ups]
        return chosen

    def _plan(self, batch: Sequence[Path]) -> None:
        self._looks += len(batch)
        leads = [
            msgspec.structs.replace(path.lead, contacted_at=self._ground.contacted_at(path.lead)) for path in batch
        ]
        decided = plan_round(leads, self._ground.sight(leads, self._now))
        for ready, slot in decided.slots:
            self._take(self.paths[slot.enrollment_id], ready, slot)
        for lead, hold in decided.holds:
            self._hold(self.paths[lead.enrollment_id], hold)
        for moved in decided.moves:
            self._move(self.paths[moved.lead.enrollment_id], moved)
        for ended in decided.ends:
            self._end(self.paths[ended.lead.enrollment_id], ended.reason or "finished")

    def _take(self, path: Path, ready: Ready, slot: Slot) -> None:
        self._slots += 1
        self._ground.add(path.lead, slot.inbox_id, slot.at)
        path.slot, path.hold = slot, None
        path.lead = msgspec.structs.replace(
            path.lead,
            step_number=ready.step.step_number,
            inbox_id=slot.inbox_id,
            thread_subject=ready.subject,
            held_gate=None,
            held_until=None,
        )
        self._at(slot.at, partial(self._go, path, slot.inbox_id, slot.at))

    def _hold(self, path: Path, hold: Hold) -> None:
        path.hold = hold
        until = look_again_at(hold, round_of(self._now))
        path.lead = msgspec.structs.replace(path.lead, held_gate=hold.gate, held_until=until)
        if hold.retry_at is not None:
            self._wait(path, self._now)
        else:  # a person must act, and nobody does
            self._left -= path.lead.campaign_id == self._world.campaign_id

    def _move(self, path: Path, moved: Moved) -> None:
        path.lead = msgspec.structs.replace(
            path.lead, step_number=moved.step_number, next_at=moved.next_at, held_gate=None, held_until=None
        )
        self._wait(path, self._now)


def keeps_out(newcomer: Newcomer) -> str | None:
    """Why no campaign ever takes the lead; None when one may."""
    if newcomer.lead.suppressed is not None:
        return "suppressed"
    if newcomer.status in LEFT:
        return "left"
    return "in_other_campaign" if newcomer.held_elsewhere else None


def _rests(path: Path) -> bool:
    """Whether nothing more happens on this path by itself."""
    return path.over is not None or (path.slot is None and path.hold is not None and path.hold.retry_at is None)


def _longest_due(path: Path) -> tuple[datetime, bytes, UUID]:
    return path.lead.next_at, path.lead.lead_key, path.lead.enrollment_id
