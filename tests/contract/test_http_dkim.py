"""A domain's DKIM key goes in or is made, its record comes out, and its private half never does."""

import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from libs.schema.secrets import open_secret
from tests.contract.http_rig import Caller, Rig, expect, rig_on
from tests.support import SECRET_KEY

ED25519 = ed25519.Ed25519PrivateKey.generate()
CURVE = ec.generate_private_key(ec.SECP256R1())
SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505  it must be refused


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes | None = None) -> str:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, lock).decode()


async def a_domain(caller: Caller) -> str:
    return (await caller.post("/v1/domains", {"domain": f"{caller.team_id}.test"}))["id"]


async def kept_key(rig: Rig, domain_id: str) -> Any:
    sealed = await rig.owner.fetchval("SELECT dkim_private_key FROM domains WHERE id = $1", UUID(domain_id))
    plain = open_secret(SECRET_KEY, sealed, row_id=UUID(domain_id), column="dkim_private_key")
    return load_pem_private_key(plain.encode(), password=None)


@pytest.mark.parametrize(
    ("asked", "kind"), [({}, "rsa"), ({"algorithm": "rsa-2048"}, "rsa"), ({"algorithm": "ed25519"}, "ed25519")]
)
async def test_a_key_is_made_and_its_record_is_told(rig: Rig, asked: dict[str, str], kind: str) -> None:
    caller = await rig.team()
    domain_id = await a_domain(caller)
    answer = await caller.ask("PUT", f"/v1/domains/{domain_id}/dkim", {"selector": "S1", **asked})
    record = expect(answer, 200)
    public = (await kept_key(rig, domain_id)).public_key()
    if kind == "rsa":
        assert public.key_size == 2048
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        raw = public.public_bytes_raw()
    value = f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"
    assert record == {"name": f"s1._domainkey.{caller.team_id}.test", "type": "TXT", "value": value}
    assert await caller.get(f"/v1/domains/{domain_id}/dkim") == record
    assert "PRIVATE" not in answer.text
    domain = await caller.get(f"/v1/domains/{domain_id}")
    assert domain["dkim_selector"] == "s1"
    assert not any("key" in name for name in domain)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
async def test_a_key_is_brought_along(rig: Rig, form: PrivateFormat) -> None:
    caller = await rig.team()
    domain_id = await a_domain(caller)
    key = rsa.generate_private_key(65537, 2048)
    body = {"selector": "mail.s1", "algorithm": "rsa-2048", "private_key": pem(key, form)}
    expect(await caller.ask("PUT", f"/v1/domains/{domain_id}/dkim", body), 200)
    assert (await kept_key(rig, domain_id)).private_numbers() == key.private_numbers()


async def test_a_second_key_replaces_the_first_and_a_removed_one_is_gone(rig: Rig) -> None:
    caller = await rig.team()
    path = f"/v1/domains/{await a_domain(caller)}/dkim"
    first = expect(await caller.ask("PUT", path, {"selector": "s1", "algorithm": "ed25519"}), 200)
    second = expect(await caller.ask("PUT", path, {"selector": "s2", "algorithm": "ed25519"}), 200)
    assert first["value"] != second["value"]
    assert await caller.get(path) == second
    for _ in range(2):
        expect(await caller.ask("DELETE", path), 204)
        assert (await caller.refused("GET", path))["status"] == 404


@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        ("/selector", {}),
        ("/selector", {"selector": ""}),
        ("/selector", {"selector": "a b"}),
        ("/selector", {"selector": "a..b"}),
        ("/selector", {"selector": "s1;\r\n d=evil.test"}),
        ("/selector", {"selector": "x" * 64}),
        ("/algorithm", {"selector": "s1", "algorithm": "rsa-1024"}),
        ("/private_key", {"selector": "s1", "private_key": 1}),
        ("/private_key", {"selector": "s1", "private_key": "no key"}),
        ("/private_key", {"selector": "s1", "private_key": "\0é"}),
        ("/private_key", {"selector": "s1", "private_key": pem(ED25519)}),
        ("/private_key", {"selector": "s1", "private_key": pem(SHORT)}),
        ("/private_key", {"selector": "s1", "algorithm": "ed25519", "private_key": pem(ED25519, password=b"x")}),
        ("/private_key", {"selector": "s1", "algorithm": "ed25519", "private_key": pem(CURVE)}),
        ("/bits", {"selector": "s1", "bits": 4096}),
    ],
)  # fmt: skip
async def test_what_cannot_sign_is_refused_with_its_field(rig: Rig, pointer: str, body: dict[str, Any]) -> None:
    caller = await rig.team()
    domain_id = await a_domain(caller)
    problem = await caller.refused("PUT", f"/v1/domains/{domain_id}/dkim", body)
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, pointer)
    assert await rig.owner.fetchval("SELECT dkim_private_key FROM domains WHERE id = $1", UUID(domain_id)) is None


async def test_another_teams_domain_is_unknown_and_a_member_without_the_right_changes_nothing(rig: Rig) -> None:
    theirs, ours = await rig.team(), await rig.team()
    path = f"/v1/domains/{await a_domain(theirs)}/dkim"
    body = {"selector": "s1", "algorithm": "ed25519"}
    for caller in (ours, await rig.key_of(theirs.team_id, role="member")):
        assert (await caller.refused("PUT", path, body))["status"] in (403, 404)
        assert (await caller.refused("DELETE", path))["status"] in (403, 404)
    expect(await theirs.ask("PUT", path, body), 200)
    assert (await ours.refused("GET", path))["status"] == 404


async def test_only_the_sender_reads_the_key(rig: Rig) -> None:
    readers = await rig.owner.fetch(
        """SELECT rolname FROM pg_roles WHERE has_column_privilege(rolname, 'domains', 'dkim_private_key', 'SELECT')
        AND (rolname LIKE 'coldstream\\_%' OR rolname IN ('authenticated', 'anon'))"""
    )
    assert [row["rolname"] for row in readers] == ["coldstream_sender"]


async def test_setting_and_clearing_a_key_stand_in_the_audit_trail_without_the_key(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await a_domain(caller)
    expect(await caller.ask("PUT", f"/v1/domains/{domain_id}/dkim", {"selector": "s1", "algorithm": "ed25519"}), 200)
    assert (await caller.ask("DELETE", f"/v1/domains/{domain_id}/dkim")).status_code == 204
    rows = await rig.owner.fetch(
        "SELECT action, target, detail FROM audit_log WHERE team_id = $1 ORDER BY position", UUID(str(caller.team_id))
    )
    assert [row["action"] for row in rows] == ["dkim.set", "dkim.clear"]
    assert {row["target"] for row in rows} == {f"domain/{domain_id}"}
    assert "PRIVATE" not in str(rows)
