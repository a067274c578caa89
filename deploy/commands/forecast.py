"""`coldstream explain`, `simulate`, `preflight`: what the API answers, from the database; must never change a row."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from deploy.commands.terminal import DONE, NO, carry_out, print_json, print_line, print_table, progress
from libs.planning.explain.answer import explain as explained
from libs.planning.explain.explanation import Explanation, GateAnswer
from libs.planning.explain.queries import Question, read_case
from libs.planning.preflight.check import preflight as checked
from libs.planning.preflight.findings import Plan, Report
from libs.planning.preflight.queries import read_plan, read_readers
from libs.planning.preflight.trial import MAX_LEADS
from libs.planning.simulate.outlook import outlook
from libs.planning.simulate.queries import Asked, read_team_world
from libs.planning.simulate.run import simulate as simulated
from libs.planning.simulate.simulation import NotSimulatedError, Simulation
from libs.schema.ids import lead_key
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import Tx, close_pool, fetch_all, open_pool, transaction
from services.api.rules.instants import written_instant
from services.api.rules.reach import can_be_reached
from services.api.rules.text import Refused

WRONG_USE, HELD, NEVER = 2, 3, 4
EXIT_CODES = {"will_send": DONE, "waiting": HELD, "held": HELD, "never": NEVER, "done": NEVER, "not_enrolled": NEVER}
FIND_LEADS = """
SELECT ld.id, ld.team_id, t.slug
FROM leads AS ld
JOIN teams AS t ON t.id = ld.team_id
WHERE (ld.id::text = lower($1) OR ld.email = lower($1))
    AND ($2::uuid IS NULL OR ld.team_id = $2)
ORDER BY t.slug
"""
TEAM_OF_CAMPAIGN = """
SELECT team_id
FROM campaigns
WHERE id = $1
"""
T = TypeVar("T")


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    team_id: UUID
    slug: str


class PepperError(Exception):
    """COLDSTREAM_PEPPER is missing or is no key."""


def explain(database_url: str, lead: str, at: str | None, team_id: UUID | None, *, as_json: bool) -> int:
    """Prints why the lead is mailed, is not, or when; its exit code says it in a number."""
    try:
        instant = written_instant(at)
    except Refused as reason:
        progress.print(f"--at: {reason}; {reason.mend}", markup=False)
        return WRONG_USE

    async def work(tx: Tx, now: datetime) -> int:
        found = await fetch_all(tx, _Found, FIND_LEADS, lead.strip(), team_id)
        if len(found) != 1:
            teams = ", ".join(f"{one.team_id} ({one.slug})" for one in found)
            progress.print(f"several teams have this lead, name one with --team: {teams}" if found else "no such lead")
            return WRONG_USE if found else NO
        asked = Question(lead_id=found[0].id, at=instant or now, now=now, public_url="http://localhost")
        case = await read_case(tx, found[0].team_id, asked)
        if isinstance(case, str):
            progress.print(f"no such {case}")
            return NO
        said = explained(case)
        print_json(said) if as_json else _show_explanation(said)
        return EXIT_CODES[said.answer]

    return carry_out(_with_database(database_url, work))


def simulate(database_url: str, campaign_id: UUID, pepper: str | None, start_at: str | None, *, as_json: bool) -> int:
    """Prints the campaign's whole run; NO when it never ends within the bounds, or cannot be simulated."""
    try:
        instant, key = written_instant(start_at), _key(pepper)
    except (Refused, PepperError) as reason:
        progress.print(str(reason), markup=False)
        return WRONG_USE

    async def work(tx: Tx, now: datetime) -> int:
        team_id = await tx.fetchval(TEAM_OF_CAMPAIGN, campaign_id)
        asked = Asked(campaign_id=campaign_id, now=now, pepper=key, public_url="http://localhost")
        try:
            world = team_id and await read_team_world(tx, team_id, asked, instant)
        except NotSimulatedError as error:
            progress.print(str(error), markup=False)
            return NO
        if not world:
            progress.print("no such campaign")
            return NO
        said = outlook(simulated(world))
        print_json(said) if as_json else _show_simulation(said)
        return DONE if said.complete else NO

    return carry_out(_with_database(database_url, work))


