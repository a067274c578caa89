"""The OpenAPI document is committed and is what the application says; COLDSTREAM_GOLDEN=1 writes it anew."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from services.api.app import api_app
from services.api.limits import Limiter
from services.api.openapi import document

COMMITTED = Path(__file__).parent / "openapi.json"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    runtime: Any = None  # no request is made
    return document(api_app(runtime, Limiter(per_second=1, burst=1)))


def test_the_committed_document_is_the_applications(described: dict[str, Any]) -> None:
    text = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("COLDSTREAM_GOLDEN"):
        COMMITTED.write_text(text, encoding="utf-8")
    assert COMMITTED.read_text(encoding="utf-8") == text


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    named = {f"#/components/{kind}/{name}" for kind, all_of in described["components"].items() for name in all_of}
    references = set(find(described, "$ref"))
    assert references
    assert references <= named


def test_every_operation_declares_its_permission_and_its_problems(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["security"][0]["api_key"], (method, path)
            declared = set(operation["responses"])
            assert declared >= {"400", "401", "403", "404", "409", "413", "415", "422", "429", "503"}, (method, path)
            has_key = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
            assert has_key == (method == "post"), (method, path)


def test_paths_are_kebab_case_under_v1(described: dict[str, Any]) -> None:
    assert len(described["paths"]) > 20
    for path in described["paths"]:
        assert path.startswith("/v1/")
        assert "_" not in "".join(part for part in path.split("/") if not part.startswith("{"))


def find(value: Any, name: str) -> list[str]:
    """Every value that stands under this name, however deep."""
    inner: list[Any] = []
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if name in entries:
            return [entries[name]]
        inner = list(entries.values())
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    return [found for each in inner for found in find(each, name)]
