"""OAuth mailboxes: sealed at the door, renewed once by whoever comes first; a person is asked when a grant is gone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from libs.schema.events import open_envelope
from libs.schema.runtime.network import tls_context
from libs.schema.secrets import open_secret
from services.api import jobs, oauth
from services.api.jobs import refresh_tokens
from services.api.oauth import Endpoints, Granted
from services.api.rules.tokens import wait_s
from tests.contract.http_rig import Caller, Rig, expect, inbox_body, rig_on
from tests.contract.token_endpoint import HANG, LOOPBACK, Answer, TokenEndpoint, client_of, token_endpoint
from tests.support import SECRET_KEY, eventually

GRANT = {"refresh_token": "refresh-canary", "scope": "https://mail.google.com/"}
WORKERS = 20
ENDPOINTS = Endpoints(tls_context(None), allow=LOOPBACK)


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database, google_client_id="us", google_client_secret="secret-canary") as rig:
        yield rig


@pytest.fixture
async def provider() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def caller(rig: Rig) -> Caller:
    """A fresh team's; the mailboxes of the tests before are never due again."""
    await rig.owner.execute("UPDATE inboxes SET oauth_refresh_at = NULL")
    return await rig.team()


async def refresh(rig: Rig, provider: TokenEndpoint) -> bool:
    """One tick of one worker."""
    return await refresh_tokens(rig.runtime, {"google": client_of(provider)}, ENDPOINTS)


def body(caller: Caller, **more: Any) -> dict[str, Any]:
    grant = inbox_body(f"ann@{caller.team_id}.test", provider="google", oauth=GRANT, **more)
    del grant["smtp_password"]
    return grant


async def connected(caller: Caller, **oauth_fields: Any) -> UUID:
    inbox = await caller.post("/v1/inboxes", body(caller) | {"oauth": GRANT | oauth_fields})
    return UUID(inbox["id"])


async def row_of(rig: Rig, inbox_id: UUID) -> dict[str, Any]:
    """The inbox's row, its tokens opened."""
    row = dict(await rig.owner.fetchrow("SELECT * FROM inboxes WHERE id = $1", inbox_id) or {})
    for column in ("oauth_access_token", "oauth_refresh_token"):
        row[column] = row[column] and open_secret(SECRET_KEY, row[column], row_id=inbox_id, column=column)
    return row


async def due_in_s(rig: Rig, inbox_id: UUID) -> float:
    asked = "SELECT extract(epoch FROM oauth_refresh_at - clock_timestamp())::float8 FROM inboxes WHERE id = $1"
    return await rig.owner.fetchval(asked, inbox_id)


async def make_due(rig: Rig, inbox_id: UUID) -> None:
    await rig.owner.execute("UPDATE inboxes SET oauth_refresh_at = clock_timestamp() WHERE id = $1", inbox_id)


async def events_of(rig: Rig, caller: Caller, kind: str) -> list[Any]:
    rows = await rig.owner.fetch(
        "SELECT body FROM event_log WHERE team_id = $1 AND type = $2 ORDER BY position", caller.team_id, kind
    )
    return [msgspec.json.decode(open_envelope(row["body"]).data) for row in rows]


# -- at the door ------------------------------------------------------------------------------------------------------


async def test_a_grant_is_sealed_and_never_shown_and_the_hosts_are_known(rig: Rig, caller: Caller) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    given = {**GRANT, "access_token": "access-canary", "expires_at": expires.isoformat()}
    sent = {"email": f"ann@{caller.team_id}.test", "provider": "google", "oauth": given}
    hosts = {"smtp_host": "127.0.0.1", "smtp_port": 2525, "imap_host": "127.0.0.1", "imap_port": 1143}
    answer = await caller.ask("POST", "/v1/inboxes", sent | hosts)
    inbox = expect(answer, 201)
    assert "canary" not in answer.text
    assert (inbox["provider"], inbox["oauth_scope"], inbox["reauth_required"]) == ("google", GRANT["scope"], False)
    row = await row_of(rig, UUID(inbox["id"]))
    assert (row["oauth_access_token"], row["oauth_refresh_token"]) == ("access-canary", "refresh-canary")
    assert (row["smtp_password"], row["smtp_username"]) == (None, sent["email"])
    assert 0.75 * 3600 < await due_in_s(rig, UUID(inbox["id"])) < 0.81 * 3600


