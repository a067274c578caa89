"""The providers' token endpoints (RFC 6749 §6): a refresh token goes in, a fresh access token comes out.

Never follows a redirect, never goes to an address of our own house, and never tells what was sent or answered.
"""

import ssl
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

import httpx
import msgspec

from libs.schema.runtime.network import ForbiddenAddressError
from libs.schema.runtime.outgoing import Way, post
from services.api.settings import ApiSettings

Provider = Literal["google", "microsoft"]
TIMEOUT_S = 15.0  # the whole conversation (reliability.md S13)
MAX_ANSWER_BYTES = 64 * 1024
MAX_TOKEN_CHARS = 16_384  # Microsoft's carry a person's groups
_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
# The grant itself is gone: revoked, expired, or a person has to answer a question (RFC 6749 §5.2, Microsoft's own).
_GONE = frozenset({"invalid_grant", "interaction_required"})
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What this installation is to a provider."""

    client_id: str
    client_secret: str | None
    token_url: str

    def __repr__(self) -> str:
        return f"Client({self.token_url})"


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh access token, and what came with it; a rotated refresh token replaces the one that was used."""

    access_token: str
    lifetime_s: float
    refresh_token: str | None = None
    scope: str | None = None

    def __repr__(self) -> str:
        return f"Granted({self.lifetime_s} s)"


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The provider will never again give a token for this grant."""

    reason: str


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """No answer that decides anything; worth trying again later."""

    reason: str


class _Tokens(msgspec.Struct, frozen=True):
    access_token: Annotated[str, msgspec.Meta(pattern="^[!-~]+$", max_length=MAX_TOKEN_CHARS)]
    expires_in: Annotated[float, msgspec.Meta(gt=0)] = 3600.0  # what both providers give (RFC 6749 §5.1)
    refresh_token: Annotated[str, msgspec.Meta(pattern="^[!-~]+$", max_length=MAX_TOKEN_CHARS)] | None = None
    scope: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,40}$")]


def clients_of(settings: ApiSettings) -> Mapping[Provider, Client]:
    """The providers at which this installation is registered."""
    clients: dict[Provider, Client] = {}
    if settings.google_client_id is not None:
        clients["google"] = Client(
            client_id=settings.google_client_id,
            client_secret=settings.google_client_secret,
            token_url=settings.google_token_url,
        )
    if settings.microsoft_client_id is not None:
        clients["microsoft"] = Client(
            client_id=settings.microsoft_client_id,
            client_secret=settings.microsoft_client_secret,
            token_url=settings.microsoft_token_url or _MICROSOFT.format(tenant=settings.microsoft_tenant),
        )
    return clients


class Endpoints:
    """The way to the token endpoints; holds nothing between two calls."""

    def __init__(self, tls: ssl.SSLContext, *, allow: Sequence[str]) -> None:
        self._way = Way(tls=tls, allow=allow, timeout_s=TIMEOUT_S, max_bytes=MAX_ANSWER_BYTES)

    async def refresh(self, client: Client, refresh_token: str, scope: str | None) -> Granted | Gone | Failed:
        """What the provider says; a second call may find the refresh token used up, so its caller holds a claim."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
        form |= {"client_secret": client.client_secret} if client.client_secret else {}
        form |= {"scope": scope} if scope else {}
        try:
            status, body = await post(self._way, client.token_url, urlencode(form).encode(), _FORM)
        except ForbiddenAddressError:
            return Failed(reason="forbidden_address")
        except (httpx.HTTPError, OSError) as error:  # TimeoutError and SSLError are OSErrors
            return Failed(reason=type(error).__name__)
        return _understood(status, body or b"")


def _understood(status: int, body: bytes) -> Granted | Gone | Failed:
    try:
        if status == 200:
            tokens = msgspec.json.decode(body, type=_Tokens, strict=False)
            return Granted(
                access_token=tokens.access_token,
                lifetime_s=tokens.expires_in,
                refresh_token=tokens.refresh_token,
                scope=tokens.scope,
            )
        refusal = msgspec.json.decode(body, type=_Refusal).error if 400 <= status < 500 else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Failed(reason=f"{status} and no answer of a token endpoint")
    return Gone(reason=refusal) if refusal in _GONE else Failed(reason=f"{status} {refusal}".strip())
