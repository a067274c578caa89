"""`coldstream up` and `coldstream demo`: the platform on this machine; must never leave a process of its own behind."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from rich.live import Live
from rich.table import Table

from deploy.commands.terminal import DONE, NO, UNREACHED, carry_out, print_json, print_line, progress
from deploy.local.client import ApiError
from deploy.local.demo import Play, Scene
from deploy.local.driver import StuckError
from deploy.local.platform import Platform, Ready, Say
from deploy.local.ports import PortTakenError
from deploy.local.processes import ProcessError
from deploy.local.receipt import Behaved, Counted, Receipt
from deploy.local.servers import ServerError

LOOK_EVERY_S = 0.25


def up(data_dir: Path | None, *, api_port: int, as_json: bool) -> int:
    """Runs the platform on its data directory until SIGTERM or Ctrl-C, then drains and returns DONE."""
    return _launch(_up(data_dir or _default_directory(), api_port=api_port, as_json=as_json))


def demo(leads: int, *, headless: bool, as_json: bool) -> int:
    """Plays the demo in a directory of its own; NO when a promise is broken, and then the directory is kept."""
    directory = Path(tempfile.mkdtemp(prefix="coldstream-demo-"))
    code = _launch(_demo(directory, leads, headless=headless, as_json=as_json))
    if code == DONE:
        shutil.rmtree(directory)
    else:
        progress.print(f"kept for a look: {directory}", markup=False)
    return code


def _launch(work: Coroutine[Any, Any, int]) -> int:
    try:
        return carry_out(work)
    except (ServerError, ProcessError, PortTakenError) as error:
        progress.print(str(error), markup=False)
        return UNREACHED
    except (StuckError, ApiError) as error:
        progress.print(f"BROKEN: {error}", style="red", markup=False)
        return NO


async def _up(directory: Path, *, api_port: int, as_json: bool) -> int:
    _end_by_signal()
    try:
        async with AsyncExitStack() as stack:
            platform = await Platform.start(directory, api_port=api_port, say=_steps())
            stack.push_async_callback(platform.stop)
            _show_ready(platform.ready, directory, as_json=as_json)
            await platform.failed()
    except asyncio.CancelledError:
        progress.print("drained")
    return DONE


async def _demo(directory: Path, leads: int, *, headless: bool, as_json: bool) -> int:
    _end_by_signal()
    play = Play(directory, leads=leads, say=_steps())
    watching = None if headless else asyncio.create_task(_watch(play))
    try:
        counted = await play.run()
    except asyncio.CancelledError:
        progress.print("ended before the end")
        return NO
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    _show_receipt(counted, as_json=as_json)
    return NO if counted.broken else DONE


def _end_by_signal() -> None:
    """SIGTERM and Ctrl-C cancel the work, which then drains; a second one hurries the drain."""
    work = asyncio.current_task()
    assert work is not None  # noqa: S101 - called from a coroutine
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)


async def _watch(play: Play) -> None:
    """The live table, on stderr."""
    with Live(console=progress, refresh_per_second=4, transient=True) as live:
        while True:
            scene = await play.look()
            if scene is not None:
                live.update(_table(scene))
            await asyncio.sleep(LOOK_EVERY_S)


def _table(scene: Scene) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in msgspec.structs.asdict(scene).items():
        shown = f"{value:%a %d %b %Y, %H:%M}" if name == "business_time" else str(value)
        table.add_row(name.replace("_", " "), shown)
    return table


def _show_ready(ready: Ready, directory: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(ready, one_line=True)
        return
    for name, value in msgspec.structs.asdict(ready).items():
        print_line(f"{name:<13}{value}")
    progress.print(f"kept in {directory}; Ctrl-C drains and ends", markup=False)


def _show_receipt(counted: Counted, *, as_json: bool) -> None:
    if as_json:
        print_json(counted.receipt, one_line=True)
    else:
        _show_figures(counted.receipt)
    for promise in counted.broken:
        progress.print(f"BROKEN: {promise}", style="red", markup=False)
    if not counted.broken:
        progress.print("every promise was kept", style="green")


def _show_figures(receipt: Receipt) -> None:
    figures = msgspec.structs.asdict(receipt)
    arms, behaviours = figures.pop("variants"), figures.pop("behaviours")
    for name, value in figures.items():
        print_line(f"{name:<17}{value}")
    for arm in arms:
        print_line(f"step {arm.step} arm {arm.arm}     {arm.sent} sent, {arm.replied} answered")
    names = Behaved.__struct_fields__
    print_line(f"{'':<17}{'  '.join(names)}")
    for word, behaved in behaviours.items():
        counts = [str(getattr(behaved, name) or "").rjust(len(name)) for name in names]
        print_line(f"{word:<17}{'  '.join(counts)}".rstrip())


def _steps() -> Say:
    """Says each step with the seconds since the start."""
    began = time.monotonic()
    return lambda step: progress.print(f"{time.monotonic() - began:6.1f} s  {step}", markup=False)


def _default_directory() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "coldstream"
