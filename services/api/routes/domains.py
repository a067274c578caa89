"""Sending domains: added, shown with what their DNS says and lacks, looked at again; and their DKIM keys.

The private half of a key is never shown, and no request waits for a name server.
"""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.schema.secrets import seal_secret
from services.api.bodies.domains import DkimIn, DomainIn, DomainPatch
from services.api.commands import audit
from services.api.dkim import make_key, read_key
from services.api.listing import id_in, page
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Problem, not_found, refused
from services.api.queries import domains
from services.api.queries.domains import DomainRow
from services.api.resources import DnsRecord, Domain, DomainCheck, Page
from services.api.responses import answer, nothing, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.records.dkim import name_of
from services.api.rules.records.publish import dmarc_to_publish, spf_to_publish
from services.api.rules.text import Refused

router = APIRouter(prefix="/v1", tags=["domains"], route_class=ScopedRoute, responses=problems())

# Name servers are other people's: nobody has them asked about one domain more often than that.
BETWEEN_CHECKS = timedelta(minutes=1)


@router.get("/domains", responses=shows(Page[Domain]), openapi_extra=needs("inboxes:read"))
async def list_domains(at: Here, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Response:
    """The team's sending domains, newest first, with what their DNS says and lacks."""

    async def fetch(before: list[str] | None, count: int) -> list[Domain]:
        return [_shown(row) for row in await domains.list_domains(at.tx, at.team_id, id_in(before), count)]

    return answer(await page(at, "domains", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.post("/domains", status_code=201, responses=shows(Domain, 201), openapi_extra=needs("inboxes:write"))
async def add_domain(body: DomainIn, at: Here) -> Response:
    """Adds a sending domain, whose DNS is looked up soon; one that is there already is answered as it is."""
    domain_id = await domains.find_or_add_domain(
        at.tx, at.team_id, body.domain, at.runtime.new_id(), at.now, body.dkim_selector
    )
    return answer(await _domain(at, domain_id), 201, location=f"/v1/domains/{domain_id}")


@router.get("/domains/{domain_id}", responses=shows(Domain), openapi_extra=needs("inboxes:read"))
async def get_domain(domain_id: UUID, at: Here) -> Response:
    """One domain: the records found, what is wrong with them, and the exact record to add."""
    return answer(await _domain(at, domain_id))


@router.patch("/domains/{domain_id}", responses=shows(Domain), openapi_extra=needs("inboxes:write"))
async def update_domain(domain_id: UUID, body: DomainPatch, at: Here) -> Response:
    """Names the selector under which the domain's mail is signed elsewhere; null: the usual ones are tried."""
    changes = body.given()
    if "dkim_selector" in changes:
        selector = changes["dkim_selector"]
        if not await domains.set_selector(at.tx, at.team_id, domain_id, selector, at.now):
            await _domain(at, domain_id)
            raise Problem("wrong_state", "the domain has a DKIM key here, which has its own selector: set that anew")
        await audit(at, "dkim.selector", f"domain/{domain_id}", {"selector": selector})
    return answer(await _domain(at, domain_id))


@router.post(
    "/domains/{domain_id}/check", status_code=202, responses=shows(Domain, 202), openapi_extra=needs("inboxes:write")
)
async def check_domain(domain_id: UUID, at: Here) -> Response:
    """Has the domain's DNS looked up soon: `check_asked_at` says when it was. A second call changes nothing."""
    if not await domains.ask_for_check(at.tx, at.team_id, domain_id, at.now, BETWEEN_CHECKS):
        raise not_found("domain", parameter="domain_id")
    return answer(await _domain(at, domain_id), 202, location=f"/v1/domains/{domain_id}")


@router.put("/domains/{domain_id}/dkim", responses=shows(DnsRecord), openapi_extra=needs("inboxes:write"))
async def set_dkim(domain_id: UUID, body: DkimIn, at: Here) -> Response:
    """Has mail over the domain's own SMTP server signed; publish the record. A second call replaces the key."""
    if body.private_key is None:
        key = await make_key(body.algorithm)
    else:
        try:
            key = read_key(body.algorithm, body.private_key)
        except Refused as reason:
            raise refused(reason, pointer="/private_key") from None
    sealed = seal_secret(at.runtime.settings.secret_key, key.private_key, row_id=domain_id, column="dkim_private_key")
    if not await domains.set_dkim(at.tx, at.team_id, domain_id, body.selector, sealed, key.record, at.now):
        raise not_found("domain", parameter="domain_id")
    await audit(at, "dkim.set", f"domain/{domain_id}", {"selector": body.selector, "algorithm": body.algorithm})
    return answer(await _record(at, domain_id))


@router.get("/domains/{domain_id}/dkim", responses=shows(DnsRecord), openapi_extra=needs("inboxes:read"))
async def get_dkim(domain_id: UUID, at: Here) -> Response:
    """The DNS record that must stand for the domain's signatures to hold."""
    return answer(await _record(at, domain_id))


@router.delete("/domains/{domain_id}/dkim", status_code=204, openapi_extra=needs("inboxes:write"))
async def clear_dkim(domain_id: UUID, at: Here) -> Response:
    """Forgets the key: the domain's mail is signed no more. A domain without a key is answered the same."""
    if not await domains.clear_dkim(at.tx, at.team_id, domain_id, at.now):
        raise not_found("domain", parameter="domain_id")
    await audit(at, "dkim.clear", f"domain/{domain_id}", {})
    return nothing()


async def _record(at: Scope, domain_id: UUID) -> DnsRecord:
    record = await domains.get_dkim(at.tx, at.team_id, domain_id)
    if record is None:
        raise not_found("DKIM key", parameter="domain_id")
    return record


async def _domain(at: Scope, domain_id: UUID) -> Domain:
    row = await domains.get_domain(at.tx, at.team_id, domain_id)
    if row is None:
        raise not_found("domain", parameter="domain_id")
    return _shown(row)


def _shown(row: DomainRow) -> Domain:
    return Domain(
        **{name: getattr(row, name) for name in Domain.__struct_fields__ if name != "checks"},
        checks=[_spf(row), _dkim(row), _dmarc(row)],
    )


def _spf(row: DomainRow) -> DomainCheck:
    remarks = row.check_remarks.get("spf", [])
    value = spf_to_publish(row.spf_record, remarks, row.senders)
    publish = DnsRecord(name=row.domain, value=value) if value else None
    return DomainCheck(part="spf", valid=row.spf_valid, checked_at=row.spf_checked_at, remarks=remarks, publish=publish)


def _dkim(row: DomainRow) -> DomainCheck:
    publish = None
    if row.dkim_valid is not True and row.dkim_selector and row.dkim_public_record:
        publish = DnsRecord(name=name_of(row.domain, row.dkim_selector), value=row.dkim_public_record)
    remarks = row.check_remarks.get("dkim", [])
    return DomainCheck(
        part="dkim", valid=row.dkim_valid, checked_at=row.dkim_checked_at, remarks=remarks, publish=publish
    )


def _dmarc(row: DomainRow) -> DomainCheck:
    remarks = row.check_remarks.get("dmarc", [])
    value = dmarc_to_publish(row.dmarc_record, remarks)
    publish = DnsRecord(name=f"_dmarc.{row.domain}", value=value) if value else None
    return DomainCheck(
        part="dmarc", valid=row.dmarc_valid, checked_at=row.dmarc_checked_at, remarks=remarks, publish=publish
    )
