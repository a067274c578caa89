"""Runs the `coldstream` command as a user does: a process of its own, its exit code, its two outputs."""

import asyncio
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, kw_only=True)
class Done:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return msgspec.json.decode(self.out)


def without_settings() -> dict[str, str]:
    """This environment without COLDSTREAM_*, as on a machine that has never heard of us."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COLDSTREAM_")}


async def coldstream(*arguments: str, environ: Mapping[str, str] | None = None, timeout_s: float = 60) -> Done:
    """What `coldstream ARGUMENTS` says, with COLDSTREAM_* from `environ` only."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli",
        *arguments,
        env=without_settings() | {"COLUMNS": "200"} | dict(environ or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    return Done(code=process.returncode or 0, out=out.decode(), err=err.decode())


def children_cpu_s() -> float:
    """The processor seconds of all children that have ended: unlike a watch, no busy neighbour makes it longer."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
