"""Inboxes: connecting mailboxes, how much and when they send, pausing them by hand."""

from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from libs.planning.terms import inbox_terms
from libs.schema.events.inbox import InboxConnected, InboxDisconnected, InboxPaused, InboxResumed
from services.api.bodies.inboxes import InboxIn, InboxPatch, InboxSettingsPatch
from services.api.changes import inbox_changed, plan_anew
from services.api.commands import tell
from services.api.credentials import renew, sealed
from services.api.listing import id_in, page
from services.api.mailservers import check_new, check_patch, with_known_hosts
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Problem, not_found, refused
from services.api.queries import domains, inboxes, teams
from services.api.resources import Accepted, Inbox, InboxSettings, Page
from services.api.responses import answer, nothing, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, first, needs
from services.api.rules import windows
from services.api.rules.text import Refused

router = APIRouter(prefix="/v1", tags=["inboxes"], route_class=ScopedRoute, responses=problems())

# The seed's 60 s is below what every provider's own tools keep; with the seed's 300 s as the least, there must be room
# above it for the jitter (field.md 4.11, design.md §9.18).
DEFAULT_MIN_DELAY_S = 300
DEFAULT_MAX_DELAY_S = 600

InboxStatus = Literal["active", "paused", "error", "warming_up", "banned"]


