"""What the API's process is told from outside, beside what every process is told."""

from typing import Annotated, cast

import msgspec

from libs.schema.runtime.service import Runtime
from libs.schema.runtime.settings import Settings

Url = Annotated[str, msgspec.Meta(pattern="^https?://")]


class ApiSettings(Settings, frozen=True, kw_only=True):
    """What the API needs besides."""

    api_host: str = "127.0.0.1"
    api_port: int = 8080
    public_host: str = "127.0.0.1"
    public_port: int = 8081
    rate_per_second: float = 50.0  # of one key, in the long run
    rate_burst: int = 200  # of one key, at once
    # Which name servers are asked, for recipients' providers and about sending domains: addresses, with a port or
    # without; empty = the system's.
    dns_servers: tuple[str, ...] = ()
    # What this installation is called at the two providers; without an id their mailboxes need app passwords.
    google_client_id: str | None = None
    google_client_secret: str | None = None
    google_token_url: Url = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
    microsoft_client_id: str | None = None
    microsoft_client_secret: str | None = None
    microsoft_tenant: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9.-]+$")] = "common"
    microsoft_token_url: Url | None = None  # none = Microsoft's own for the tenant


def of(runtime: Runtime) -> ApiSettings:
    """The settings that the API's runtime was opened with."""
    return cast("ApiSettings", runtime.settings)