@pytest.mark.parametrize(
    ("case", "changes", "code"),
    [
        ("both", {"smtp_password": "x"}, "one_of"),
        ("neither", {"oauth": None}, "one_of"),
        ("imap password beside", {"imap_password": "x"}, "one_of"),
        ("plain smtp", {"provider": "smtp"}, "oauth_provider"),
        ("a provider without a client", {"provider": "microsoft"}, "oauth_provider"),
        ("no refresh token", {"oauth": {"access_token": "x"}}, "missing"),
        ("a line break", {"oauth": {"refresh_token": "a\r\nb"}}, "string_pattern_mismatch"),
        ("a control character", {"oauth": {"refresh_token": "a\u0001b"}}, "string_pattern_mismatch"),
        ("too long", {"oauth": {"refresh_token": "x" * 5000}}, "string_too_long"),
        ("epoch milliseconds", {"oauth": {**GRANT, "expires_at": 1_772_442_000_000}}, "instant"),
        ("no offset", {"oauth": {**GRANT, "expires_at": "2026-03-02T09:00:00"}}, "instant"),
        ("a field too many", {"oauth": {**GRANT, "id_token": "x"}}, "extra_forbidden"),
    ],
)
async def test_a_grant_that_cannot_work_is_refused(
    caller: Caller, case: str, changes: dict[str, Any], code: str
) -> None:
    problem = await caller.refused("POST", "/v1/inboxes", body(caller) | changes)
    assert (case, problem["status"]) == (case, 422)
    assert code in {fault["code"] for fault in problem["errors"]}


async def test_a_new_password_ends_a_grant_and_a_new_grant_ends_passwords(rig: Rig, caller: Caller) -> None:
    inbox_id = await connected(caller)
    expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox_id}", {"smtp_password": "app password"}), 200)
    row = await row_of(rig, inbox_id)
    assert (row["oauth_refresh_token"], row["oauth_refresh_at"]) == (None, None)
    assert row["smtp_password"] is not None
    expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox_id}", {"oauth": GRANT}), 200)
    row = await row_of(rig, inbox_id)
    assert (row["oauth_refresh_token"], row["smtp_password"]) == ("refresh-canary", None)
    assert row["cred_version"] == 4
    assert len(await events_of(rig, caller, "inbox.connected")) == 3


async def test_a_password_mailbox_cannot_be_given_a_grant_of_nobody(caller: Caller) -> None:
    inbox = await caller.post("/v1/inboxes", inbox_body(f"bob@{caller.team_id}.test"))
    problem = await caller.refused("PATCH", f"/v1/inboxes/{inbox['id']}", {"oauth": GRANT})
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/oauth")


# -- renewing ---------------------------------------------------------------------------------------------------------


async def test_a_token_is_renewed_at_eighty_per_cent_of_its_life(
    rig: Rig, caller: Caller, provider: TokenEndpoint
) -> None:
    inbox_id = await connected(caller)
    assert await refresh(rig, provider) is True
    assert provider.asked == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-canary",
            "client_id": "us",
            "client_secret": "secret-canary",
            "scope": GRANT["scope"],
        }
    ]
    row = await row_of(rig, inbox_id)
    assert (row["oauth_access_token"], row["oauth_refresh_token"]) == ("access-canary-1", "refresh-canary")
    assert 0.79 * 3600 < await due_in_s(rig, inbox_id) <= 0.8 * 3600
    assert await refresh(rig, provider) is False
    assert len(provider.asked) == 1


async def test_a_rotated_refresh_token_replaces_the_old_one(rig: Rig, caller: Caller, provider: TokenEndpoint) -> None:
    inbox_id = await connected(caller)
    provider.answers = [(200, provider.grant(refresh_token="rotated-canary"))]
    await refresh(rig, provider)
    await make_due(rig, inbox_id)
    await refresh(rig, provider)
    assert provider.asked[1]["refresh_token"] == "rotated-canary"
    assert (await row_of(rig, inbox_id))["cred_version"] == 4  # connected, and renewed twice


