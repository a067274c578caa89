"""Supervised children: they come back when they die, drain when they are told to, and say why they did not start."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from deploy.local.processes import ProcessError, Supervised
from tests.support import eventually

READY = "import os, time; open(os.environ['READY'], 'w').close(); time.sleep(60)"
DRAINS = """
import os, signal, sys, time
def drain(*_):
    print('drained', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
open(os.environ['READY'], 'w').close()
time.sleep(60)
"""
Make: TypeAlias = Callable[[str, float], Supervised]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes supervised Python programs that are ready when the file named by READY is there."""
    made: list[Supervised] = []

    def child(program: str, ready_timeout_s: float) -> Supervised:
        async def is_ready() -> bool:
            return (tmp_path / "ready").exists()

        made.append(
            Supervised(
                name="child",
                command=[sys.executable, "-c", program],
                environment=os.environ | {"READY": str(tmp_path / "ready")},
                log=tmp_path / "log",
                is_ready=is_ready,
                ready_timeout_s=ready_timeout_s,
            )
        )
        return made[-1]

    yield child
    for each in made:
        await each.stop()


async def test_a_killed_child_comes_back_as_another_process(make: Make) -> None:
    child = make(READY, 30)
    await child.start()
    await child.wait_ready()
    first = child.pid
    assert child.kill()
    second = await eventually(lambda: child.pid if child.pid != first else None)
    assert second is not None
    assert child.restarts == 1


async def test_a_child_that_dies_at_once_is_started_ever_more_slowly(make: Make) -> None:
    child = make("raise SystemExit(1)", 30)
    await child.start()
    await eventually(lambda: child.restarts >= 2)
    assert child.restarts < 5


async def test_stop_lets_the_child_drain_and_tells_its_exit_code(make: Make, tmp_path: Path) -> None:
    child = make(DRAINS, 30)
    await child.start()
    await child.wait_ready()
    assert await child.stop() == 0
    assert (tmp_path / "log").read_text() == "drained\n"
    assert child.pid is None


async def test_a_child_that_was_stopped_stays_stopped(make: Make) -> None:
    child = make(READY, 30)
    await child.start()
    await child.wait_ready()
    assert await child.stop() == -signal.SIGTERM
    assert not child.kill()
    assert child.restarts == 0


async def test_a_child_that_never_gets_ready_is_told_with_the_end_of_its_log(make: Make) -> None:
    child = make("raise SystemExit('no such mailbox')", 0.5)
    await child.start()
    with pytest.raises(ProcessError, match=r"child did not become ready(?s:.*)no such mailbox"):
        await child.wait_ready()
