"""What the tests of sending domains share: a zone that has all a domain needs, a look at it, and what is known then."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.api.checks import check_domains
from services.api.dns import Resolver
from services.api.rules.records.verdict import SPREAD
from tests.contract.fake_dns import Zone
from tests.contract.http_rig import Caller, Rig

KEY = "v=DKIM1; k=ed25519; p=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
LATER = 1 + SPREAD  # a wait with all its jitter is over


def good(domain: str, selector: str = "s1") -> dict[str, Any]:
    """All that a domain needs."""
    return {
        f"TXT {domain}": ["v=spf1 ip4:192.0.2.1 -all"],
        f"TXT {selector}._domainkey.{domain}": [KEY],
        f"TXT _dmarc.{domain}": ["v=DMARC1; p=none"],
    }


async def look(rig: Rig, served: Zone) -> bool:
    return await check_domains(rig.runtime, Resolver([served.server]))


async def added(caller: Caller, domain: str = "acme.test", selector: str | None = "s1") -> str:
    return (await caller.post("/v1/domains", {"domain": domain, "dkim_selector": selector}))["id"]


async def verdicts(caller: Caller, domain_id: str) -> list[bool | None]:
    said = await caller.get(f"/v1/domains/{domain_id}")
    flat = [said[f"{part}_valid"] for part in ("spf", "dkim", "dmarc")]
    assert [check["valid"] for check in said["checks"]] == flat
    return flat


async def codes(caller: Caller, domain_id: str) -> dict[str, list[str]]:
    said = await caller.get(f"/v1/domains/{domain_id}")
    return {check["part"]: [remark["code"] for remark in check["remarks"]] for check in said["checks"]}


async def told(rig: Rig, caller: Caller) -> list[dict[str, Any]]:
    rows = await rig.owner.fetch(
        "SELECT body FROM event_log WHERE team_id = $1 AND type = 'domain.checked' ORDER BY position", caller.team_id
    )
    return [msgspec.json.decode(row["body"])["data"] for row in rows]


async def due_in(rig: Rig, domain_id: str) -> timedelta:
    due_at = await rig.owner.fetchval("SELECT check_due_at FROM domains WHERE id = $1", UUID(domain_id))
    return due_at - rig.clock.now()
