"""Up to 1,000 leads in one request, with a verdict for each row: one bad row loses nothing else.

Five statements whatever the number of rows: who is suppressed, who is written, where their mail is, who was left as he
was, what is told.
"""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from libs.planning.limits.domains import domain_of
from libs.schema.events.lead import LeadImported
from libs.schema.ids import lead_key
from libs.schema.runtime.outbox import record
from services.api.bodies.leads import LeadBatch, LeadIn
from services.api.problems import not_found
from services.api.queries import leads, recipients, suppressions
from services.api.responses import answer, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.verdicts import BatchResult, RowFault, RowResult

router = APIRouter(prefix="/v1", tags=["leads"], route_class=ScopedRoute, responses=problems())

# What to do about pydantic's own findings; our rules bring their own advice.
_MENDS = {
    "missing": "add the field",
    "extra_forbidden": "remove it, or put it into custom_fields",
    "string_type": "send a text",
    "string_too_long": "shorten it",
    "dict_type": "send an object",
    "model_type": "send an object with at least an email",
    "literal_error": "use one of the named values",
}


@router.post("/leads:batch", responses=shows(BatchResult), openapi_extra=needs("leads:write"))
async def import_leads(body: LeadBatch, at: Here) -> Response:
    """Adds leads, or completes those whose address is known; suppressed people and repeated rows are skipped."""
    if body.lead_list_id is not None and await leads.get_lead_list(at.tx, at.team_id, body.lead_list_id) is None:
        raise not_found("lead list", pointer="/lead_list_id")
    results, wanted = sort_rows(body.leads)
    for index, row in (await _take_suppressed(at, wanted)).items():
        results[index] = RowResult(index=index, outcome="skipped", reason="suppressed")
        del wanted[row.email]
    results |= await _write(at, body, wanted)
    return answer(_summary([results[index] for index in range(len(body.leads))]))


def sort_rows(rows: list[Any]) -> tuple[dict[int, RowResult], dict[str, tuple[int, LeadIn]]]:
    """The verdicts on rows that cannot be written, by index; and the others, by their address, each address once."""
    results: dict[int, RowResult] = {}
    wanted: dict[str, tuple[int, LeadIn]] = {}
    for index, value in enumerate(rows):
        try:
            row = LeadIn.model_validate(value)
        except ValidationError as error:
            faults = [_fault(found) for found in error.errors(include_url=False)]
            results[index] = RowResult(index=index, outcome="rejected", errors=faults)
            continue
        if row.email in wanted:
            results[index] = RowResult(index=index, outcome="skipped", reason="duplicate_in_batch")
        else:
            wanted[row.email] = (index, row)
    return results, wanted


def _fault(found: Any) -> RowFault:
    code = str(found["type"])
    return RowFault(
        field=".".join(str(part) for part in found["loc"]),
        code=code,
        detail=str(found["msg"]),
        mend=found.get("ctx", {}).get("mend") or _MENDS.get(code),
    )


async def _take_suppressed(at: Scope, wanted: dict[str, tuple[int, LeadIn]]) -> dict[int, LeadIn]:
    """The rows that nobody may mail, by index: their address, their domain or their person is suppressed."""
    keys = {address: lead_key(at.runtime.settings.pepper, address) for address in wanted}
    domains = {address.rpartition("@")[2] for address in wanted}
    found = await suppressions.find_suppressed(at.tx, at.team_id, [*wanted, *domains], list(keys.values()))
    values = {row.email for row in found}
    people = {row.value_hash for row in found}
    return {
        index: row
        for address, (index, row) in wanted.items()
        if address in values or address.rpartition("@")[2] in values or keys[address] in people
    }


async def _write(at: Scope, body: LeadBatch, wanted: dict[str, tuple[int, LeadIn]]) -> dict[int, RowResult]:
    fresh = {address: at.runtime.new_id() for address in wanted}
    rows = [row.model_dump() | {"id": fresh[address]} for address, (_, row) in wanted.items()]
    written = await leads.upsert_leads(
        at.tx, at.team_id, body.lead_list_id, rows, at.now, update=body.on_existing == "update"
    )
    await recipients.add_domains(at.tx, (domain_of(address) for address in wanted))
    known = await leads.find_lead_ids(at.tx, at.team_id, [address for address in wanted if address not in written])
    # Completed leads too: a new value may fill the gap that held an email back.
    events = [LeadImported(lead_id=lead_id, lead_list_id=body.lead_list_id) for lead_id in written.values()]
    await record(at.tx, at.team_id, *events, by="api", at=at.now)
    return {
        index: _outcome(index, fresh[address], written.get(address), known.get(address))
        for address, (index, _) in wanted.items()
    }


def _outcome(index: int, fresh: UUID, written: UUID | None, known: UUID | None) -> RowResult:
    if written is None:
        return RowResult(index=index, outcome="skipped", id=known, reason="duplicate")
    return RowResult(index=index, outcome="created" if written == fresh else "updated", id=written)


def _summary(results: list[RowResult]) -> BatchResult:
    outcomes = [result.outcome for result in results]
    return BatchResult(
        created=outcomes.count("created"),
        updated=outcomes.count("updated"),
        skipped=outcomes.count("skipped"),
        rejected=outcomes.count("rejected"),
        results=results,
    )