@router.get("/inboxes", responses=shows(Page[Inbox]), openapi_extra=needs("inboxes:read"))
async def list_inboxes(
    at: Here, status: InboxStatus | None = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Response:
    """The team's inboxes, newest first."""

    async def fetch(before: list[str] | None, count: int) -> list[Inbox]:
        return await inboxes.list_inboxes(at.tx, at.team_id, status, id_in(before), count)

    return answer(await page(at, f"inboxes/{status}", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.post("/inboxes", status_code=201, responses=shows(Inbox, 201), openapi_extra=needs("inboxes:write"))
@first(check_new)
async def connect_inbox(body: InboxIn, at: Here) -> Response:
    """Connects a mailbox. Passwords are sealed and never shown again; connecting an archived address revives it."""
    await _check_room(at)
    archived = await inboxes.find_archived_inbox(at.tx, at.team_id, body.email)
    inbox_id = archived or at.runtime.new_id()
    inbox = await _new_inbox(at, with_known_hosts(body), inbox_id)
    if archived is None:
        await _add(at, inbox, body.provider)
    else:
        await inboxes.revive_inbox(at.tx, inbox)
    known = await _inbox(at, inbox_id)
    if body.oauth is not None and known.provider != body.provider:
        raise Problem("wrong_state", f"this address was connected at {known.provider} before, and stays there")
    await renew(at, known, body.oauth)
    await inboxes.add_settings(at.tx, inbox_id, DEFAULT_MIN_DELAY_S, DEFAULT_MAX_DELAY_S)
    settings = await _change_settings(at, inbox_id, body.settings)
    await tell(at, InboxConnected(inbox_id=inbox_id, provider=body.provider, settings=inbox_terms(settings)))
    return answer(await _inbox(at, inbox_id), 201, location=f"/v1/inboxes/{inbox_id}")


@router.get("/inboxes/{inbox_id}", responses=shows(Inbox), openapi_extra=needs("inboxes:read"))
async def get_inbox(inbox_id: UUID, at: Here) -> Response:
    """One inbox."""
    return answer(await _inbox(at, inbox_id))


@router.patch("/inboxes/{inbox_id}", responses=shows(Inbox), openapi_extra=needs("inboxes:write"))
@first(check_patch)
async def update_inbox(inbox_id: UUID, body: InboxPatch, at: Here) -> Response:
    """Changes the named fields; a new password or grant renews the connection."""
    changes = body.given()
    credentials = {name: changes.pop(name) for name in ("smtp_password", "imap_password", "oauth") if name in changes}
    changed = msgspec.structs.replace(await _inbox(at, inbox_id), **changes)
    await inboxes.update_inbox(at.tx, at.team_id, changed)
    if "oauth" in credentials or "smtp_password" in credentials:
        await renew(at, changed, credentials.get("oauth"))
    if "smtp_password" in credentials:
        await inboxes.set_smtp_password(
            at.tx, at.team_id, inbox_id, sealed(at, inbox_id, "smtp_password", body.smtp_password)
        )
    if "imap_password" in credentials:
        await inboxes.set_imap_password(
            at.tx, at.team_id, inbox_id, sealed(at, inbox_id, "imap_password", body.imap_password)
        )
    if credentials:
        await tell(at, InboxConnected(inbox_id=inbox_id, provider=changed.provider))
    return answer(await _inbox(at, inbox_id))


@router.delete("/inboxes/{inbox_id}", status_code=204, openapi_extra=needs("inboxes:write"))
async def archive_inbox(inbox_id: UUID, at: Here) -> Response:
    """Puts the inbox away: it sends no more, first mails go out of others, and its history stays."""
    if not await inboxes.archive_inbox(at.tx, at.team_id, inbox_id, at.now):
        raise not_found("inbox", parameter="inbox_id")
    await tell(at, InboxDisconnected(inbox_id=inbox_id, reason="archived"))
    await plan_anew(at, "inbox", inbox_id)
    return nothing()


@router.get("/inboxes/{inbox_id}/settings", responses=shows(InboxSettings), openapi_extra=needs("inboxes:read"))
async def get_inbox_settings(inbox_id: UUID, at: Here) -> Response:
    """How much and when the inbox sends."""
    return answer(await _settings(at, inbox_id))


@router.patch("/inboxes/{inbox_id}/settings", responses=shows(InboxSettings), openapi_extra=needs("inboxes:write"))
async def update_inbox_settings(inbox_id: UUID, body: InboxSettingsPatch, at: Here) -> Response:
    """Changes the named settings; the inbox's queued mails get other slots by them at once, and never in a burst."""
    before = await _settings(at, inbox_id)
    after = await _change_settings(at, inbox_id, body)
    await inbox_changed(at, before, after)
    return answer(after)


@router.post(
    "/inboxes/{inbox_id}/pause", status_code=202, responses=shows(Accepted, 202), openapi_extra=needs("inboxes:write")
)
async def pause_inbox(inbox_id: UUID, at: Here) -> Response:
    """Stops sending from the inbox until it is resumed: first mails go out of other inboxes, follow-ups wait for it."""
    if not await inboxes.pause_inbox(at.tx, at.team_id, inbox_id, "by hand", at.now):
        raise Problem("wrong_state", f"the inbox is {(await _inbox(at, inbox_id)).status}")
    event_id = await tell(at, InboxPaused(inbox_id=inbox_id, reason="by hand"))
    await plan_anew(at, "inbox", inbox_id)
    return answer(Accepted(id=inbox_id, event_id=event_id, status="paused"), 202)


@router.post(
    "/inboxes/{inbox_id}/resume", status_code=202, responses=shows(Accepted, 202), openapi_extra=needs("inboxes:write")
)
async def resume_inbox(inbox_id: UUID, at: Here) -> Response:
    """Lets the inbox send again, after a pause or once what was broken has been mended."""
    if not await inboxes.resume_inbox(at.tx, at.team_id, inbox_id):
        inbox = await _inbox(at, inbox_id)
        waits = "; it needs new oauth first" if inbox.reauth_required else ""
        raise Problem("wrong_state", f"the inbox is {inbox.status}{waits}")
    event_id = await tell(at, InboxResumed(inbox_id=inbox_id))
    return answer(Accepted(id=inbox_id, event_id=event_id, status="active"), 202)


async def _inbox(at: Scope, inbox_id: UUID) -> Inbox:
    inbox = await inboxes.get_inbox(at.tx, at.team_id, inbox_id)
    if inbox is None:
        raise not_found("inbox", parameter="inbox_id")
    return inbox


async def _settings(at: Scope, inbox_id: UUID) -> InboxSettings:
    await _inbox(at, inbox_id)
    settings = await inboxes.get_settings(at.tx, at.team_id, inbox_id)
    if settings is None:
        raise not_found("inbox", parameter="inbox_id")
    return settings


async def _change_settings(at: Scope, inbox_id: UUID, body: InboxSettingsPatch) -> InboxSettings:
    """Writes the changes and looks at the whole: a start alone may close a window whose end is not in the request."""
    await inboxes.update_settings(at.tx, at.team_id, inbox_id, body.given())
    settings = await _settings(at, inbox_id)
    try:
        windows.check_window(settings.send_window_start, settings.send_window_end)
    except Refused as reason:
        raise refused(reason, pointer="/send_window_end") from None
    return settings


async def _check_room(at: Scope) -> None:
    await teams.lock_team(at.tx, at.team_id)
    team = await teams.get_team(at.tx, at.team_id)
    if team is not None and await inboxes.count_inboxes(at.tx, at.team_id) >= team.max_inboxes:
        raise Problem("plan_limit", f"the team may have {team.max_inboxes} inboxes")


async def _new_inbox(at: Scope, body: InboxIn, inbox_id: UUID) -> inboxes.NewInbox:
    domain = body.email.rpartition("@")[2]
    servers: dict[str, Any] = body.model_dump(
        include={"smtp_host", "smtp_port", "smtp_tls", "imap_host", "imap_port", "imap_username", "imap_tls"}
    )
    return inboxes.NewInbox(
        id=inbox_id,
        team_id=at.team_id,
        domain_id=await domains.find_or_add_domain(at.tx, at.team_id, domain, at.runtime.new_id(), at.now),
        email=body.email,
        from_name=body.from_name,
        smtp_username=body.smtp_username or body.email,
        smtp_password=sealed(at, inbox_id, "smtp_password", body.smtp_password),
        imap_password=sealed(at, inbox_id, "imap_password", body.imap_password),
        **servers,
    )


async def _add(at: Scope, inbox: inboxes.NewInbox, provider: str) -> None:
    try:
        await inboxes.add_inbox(at.tx, inbox, provider, at.now)
    except asyncpg.UniqueViolationError:
        # The same words whether it is ours or another team's: who else uses an address is nobody's business.
        raise Problem("already_exists", "this address is connected already or cannot be connected here") from None
