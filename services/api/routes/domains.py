"""A domain's DKIM key: set, shown as the DNS record to publish, taken away. The private half is never shown."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.schema.secrets import seal_secret
from services.api.bodies.domains import DkimIn
from services.api.dkim import make_key, read_key
from services.api.problems import not_found, refused
from services.api.queries import domains, teams
from services.api.resources import DkimRecord
from services.api.responses import answer, nothing, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.text import Refused

router = APIRouter(prefix="/v1", tags=["domains"], route_class=ScopedRoute, responses=problems())


@router.put("/domains/{domain_id}/dkim", responses=shows(DkimRecord), openapi_extra=needs("inboxes:write"))
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
    if not await domains.set_dkim(at.tx, at.team_id, domain_id, body.selector, sealed, key.record):
        raise not_found("domain", parameter="domain_id")
    await _audit(at, domain_id, "dkim.set", {"selector": body.selector, "algorithm": body.algorithm})
    return answer(await _record(at, domain_id))


@router.get("/domains/{domain_id}/dkim", responses=shows(DkimRecord), openapi_extra=needs("inboxes:read"))
async def get_dkim(domain_id: UUID, at: Here) -> Response:
    """The DNS record that must stand for the domain's signatures to hold."""
    return answer(await _record(at, domain_id))


@router.delete("/domains/{domain_id}/dkim", status_code=204, openapi_extra=needs("inboxes:write"))
async def clear_dkim(domain_id: UUID, at: Here) -> Response:
    """Forgets the key: the domain's mail is signed no more. A domain without a key is answered the same."""
    if not await domains.clear_dkim(at.tx, at.team_id, domain_id):
        raise not_found("domain", parameter="domain_id")
    await _audit(at, domain_id, "dkim.clear", {})
    return nothing()


async def _audit(at: Scope, domain_id: UUID, action: str, detail: dict[str, Any]) -> None:
    await teams.add_audit(at.tx, at.team_id, f"key/{at.caller.key_id}", action, f"domain/{domain_id}", detail, at.now)


async def _record(at: Scope, domain_id: UUID) -> DkimRecord:
    record = await domains.get_dkim(at.tx, at.team_id, domain_id)
    if record is None:
        raise not_found("DKIM key", parameter="domain_id")
    return record
