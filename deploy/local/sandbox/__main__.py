"""`python -m deploy.local.sandbox`: runs a mail world until SIGTERM or Ctrl-C; must never leave one half stopped."""

import argparse
import asyncio
import json
import signal
from datetime import timedelta
from pathlib import Path

from deploy.local.sandbox.smtp import Habits
from deploy.local.sandbox.world import A_DAY, EVERYDAY, PORTS, MailWorld


def main() -> None:
    """Reads the command line, prints where the world is (with --json as one line of JSON), runs it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.sandbox", description="A mail world on loopback.")
    parser.add_argument("--data-dir", type=Path, required=True, help="mailboxes, log, CA and ports are kept here")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    parser.add_argument("--longest-delay-s", type=float, default=A_DAY.total_seconds(), help="0: answer at once")
    parser.add_argument("--no-sent", action="store_true", help="do not file submitted mail in Sent")
    parser.add_argument("--tarpit-s", type=float, default=EVERYDAY.tarpit_s, help="how long a tarpit takes, real time")
    for name in PORTS:
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0: the kept one, else a free one")
    asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    ports = {name: getattr(options, f"{name}_port") for name in PORTS}
    delay = timedelta(seconds=options.longest_delay_s)
    habits = Habits(keeps_sent=not options.no_sent, tarpit_s=options.tarpit_s)
    async with MailWorld(options.data_dir, ports=ports, longest_delay=delay, habits=habits) as world:
        _say(world, as_json=options.json)
        stopping = asyncio.create_task(stopped.wait())
        # a courier that failed must end the process, not leave a world in which nobody answers
        await asyncio.wait([world.task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()


def _say(world: MailWorld, *, as_json: bool) -> None:
    ready = {
        "smtp_host": "127.0.0.1",
        "smtp_port": world.smtp_port,
        "imap_host": "127.0.0.1",
        "imap_port": world.imap_port,
        "control_port": world.control_port,
        "ca_file": str(world.ca_file),
        "log_file": str(world.log_file),
    }
    text = json.dumps(ready) if as_json else "\n".join(f"{name}: {value}" for name, value in ready.items())
    print(text, flush=True)  # noqa: T201 - it is what the program is asked for


if __name__ == "__main__":
    main()
