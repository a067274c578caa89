"""How a mailbox logs in: sealed as soon as it is known, a password or a grant, never both (reliability.md S11)."""

from typing import overload
from uuid import UUID

from libs.schema.secrets import seal_secret
from services.api.bodies.inboxes import OAuthIn
from services.api.oauth import clients_of
from services.api.problems import refused
from services.api.queries import credentials
from services.api.resources import Inbox
from services.api.routing import Scope
from services.api.rules.text import Refused
from services.api.rules.tokens import RENEW_AT
from services.api.settings import of


async def renew(at: Scope, inbox: Inbox, oauth: OAuthIn | None) -> None:
    """Replaces the mailbox's grant, or forgets it where there is none any more; what waited for it goes on.

    Raises:
        Problem: invalid, where this installation could not keep the mailbox connected.

    """
    if oauth is None:
        await credentials.forget_oauth(at.tx, at.team_id, inbox.id)
        return
    _check_client(at, inbox.provider)
    grant = credentials.Grant(
        access_token=sealed(at, inbox.id, "oauth_access_token", oauth.access_token),
        refresh_token=sealed(at, inbox.id, "oauth_refresh_token", oauth.refresh_token),
        expires_at=oauth.expires_at,
        scope=oauth.scope,
    )
    await credentials.set_oauth(at.tx, at.team_id, inbox.id, grant, RENEW_AT)


@overload
def sealed(at: Scope, inbox_id: UUID, column: str, plain: str) -> str: ...
@overload
def sealed(at: Scope, inbox_id: UUID, column: str, plain: str | None) -> str | None: ...
def sealed(at: Scope, inbox_id: UUID, column: str, plain: str | None) -> str | None:
    """The secret as its column keeps it; nothing stays nothing."""
    if plain is None:
        return None
    return seal_secret(at.runtime.settings.secret_key, plain, row_id=inbox_id, column=column)


def _check_client(at: Scope, provider: str) -> None:
    if provider not in clients_of(of(at.runtime)):
        reason = Refused(
            "oauth_provider",
            f"this installation has no OAuth client for {provider}",
            f"set COLDSTREAM_{provider.upper()}_CLIENT_ID" if provider != "smtp" else "send smtp_password",
        )
        raise refused(reason, pointer="/oauth")