async def test_twenty_workers_at_the_same_expiry_make_one_call(
    rig: Rig, caller: Caller, provider: TokenEndpoint
) -> None:
    await connected(caller)
    worked = await asyncio.gather(*(refresh(rig, provider) for _ in range(WORKERS)))
    assert (len(provider.asked), sum(worked)) == (1, 1)


async def test_a_worker_that_dies_with_its_claim_is_replaced(rig: Rig, caller: Caller, provider: TokenEndpoint) -> None:
    inbox_id = await connected(caller)
    provider.answers = [HANG]
    dying = asyncio.create_task(refresh(rig, provider))
    await eventually(lambda: provider.asked)
    dying.cancel()
    await asyncio.wait([dying])
    assert await refresh(rig, provider) is False
    assert 0 < await due_in_s(rig, inbox_id) <= jobs.CLAIM_S
    await make_due(rig, inbox_id)
    assert await refresh(rig, provider) is True
    assert (await row_of(rig, inbox_id))["oauth_access_token"] == "access-canary-2"


@pytest.mark.parametrize("error", ["invalid_grant", "interaction_required"])
async def test_a_grant_that_is_gone_asks_for_a_person_once(
    rig: Rig, caller: Caller, provider: TokenEndpoint, error: str
) -> None:
    inbox_id = await connected(caller)
    provider.answers = [(400, {"error": error, "error_description": "Token canary-desc has been revoked"})]
    await refresh(rig, provider)
    shown = await caller.get(f"/v1/inboxes/{inbox_id}")
    assert (shown["status"], shown["status_reason"], shown["reauth_required"]) == ("error", "reauth_required", True)
    (event,) = await events_of(rig, caller, "inbox.disconnected")
    assert event == {"inbox_id": str(inbox_id), "reason": "reauth_required"}
    assert await refresh(rig, provider) is False
    assert len(provider.asked) == 1
    problem = await caller.refused("POST", f"/v1/inboxes/{inbox_id}/resume")
    assert problem["code"] == "wrong_state"


async def test_new_credentials_bring_the_mailbox_back(rig: Rig, caller: Caller, provider: TokenEndpoint) -> None:
    inbox_id = await connected(caller)
    provider.answers = [(400, {"error": "invalid_grant"})]
    await refresh(rig, provider)
    fresh = {"oauth": {"refresh_token": "second-canary"}}
    shown = expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox_id}", fresh), 200)
    assert (shown["status"], shown["status_reason"], shown["reauth_required"]) == ("active", None, False)
    await refresh(rig, provider)
    assert provider.asked[1]["refresh_token"] == "second-canary"


async def test_a_paused_mailbox_whose_grant_is_gone_stays_paused(
    rig: Rig, caller: Caller, provider: TokenEndpoint
) -> None:
    inbox_id = await connected(caller)
    await caller.post(f"/v1/inboxes/{inbox_id}/pause", status=202)
    provider.answers = [(400, {"error": "invalid_grant"})]
    await refresh(rig, provider)
    await caller.refused("POST", f"/v1/inboxes/{inbox_id}/resume")
    shown = expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox_id}", {"oauth": GRANT}), 200)
    assert shown["status"] == "paused"
    await caller.post(f"/v1/inboxes/{inbox_id}/resume", status=202)


