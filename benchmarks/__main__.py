"""`python -m benchmarks [NAME…] [--quick] [--json]`: the benches one after the other, a row as each is measured."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

import msgspec

from benchmarks import delivery, handlers, inbound, message, plan_job, planner, poll, project, relay
from benchmarks.ground import Ground
from benchmarks.harness import FULL, QUICK, Bench, Row, Scale
from libs.schema.runtime import telemetry

BENCHES: dict[str, Bench] = {
    "relay": relay.run,
    "project": project.run,
    "handlers": handlers.run,
    "planner": planner.run,
    "plan_job": plan_job.run,
    "delivery": delivery.run,
    "inbound": inbound.run,
    "poll": poll.run,
    "message": message.run,
}
HEADER = f"{'bench':<9} {'what':<38} {'unit':<12} {'ours':>10} {'bare':>10} {'ratio':>6} {'goal':>5}"


def main() -> None:
    """Reads the command line and prints a table, or with --json one object a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against bare baselines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; none: all")
    parser.add_argument(
        "--quick", action="store_true", help="one small round each: shows that they run, measures little"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHES.keys():
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    chosen = [bench for name, bench in BENCHES.items() if name in (options.names or BENCHES)]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        _log_to(nowhere)
        asyncio.run(_run(chosen, QUICK if options.quick else FULL, as_json=options.json))


async def _run(benches: list[Bench], scale: Scale, *, as_json: bool) -> None:
    if not as_json:
        print(HEADER)
    async with Ground() as ground:
        for bench in benches:
            for row in await bench(ground, scale):
                print(msgspec.json.encode(row).decode() if as_json else _line(row), flush=True)


def _line(row: Row) -> str:
    goal = "" if row.goal is None else f"{row.goal:.2f}"
    rates = f"{row.ours:>10,.0f} {row.bare:>10,.0f} {row.ratio:>6.2f} {goal:>5}"
    note = f"\n{'':<10}{row.note}" if row.note else ""
    return f"{row.bench:<9} {row.what:<38} {row.unit:<12} {rates}{note}"


def _log_to(nowhere: TextIO) -> None:
    """What is measured formats its log lines as it does in earnest; they are only not shown."""
    telemetry.configure("bench", log_level="info", otlp_endpoint=None)
    logging.getLogger().handlers = [_redirected(handler, nowhere) for handler in logging.getLogger().handlers]


def _redirected(handler: logging.Handler, nowhere: TextIO) -> logging.Handler:
    silent = logging.StreamHandler(nowhere)
    silent.setFormatter(handler.formatter)
    return silent


if __name__ == "__main__":
    sys.exit(main())
