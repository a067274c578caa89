"""What can go wrong in a request, as RFC 9457 problems with stable codes; never tells what another team has."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import asyncpg
import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from services.api.rules.text import Refused

MEDIA_TYPE = "application/problem+json"
# Long enough for a failover to finish, short enough that nobody waits for nothing (reliability.md F19: ≤ 10 s).
RETRY_AFTER_S = 5

Code = Literal[
    "malformed_json",
    "unauthenticated",
    "missing_scope",
    "not_found",
    "method_not_allowed",
    "already_exists",
    "wrong_state",
    "not_ready",
    "plan_limit",
    "idempotency_in_flight",
    "idempotency_mismatch",
    "stale_revision",
    "body_too_large",
    "unsupported_media_type",
    "invalid",
    "rate_limited",
    "unavailable",
    "position_not_reached",
    "internal",
]
CATALOGUE: Final[Mapping[Code, tuple[int, str]]] = {
    "malformed_json": (400, "The body is not JSON"),
    "unauthenticated": (401, "No valid API key"),
    "missing_scope": (403, "The key may not do this"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This path does not know the method"),
    "already_exists": (409, "It exists already"),
    "wrong_state": (409, "Its state does not allow this"),
    "not_ready": (409, "Something is missing first"),
    "plan_limit": (409, "The team's limit is reached"),
    "idempotency_in_flight": (409, "The first request with this key is still being worked on"),
    "stale_revision": (412, "It was changed in the meantime"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be application/json"),
    "invalid": (422, "The request is not valid"),
    "idempotency_mismatch": (422, "This key was used for another request"),
    "rate_limited": (429, "Too many requests"),
    "internal": (500, "A fault of ours"),
    "unavailable": (503, "Not available just now"),
    "position_not_reached": (503, "The read side has not come so far yet"),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong: where (`pointer` into the body, or a `parameter`), which rule, and what to do."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    mend: str | None = None


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    code: Code
    detail: str | None = None
    errors: list[Fault] | None = None


class Problem(Exception):  # noqa: N818  RFC 9457's word
    """The one exception that routes raise; the edge turns it into its answer and the transaction rolls back."""

    def __init__(
        self, code: Code, detail: str | None = None, *, errors: Sequence[Fault] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code: Code = code
        self.status = CATALOGUE[code][0]
        self.detail = detail
        self.errors = list(errors)
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """The answer, with the headers that its status asks for."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = ProblemBody(
            type=f"urn:coldstream:problem:{self.code}",
            title=CATALOGUE[self.code][1],
            status=self.status,
            code=self.code,
            detail=self.detail,
            errors=self.errors or None,
        )
        return Response(msgspec.json.encode(body), self.status, headers, MEDIA_TYPE)


def not_found(noun: str, *, pointer: str | None = None, parameter: str | None = None) -> Problem:
    """The answer to an id that is nobody's and to one that is another team's: the same (reliability.md B31)."""
    detail = f"there is no such {noun}"
    place = Fault(code="not_found", detail=detail, pointer=pointer, parameter=parameter)
    return Problem("not_found", detail, errors=[place] if pointer or parameter else [])


def refused(reason: Refused, *, pointer: str | None = None, parameter: str | None = None) -> Problem:
    """A value that a rule refused, as a problem with its place."""
    fault = Fault(code=reason.code, detail=str(reason), mend=reason.mend, pointer=pointer, parameter=parameter)
    return Problem("invalid", errors=[fault])


def unavailable(detail: str) -> Problem:
    """The database cannot serve the request now: worth trying again, with the same Idempotency-Key."""
    return Problem("unavailable", detail, retry_after_s=RETRY_AFTER_S)


def pointer_to(path: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of keys and indexes; half a surrogate pair is shown as `?`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "".join(f"/{part}" for part in parts).encode("utf-8", "replace").decode()


def of_validation(error: RequestValidationError) -> Problem:
    """Pydantic's findings as faults with their places; what was sent is not repeated, it may be a secret."""
    return Problem("invalid", errors=[fault_of(found, found["loc"]) for found in error.errors()])


def fault_of(found: Mapping[str, Any], path: Sequence[str | int]) -> Fault:
    """One of pydantic's findings; `path` starts with the part of the request it is in."""
    place, rest = (path[0], path[1:]) if path else ("body", ())
    in_body = place == "body"
    return Fault(
        code=str(found["type"]),
        detail=str(found["msg"]),
        mend=found.get("ctx", {}).get("mend"),
        pointer=pointer_to(rest) if in_body else None,
        parameter=None if in_body else str(rest[-1] if rest else place),
    )


def of_database(error: Exception) -> Problem | None:
    """The problem behind an error of the database, or None where it is a fault of ours."""
    match error:
        case asyncpg.UniqueViolationError():
            return Problem("already_exists", _constraint("something with the same name exists already", error))
        case asyncpg.ForeignKeyViolationError():
            return Problem("not_found", "something that the request names is gone")
        case asyncpg.CheckViolationError():
            fault = Fault(code="check", detail=f"the rule {error.constraint_name} of {error.table_name} is broken")
            return Problem("invalid", errors=[fault])
        case asyncpg.InvalidParameterValueError() | asyncpg.StringDataRightTruncationError():
            return Problem("invalid", "a value is out of its range or too long")
        case (
            asyncpg.PostgresConnectionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.LockNotAvailableError()
            | asyncpg.InterfaceError()
            | asyncpg.InternalClientError()
            | asyncpg.ReadOnlySQLTransactionError()
            | asyncpg.InvalidAuthorizationSpecificationError()
            | TimeoutError()
            | OSError()
        ):
            return unavailable("the database does not answer as it should; try again with the same Idempotency-Key")
        case _:
            return None


def _constraint(detail: str, error: asyncpg.UniqueViolationError) -> str:
    return f"{detail} ({error.constraint_name})"
