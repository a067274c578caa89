"""Bodies of teams and inboxes."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from services.api.bodies.fields import (
    Address,
    Body,
    Days,
    Flag,
    Host,
    Instant,
    Line255,
    Line500,
    Login,
    Name,
    Passage,
    Port,
    Secret,
    TimeOfDay,
    Zone,
    finding,
    unchanged,
)
from services.api.rules import windows
from services.api.rules.text import Refused

Provider = Literal["google", "microsoft", "smtp"]


class TeamSettings(Body):
    """The zone of the team's days, how follow-ups share the room, and its limits on one person and one company."""

    timezone: Zone = "UTC"
    follow_up_share: Annotated[int, Field(strict=True, ge=0, le=100, description="of a hundred mails")] = 60
    contact_gap_hours: Annotated[
        int, Field(strict=True, ge=0, le=720, description="between two campaigns' mails to one person; 0: no limit")
    ] = 48
    domain_daily_limit: Annotated[
        int, Field(strict=True, ge=0, le=1000, description="mails a day to one company's domain; 0: no limit")
    ] = 3
    domain_gap_minutes: Annotated[
        int, Field(strict=True, ge=0, le=1440, description="between an inbox's mails to one company; 0: no limit")
    ] = 10
    out_of_office_days: Annotated[
        int, Field(strict=True, ge=3, le=14, description="pause after an absence note that names no date of return")
    ] = 7


class TeamPatch(Body):
    """What a team may change of itself; plan and limits are the operator's."""

    name: Name = unchanged()
    physical_address: Passage = None
    company_name: Line255 = None
    settings: TeamSettings = unchanged()


class InboxSettingsPatch(Body):
    """How much and when a mailbox sends; what is left out stays."""

    daily_send_limit: Annotated[int, Field(strict=True, gt=0, le=500)] = unchanged()
    hourly_limit: Annotated[int, Field(strict=True, gt=0, le=500)] = unchanged()
    min_delay_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] = unchanged()
    max_delay_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] = unchanged()
    send_window_start: TimeOfDay = unchanged()
    send_window_end: TimeOfDay = unchanged()
    send_window_timezone: Zone = unchanged()
    send_days: Days = unchanged()
    weekends_enabled: Flag = unchanged()
    esp_matching_enabled: Flag = unchanged()
    auto_throttle_enabled: Flag = unchanged()

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        given = self.given()
        if "send_window_start" in given and "send_window_end" in given:
            try:
                windows.check_window(self.send_window_start, self.send_window_end)
            except Refused as reason:
                raise finding(reason) from None
        return self


class Servers(Body):
    """Where a mailbox's mail goes out and comes in, and how the two lines are secured."""

    smtp_host: Host | None = None
    smtp_port: Port = 587
    smtp_username: Login | None = None
    smtp_tls: Literal["starttls", "implicit", "none"] = "starttls"
    imap_host: Host | None = None
    imap_port: Port = 993
    imap_username: Login | None = None
    imap_tls: Literal["implicit", "none"] = "implicit"


Token = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern="^[!-~]+$", strict=True)]


class OAuthIn(Body):
    """What the provider's consent page gave; without an access token of known life one is asked for at once."""

    refresh_token: Token
    access_token: Token | None = None
    expires_at: Instant | None = None
    scope: Line500 = None


class InboxIn(Servers):
    """A mailbox to connect, with a password or, at google and microsoft, with OAuth; their hosts are known."""

    email: Address
    from_name: Line255 = None
    provider: Provider
    smtp_password: Secret | None = None
    imap_password: Secret | None = None
    oauth: OAuthIn | None = None
    settings: InboxSettingsPatch = InboxSettingsPatch()

    @model_validator(mode="after")
    def _hosts_are_known(self) -> Self:
        if self.provider == "smtp" and (self.smtp_host is None or self.imap_host is None):
            reason = Refused(
                "host", "smtp_host and imap_host are needed for the provider 'smtp'", "name both mail servers"
            )
            raise finding(reason)
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.smtp_password is None) == (self.oauth is None):
            raise finding(Refused("one_of", "exactly one of smtp_password and oauth is needed", "send one of them"))
        _check_oauth_alone(self.oauth, self.imap_password)
        if self.oauth is not None and self.provider == "smtp":
            reason = Refused("oauth_provider", "only google and microsoft know OAuth here", "send smtp_password")
            raise finding(reason)
        return self


def _check_oauth_alone(oauth: OAuthIn | None, *passwords: str | None) -> None:
    if oauth is not None and any(passwords):
        reason = Refused("one_of", "a mailbox logs in with passwords or with oauth", "send one of them")
        raise finding(reason)


class InboxPatch(Body):
    """A mailbox's changes; a password or oauth that is given replaces what was sealed before."""

    from_name: Line255 = None
    smtp_host: Host = unchanged()
    smtp_port: Port = unchanged()
    smtp_username: Login = unchanged()
    smtp_password: Secret = unchanged()
    smtp_tls: Literal["starttls", "implicit", "none"] = unchanged()
    imap_host: Host = unchanged()
    imap_port: Port = unchanged()
    imap_username: Login | None = None
    imap_password: Secret | None = None
    imap_tls: Literal["implicit", "none"] = unchanged()
    oauth: OAuthIn = unchanged()

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        _check_oauth_alone(self.oauth, self.smtp_password, self.imap_password)
        return self

    @model_validator(mode="after")
    def _servers_are_whole(self) -> Self:
        for protocol in ("smtp", "imap"):
            server = {f"{protocol}_host", f"{protocol}_port", f"{protocol}_tls"}
            if server & self.model_fields_set and not server <= self.model_fields_set:
                whole = ", ".join(sorted(server))
                raise finding(Refused("server", f"{whole} change together", "send all three"))
        return self
