"""Commands that prove: replay rebuilds, verify-sends compares; must never mend unless that is asked for."""

from pathlib import Path

import msgspec

from deploy.commands.terminal import DONE, NO, UNREACHED, carry_out, print_json, print_table, progress
from deploy.local.sent import MailAccess
from deploy.local.verdict import SentFolders, Verdict
from deploy.local.verify import verify_sends as compare
from libs.schema.runtime.settings import load
from services.analytics.queries.shadow import TableDifference
from services.analytics.rebuild import RebuildRunningError, StreamCutError, rebuild

SHOWN = 100  # disagreements printed as text; --json has all


def replay(database_url: str, nats_url: str, *, apply: bool, as_json: bool) -> int:
    """Prints what a rebuild from the first event finds, table by table; NO when it differs from what was live."""

    async def work() -> int:
        difference = await rebuild(database_url, nats_url, apply=apply)
        if as_json:
            print_json(difference)
        else:
            columns = [field.name for field in msgspec.structs.fields(TableDifference)]
            rows = [[str(getattr(table, column)) for column in columns] for table in difference.tables]
            print_table(columns, rows)
            outcome = "equal" if difference.equal else "mended" if difference.mended else "different"
            progress.print(f"{difference.events} events up to {difference.until}: {outcome}")
        return DONE if difference.equal else NO

    try:
        return carry_out(work())
    except (RebuildRunningError, StreamCutError) as error:
        progress.print(str(error), markup=False)
        return NO


def verify_sends(database_url: str, nats_url: str, *, sent: bool, data_dir: Path | None, as_json: bool) -> int:
    """Prints what was compared and what does not agree: NO if anything does not, else UNREACHED if not all was read."""

    async def work() -> int:
        verdict = await compare(database_url, nats_url, _access(data_dir) if sent else None)
        if as_json:
            print_json(verdict)
        else:
            _show_verdict(verdict)
        if not verdict.agree:
            return NO
        return DONE if verdict.is_whole else UNREACHED

    return carry_out(work())


def _access(data_dir: Path | None) -> MailAccess:
    if data_dir is None:
        return load(MailAccess)
    from deploy.local.platform import kept_mail_access  # noqa: PLC0415 - it brings the whole platform along

    return kept_mail_access(data_dir)


def _show_verdict(verdict: Verdict) -> None:
    if not verdict.agree:
        shown = verdict.disagreements[:SHOWN]
        print_table(["between", "id", "what"], [[found.between, found.id, found.text] for found in shown])
    progress.print(
        f"{verdict.ledger} in the ledger, {verdict.emails} emails, {verdict.event_log} events in the journal, "
        f"{verdict.stream} in the stream, {verdict.unpublished} not published yet"
    )
    if verdict.sent is not None:
        _show_sent(verdict.sent)
    progress.print(f"{len(verdict.disagreements)} disagreements")


def _show_sent(sent: SentFolders) -> None:
    progress.print(
        f"{sent.mailboxes} Sent folders: of {sent.accepted} accepted {sent.found} found and {sent.not_found} not "
        f"(unconfirmed), {sent.duplicates} duplicates, {sent.unledgered} in no ledger"
    )
    for each in sent.unread:
        progress.print(f"NOT READ: {each.mailbox} ({each.sends} sends): {each.reason}", style="yellow", markup=False)
