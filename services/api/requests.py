"""A request's body: read within limits, parsed once, without what no column can hold; trusts no declared length."""

from typing import Any, cast

import msgspec
from fastapi import Request

from services.api.problems import Fault, Problem, pointer_to

MAX_BODY_BYTES = 1 << 20  # reliability.md B5
MAX_DEPTH = 32


class CheckedRequest(Request):
    """A request whose body cannot be larger, deeper or stranger than our limits."""

    parsed: Any = None

    async def body(self) -> bytes:
        """The body's bytes.

        Raises:
            Problem: body_too_large.

        """
        if not hasattr(self, "_body"):
            chunks: list[bytes] = []
            size = 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise Problem("body_too_large", f"at most {MAX_BODY_BYTES} bytes")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """The value of `parse`, for FastAPI."""
        return self.parsed

    async def parse(self) -> None:
        """Reads and checks the body, before FastAPI asks for it; a request without one is left alone.

        Raises:
            Problem: body_too_large, unsupported_media_type, malformed_json, or invalid.

        """
        body = await self.body()
        if not body:
            return
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem("unsupported_media_type")
        try:
            self.parsed = msgspec.json.decode(body)
        except RecursionError:
            raise _too_deep() from None
        except msgspec.DecodeError as error:
            raise Problem("malformed_json", str(error)) from error
        except UnicodeDecodeError:
            raise Problem("malformed_json", "the body is not UTF-8") from None
        _check(self.parsed)


def _check(value: Any) -> None:
    """Walks through all that was sent, with a list instead of recursion."""
    left: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while left:
        item, path = left.pop()
        if len(path) > MAX_DEPTH:
            raise _too_deep()
        if isinstance(item, str):
            if "\x00" in item:
                raise _nul(path)
        elif isinstance(item, dict):
            for key, inner in cast("dict[str, Any]", item).items():
                if "\x00" in key:
                    raise _nul(path)
                left.append((inner, (*path, key)))
        elif isinstance(item, list):
            left.extend((inner, (*path, index)) for index, inner in enumerate(cast("list[Any]", item)))


def _too_deep() -> Problem:
    return Problem("invalid", f"the body is nested more than {MAX_DEPTH} deep", errors=[])


def _nul(path: tuple[str | int, ...]) -> Problem:
    fault = Fault(
        code="control_character",
        detail="the character U+0000 is not allowed in any text",
        pointer=pointer_to(path),
        mend="remove it",
    )
    return Problem("invalid", errors=[fault])