async def test_an_answer_for_older_credentials_changes_nothing(
    rig: Rig, caller: Caller, provider: TokenEndpoint
) -> None:
    inbox_id = await connected(caller)
    for late in ((400, {"error": "invalid_grant"}), (200, provider.grant()), (500, b"")):
        provider.answers = [late]
        await make_due(rig, inbox_id)
        meanwhile = partial(caller.ask, "PATCH", f"/v1/inboxes/{inbox_id}", {"oauth": {"refresh_token": "newer"}})
        original = Endpoints.refresh

        async def slow(*args: Any) -> Any:
            answer = await original(*args)  # noqa: B023  used within this turn of the loop
            expect(await meanwhile(), 200)  # noqa: B023  the same
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Endpoints, "refresh", slow)
            await refresh(rig, provider)
        row = await row_of(rig, inbox_id)
        assert (row["oauth_refresh_token"], row["oauth_access_token"], row["status"]) == ("newer", None, "active")
        assert row["oauth_failures"] == 0
    assert await events_of(rig, caller, "inbox.disconnected") == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"oops"),
        (503, {"error": "temporarily_unavailable"}),
        (429, {"error": "rate_limited"}),
        (401, {"error": "invalid_client"}),
        (200, {"expires_in": 3600}),
        (200, {"access_token": "a b", "expires_in": 3600}),
        (200, {"access_token": "a", "expires_in": -1}),
        (200, b"x" * 100_000),
        (200, b"\xff"),
        (302, b""),
        (400, {"error": "Some <text>"}),
    ],
    ids=lambda answer: f"{answer[0]} {str(answer[1])[:30]}",
)
async def test_what_decides_nothing_is_tried_again_later_and_no_storm(
    rig: Rig, caller: Caller, provider: TokenEndpoint, answer: Answer
) -> None:
    inbox_id = await connected(caller)
    provider.answers = [answer, answer]
    provider.headers = {"location": "http://169.254.169.254/"}
    await refresh(rig, provider)
    assert 25 < await due_in_s(rig, inbox_id) <= 30
    assert await refresh(rig, provider) is False
    await make_due(rig, inbox_id)
    await refresh(rig, provider)
    assert 115 < await due_in_s(rig, inbox_id) <= 120
    row = await row_of(rig, inbox_id)
    assert (row["status"], row["oauth_failures"], row["oauth_access_token"]) == ("active", 2, None)
    await make_due(rig, inbox_id)
    provider.headers = {}
    await refresh(rig, provider)
    row = await row_of(rig, inbox_id)
    assert (row["oauth_failures"], row["oauth_access_token"]) == (0, "access-canary-3")


async def test_an_endpoint_that_hangs_is_left_after_a_while(
    rig: Rig, caller: Caller, provider: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "TIMEOUT_S", 0.1)
    inbox_id = await connected(caller)
    provider.answers = [HANG]
    await refresh(rig, provider)
    assert 25 < await due_in_s(rig, inbox_id) <= 30


def test_never_more_than_three_tries_in_five_minutes() -> None:
    tries = [0.0]
    for failures in range(1, 30):
        tries.append(tries[-1] + wait_s(failures))
    for at in tries:
        assert len([each for each in tries if at <= each < at + 300]) <= 3
    assert max(wait_s(failures) for failures in range(1, 30)) == 900


async def test_no_secret_is_logged_or_told(rig: Rig, caller: Caller, provider: TokenEndpoint) -> None:
    with capture_logs() as logs:
        inbox_id = await connected(caller, access_token="access-canary")
        for answer in [
            (200, provider.grant(refresh_token="rotated-canary")),
            (500, b"canary"),
            (400, {"error": "invalid_grant"}),
        ]:
            provider.answers = [answer]
            await make_due(rig, inbox_id)
            await refresh(rig, provider)
    assert [line["outcome"] for line in logs if line["event"] == "oauth.refreshed"] == ["granted", "failed", "gone"]
    bodies = await rig.owner.fetch("SELECT body FROM event_log WHERE team_id = $1", caller.team_id)
    kept = await rig.owner.fetchval("SELECT i::text FROM inboxes AS i WHERE id = $1", inbox_id)
    assert "canary" not in str(logs) + str(bodies) + kept
    shown = repr([client_of(provider), Granted(access_token="canary", lifetime_s=1), rig.runtime.settings])
    assert "canary" not in shown


async def test_a_refresh_token_sealed_with_another_key_asks_for_a_person(
    rig: Rig, caller: Caller, provider: TokenEndpoint
) -> None:
    inbox_id = await connected(caller)
    await rig.owner.execute("UPDATE inboxes SET oauth_refresh_token = 'v1.nonsense' WHERE id = $1", inbox_id)
    await refresh(rig, provider)
    assert provider.asked == []
    assert (await caller.get(f"/v1/inboxes/{inbox_id}"))["reauth_required"] is True