def preflight(database_url: str, campaign_id: UUID, pepper: str | None, public_url: str, *, as_json: bool) -> int:
    """Prints everything that would go wrong with the campaign; NO when it may not be started."""
    try:
        key = _key(pepper)
    except PepperError as error:
        progress.print(str(error), markup=False)
        return WRONG_USE

    async def work(tx: Tx, now: datetime) -> int:
        team_id = await tx.fetchval(TEAM_OF_CAMPAIGN, campaign_id)
        plan: Plan | None = team_id and await read_plan(tx, team_id, campaign_id, now)
        if plan is None:
            progress.print("no such campaign")
            return NO
        readers = [
            msgspec.structs.replace(reader, lead_key=lead_key(key, reader.email))
            for reader in await read_readers(tx, team_id, plan, MAX_LEADS)
        ]
        said = checked(plan, readers, can_unsubscribe=can_be_reached(public_url, ()))
        print_json(said) if as_json else _show_report(said)
        return DONE if said.ready else NO

    return carry_out(_with_database(database_url, work))


async def _with_database(database_url: str, work: Callable[[Tx, datetime], Awaitable[T]]) -> T:
    pool = await open_pool(database_url, application_name="coldstream-cli", max_size=1)
    try:
        clock = Clock()
        await clock.refresh(pool)
        async with transaction(pool) as tx:
            return await work(tx, clock.now())
    finally:
        await close_pool(pool)


def _key(pepper: str | None) -> bytes:
    try:
        key = base64.b64decode(pepper or "", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise PepperError(
            "COLDSTREAM_PEPPER must be the installation's pepper, 32 bytes in base64: people are known by it"
        )
    return key


def _show_explanation(said: Explanation) -> None:
    print_line(said.sentence)
    columns = ["gate", "verdict", "value", "limit", "clears at", "set by"]
    if said.gates:
        print_table(columns, [_row(gate) for gate in said.gates if gate.verdict != "not_asked"])
    if len(said.inboxes) > 1:
        closed = {one.inbox_id: next((g.gate for g in one.gates if g.verdict == "closed"), "") for one in said.inboxes}
        rows = [[one.email, _text(one.scheduled_at), closed[one.inbox_id]] for one in said.inboxes]
        print_table(["inbox", "would send at", "closed"], rows)
    for note in said.notes:
        progress.print(f"note: {note}", markup=False)


def _row(gate: GateAnswer) -> list[str]:
    set_by = f"{gate.set_by.type} {_text(gate.set_by.time)}" if gate.set_by else ""
    return [gate.gate, gate.verdict, gate.value or "", gate.limit or "", _text(gate.clears_at), set_by]


def _show_simulation(said: Simulation) -> None:
    ends = _text(said.finishes_at) or "never"
    print_line(f"{said.mails} mails to {said.leads} leads from {_text(said.start_at)}, the last at {ends}")
    steps = [[str(one.step_number), str(one.mails), _text(one.first_at), _text(one.last_at)] for one in said.steps]
    print_table(["step", "mails", "first", "last"], steps)
    days = [[str(one.day), str(one.inbox_id), str(one.mails), str(one.others)] for one in said.days]
    print_table(["day", "inbox", "mails", "of other campaigns"], days)
    for title, reasons in (("never mailed", said.never_mailed), ("not finished", said.not_finished)):
        if reasons:
            print_table([title, "value", "leads"], [[one.reason, one.value or "", str(one.leads)] for one in reasons])
    if not said.complete:
        progress.print(f"stopped before the end, by the bound on {said.stopped_by}")
    progress.print("assumed: " + "; ".join(said.assumptions))


def _show_report(said: Report) -> None:
    rows = [[one.severity, one.code, one.pointer or "", one.detail, one.mend] for one in said.findings]
    print_table(["severity", "code", "where", "what", "mend"], rows)
    state = "may be started" if said.ready else "may not be started as it is"
    progress.print(f"{said.leads_checked} of {said.leads} leads looked at: the campaign {state}")


def _text(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}" if at else ""
