"""A simulated run as an answer: when the campaign ends, what each inbox sends on which day, whom it never reaches."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from libs.planning.hours.windows import local_date
from libs.planning.simulate.run import Path, Run, keeps_out
from libs.planning.simulate.simulation import (
    ASSUMPTIONS,
    InboxLoad,
    Reason,
    SimulatedSend,
    Simulation,
    StepLoad,
    Unmailed,
)

FIRST_SENDS = 200
FIRST_LEADS = 100


def outlook(run: Run) -> Simulation:
    """What the run says about the campaign that it was made for."""
    world = run.world
    ours = [send for campaign_id, send in run.sends if campaign_id == world.campaign_id]
    paths = [path for path in run.paths if path.lead.campaign_id == world.campaign_id]
    unmailed = [*_outside(run, paths), *(_unmailed(path) for path in paths if not path.mails)]
    unfinished = [_unmailed(path) for path in paths if path.mails and path.over != "finished"]
    return Simulation(
        campaign_id=world.campaign_id,
        start_at=world.start_at,
        complete=run.stopped_by is None,
        stopped_by=run.stopped_by,
        first_at=ours[0].scheduled_at if ours else None,
        finishes_at=ours[-1].scheduled_at if ours else None,
        leads=len(paths) + len(unmailed) - sum(not path.mails for path in paths),
        mails=len(ours),
        steps=_steps(ours),
        days=_days(run),
        sends=ours[:FIRST_SENDS],
        never_mailed=_reasons(unmailed),
        never_mailed_leads=unmailed[:FIRST_LEADS],
        not_finished=_reasons(unfinished),
        assumptions=list(ASSUMPTIONS),
    )


def _steps(sends: Sequence[SimulatedSend]) -> list[StepLoad]:
    numbers = sorted({send.step_number for send in sends})
    by_step = {number: [send.scheduled_at for send in sends if send.step_number == number] for number in numbers}
    return [
        StepLoad(step_number=number, mails=len(times), first_at=times[0], last_at=times[-1])
        for number, times in by_step.items()
    ]


def _days(run: Run) -> list[InboxLoad]:
    """The days on which an inbox sends for the campaign, in the inbox's own zone."""
    zones = {box.id: box.send_window_timezone for box in run.world.boxes}
    ours: Counter[tuple[date, UUID]] = Counter()
    others: Counter[tuple[date, UUID]] = Counter()
    for campaign_id, send in run.sends:
        key = local_date(send.scheduled_at, zones[send.inbox_id]), send.inbox_id
        (ours if campaign_id == run.world.campaign_id else others)[key] += 1
    return [
        InboxLoad(inbox_id=inbox_id, day=day, mails=ours[day, inbox_id], others=others[day, inbox_id])
        for day, inbox_id in sorted(ours)
    ]


def _outside(run: Run, paths: Sequence[Path]) -> Iterable[Unmailed]:
    """The leads of the campaign's list that never entered it."""
    inside = {path.lead.lead_id for path in paths}
    elsewhere = {path.lead.lead_id for path in run.paths if path.lead.campaign_id != run.world.campaign_id}
    runner = next((one for one in run.world.runners if one.id == run.world.campaign_id), None)
    for one in run.world.newcomers:
        if runner is None or one.lead_list_id != runner.lead_list_id or one.lead.lead_id in inside:
            continue
        if runner.id not in one.enrolled_in:
            reason = keeps_out(one) or ("in_other_campaign" if one.lead.lead_id in elsewhere else "not_reached")
            value = one.lead.suppressed if reason == "suppressed" else one.status if reason == "left" else None
            yield Unmailed(lead_id=one.lead.lead_id, reason=reason, value=value)


def _unmailed(path: Path) -> Unmailed:
    """What keeps a lead at last: how its sequence ended, the gate that holds it, or the simulation's own end."""
    lead_id = path.lead.lead_id
    if path.over is not None:
        return Unmailed(lead_id=lead_id, reason=path.over, value=None)
    if path.hold is not None:
        return Unmailed(lead_id=lead_id, reason=path.hold.gate, value=path.hold.value)
    return Unmailed(lead_id=lead_id, reason="not_reached", value=None)


def _reasons(leads: Sequence[Unmailed]) -> list[Reason]:
    """How many leads each reason keeps, the most first."""
    counts = Counter((lead.reason, lead.value) for lead in leads)
    return [Reason(reason=reason, value=value, leads=many) for (reason, value), many in counts.most_common()]
