"""Answers and how they are documented: a Struct is encoded once, its schema is named where the route is declared."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from services.api.problems import CATALOGUE, MEDIA_TYPE, ProblemBody

REF = "#/components/schemas/{name}"
_encoder = msgspec.json.Encoder()
_ProblemContent = {MEDIA_TYPE: {"schema": {"$ref": REF.format(name=ProblemBody.__name__)}}}


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """The value as JSON; headers are given in Python's spelling (`location`, `etag`)."""
    return Response(_encoder.encode(value), status, headers, "application/json")


def nothing() -> Response:
    """The answer of a command that leaves nothing to show."""
    return Response(status_code=204)


def etag(revision: int) -> str:
    """A revision as an entity tag (RFC 9110 §8.8.3)."""
    return f'"{revision}"'


def shows(kind: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What a route answers when it goes well, for its `responses`."""
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return {status: {"content": {"application/json": {"schema": schema}}}}


def shows_either(*kinds: Any) -> dict[int | str, dict[str, Any]]:
    """What a route answers that shows one thing or another, as it was asked."""
    schemas, _ = msgspec.json.schema_components(list(kinds), ref_template=REF)
    return {200: {"content": {"application/json": {"schema": {"oneOf": list(schemas)}}}}}


def problems() -> dict[int | str, dict[str, Any]]:
    """What any route may answer when it does not, for a router's `responses`."""
    titles: dict[int, list[str]] = {}
    for status, title in CATALOGUE.values():
        titles.setdefault(status, []).append(title)
    return {
        status: {"description": "; ".join(names), "content": _ProblemContent}
        for status, names in sorted(titles.items())
        if status != 500
    }


def components(kinds: Sequence[Any]) -> dict[str, Any]:
    """The schemas of all these kinds by name."""
    _, named = msgspec.json.schema_components(list(kinds), ref_template=REF)
    return named
