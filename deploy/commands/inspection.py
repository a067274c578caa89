"""What would be made of message files; must never need a database, a setting or a server."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from deploy.commands.terminal import DONE, NO, print_json, print_line, progress
from services.replies.rules.inspection import InspectedRecipient, Inspection
from services.replies.rules.inspection import inspect as read_message

STDIN = "-"


def inspect(named: list[Path], *, as_json: bool) -> int:
    """Prints what `replies` would make of each message; NO, after all the others, where one could not be read.

    `-` is stdin, and a directory stands for its *.eml files. With `as_json` each message is one object on a line.
    """
    code = DONE
    for file in _files(named):
        try:
            inspection = read_message(sys.stdin.buffer.read() if str(file) == STDIN else file.read_bytes())
        except OSError as error:
            progress.print(f"{file}: {error.strerror}", markup=False)
            code = NO
            continue
        name = os.fsencode(file).decode("utf-8", "replace")
        if as_json:
            found: dict[str, Any] = msgspec.to_builtins(inspection)
            print_json({"file": name, **found}, one_line=True)
        else:
            print_line("\n".join([f"{name}: {inspection.kind}", *(f"  {line}" for line in _lines(inspection))]))
    return code


def _files(named: list[Path]) -> Iterator[Path]:
    """The files themselves, and in a directory's place its messages in the order of their names."""
    for path in named:
        yield from sorted(path.glob("*.eml")) or [path]


def _lines(inspection: Inspection) -> list[str]:
    """For people: what there is to say, and nothing about the rest."""
    lines = [f"recipient: {_recipient(each)}" for each in inspection.recipients]
    if inspection.intent and inspection.confidence is not None:
        lines.append(f"intent: {inspection.intent} ({inspection.confidence:.0%})")
    if inspection.return_date:
        lines.append(f"returns: {inspection.return_date:%A, %Y-%m-%d}")
    if inspection.left_company:
        lines.append("has left the company")
    if inspection.matched_message_id:
        lines.append(f"about: {inspection.matched_message_id}")
    return lines


def _recipient(recipient: InspectedRecipient) -> str:
    why = " ".join(filter(None, (recipient.code, recipient.status, recipient.reason.replace("_", " "))))
    return f"{recipient.address or 'nobody named'} {recipient.bounce_class}{f' ({why})' if why else ''}"
