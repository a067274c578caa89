"""The OpenAPI 3.1 document: FastAPI's for what comes in, our Structs' own schemas for what goes out."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from libs.planning.explain.explanation import Explanation
from libs.planning.preflight.findings import Report
from libs.planning.simulate.simulation import Simulation
from services.api.idempotency import HEADER, MAX_KEY_CHARS
from services.api.problems import ProblemBody
from services.api.resources import (
    Accepted,
    Campaign,
    CampaignInboxes,
    CloudEvent,
    DailyStats,
    DnsRecord,
    Domain,
    Email,
    EmailContent,
    Inbox,
    InboxSettings,
    Lead,
    LeadList,
    Page,
    Sequence,
    Suppression,
    Team,
)
from services.api.responses import components
from services.api.rules.impact import SequenceImpact
from services.api.unibox import (
    InboundMessage,
    Job,
    JobAccepted,
    MarkResults,
    Members,
    Reply,
    Thread,
    ThreadContent,
    UnreadCounts,
)
from services.api.verdicts import BatchResult

# Everything that an answer may be made of.
SHOWN = (
    Team,
    Members,
    Domain,
    Page[Domain],
    DnsRecord,
    Inbox,
    Page[Inbox],
    InboxSettings,
    LeadList,
    Page[LeadList],
    Lead,
    Page[Lead],
    BatchResult,
    Suppression,
    Page[Suppression],
    Campaign,
    Page[Campaign],
    CampaignInboxes,
    Sequence,
    EmailContent,
    Page[Email],
    Reply,
    Page[Reply],
    Thread,
    Page[Thread],
    ThreadContent,
    UnreadCounts,
    MarkResults,
    InboundMessage,
    Page[InboundMessage],
    Job,
    Page[Job],
    JobAccepted,
    Page[DailyStats],
    Page[CloudEvent],
    Accepted,
    Explanation,
    Report,
    Simulation,
    SequenceImpact,
)

_KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and request get the same answer for 24 hours; another request under it is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of the application's routes."""
    found = get_openapi(
        title="Coldstream",
        version="1",
        openapi_version="3.1.0",
        description="Self-hosted cold email in which every decision is an event.",
        routes=app.routes,
    )
    named = found.setdefault("components", {}).setdefault("schemas", {})
    shared = found["components"].setdefault("responses", {})
    for path in found["paths"].values():
        for method, operation in path.items():
            if method == "post":
                operation.setdefault("parameters", []).append(_KEY_PARAMETER)
            # The problems are the same everywhere, so they stand once.
            for status in [each for each in operation["responses"] if each >= "400"]:
                shared[status] = operation["responses"][status]
                operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}
    for unused in ("HTTPValidationError", "ValidationError"):
        named.pop(unused, None)
    named |= components([*SHOWN, ProblemBody])
    found["components"]["securitySchemes"] = {
        "api_key": {"type": "http", "scheme": "bearer", "description": "An API key, `cs_…`"}
    }
    return found
