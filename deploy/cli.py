"""The `coldstream` command: what can be asked for. Must never import the work before it is asked for.

Data goes to stdout, progress and errors to stderr. Exit codes: 0 done; 1 the answer is no (a promise is broken, a check
failed, sources disagree); 2 wrong use of the command; 3 a setting is missing or a server cannot be reached. Only
`explain` answers in codes of its own: 0 the mail will be sent, 3 it waits or is held, 4 there will be none.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import typer

app = typer.Typer(
    name="coldstream",
    help="Self-hosted cold email in which every decision is an event.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done · 1 the answer is no · 2 wrong use · 3 setting missing or server not reached.",
)
parked = typer.Typer(help="Events that a handler or projection failed on too often.", no_args_is_help=True)
events = typer.Typer(help="The event stream.", no_args_is_help=True)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
config = typer.Typer(help="Settings.", no_args_is_help=True)
app.add_typer(parked, name="parked")
app.add_typer(events, name="events")
app.add_typer(keys, name="keys")
app.add_typer(config, name="config")

Role: TypeAlias = Literal["api", "api.webhooks", "sender", "warmup", "replies", "analytics"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DatabaseUrl = Annotated[
    str, typer.Option(envvar="COLDSTREAM_DATABASE_URL", show_envvar=True, help="PostgreSQL, with the owner's login.")
]
Pepper = Annotated[
    str | None, typer.Option(envvar="COLDSTREAM_PEPPER", show_envvar=True, help="The installation's pepper, base64.")
]
NatsUrl = Annotated[str, typer.Option(envvar="COLDSTREAM_NATS_URL", show_envvar=True, help="NATS with JetStream.")]


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept. [default: the user's data directory]")
    ] = None,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one, and keeps it.")] = 0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when everything is ready.")] = False,
) -> None:
    """Run the whole platform on this machine with a sandbox mail world, until Ctrl-C or SIGTERM."""
    from deploy.commands.local import up  # noqa: PLC0415 - see the module's docstring; so below

    raise typer.Exit(up(data_dir, api_port=api_port, as_json=as_json))


@app.command()
def demo(
    leads: Annotated[int, typer.Option(min=9, max=1000, help="How many people to write to.")] = 300,
    *,
    headless: Annotated[bool, typer.Option("--headless", help="No live table.")] = False,
    as_json: Json = False,
) -> None:
    """Play a whole campaign in a sandbox world on a jumping clock; ends with a receipt, exit 1 if a promise broke."""
    from deploy.commands.local import demo  # noqa: PLC0415

    raise typer.Exit(demo(leads, headless=headless, as_json=as_json))


@app.command()
def run(role: Annotated[Role, typer.Argument()]) -> None:
    """Run one service in this process, with its settings from the environment."""
    from deploy.commands.operate import run  # noqa: PLC0415

    raise typer.Exit(run(role))


@app.command()
def migrate(
    database_url: DatabaseUrl,
    nats_url: Annotated[str | None, typer.Option(envvar="COLDSTREAM_NATS_URL", help="Set up the stream too.")] = None,
) -> None:
    """Bring the database up to date, each file once; with a NATS URL, make the stream and its consumers."""
    from deploy.commands.database import migrate  # noqa: PLC0415

    raise typer.Exit(migrate(database_url, nats_url))


@app.command()
def reset(
    database_url: DatabaseUrl,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Really drop every table of Coldstream with all its rows.")
    ] = False,
) -> None:
    """Drop all that `migrate` made, for development."""
    from deploy.commands.database import reset  # noqa: PLC0415

    raise typer.Exit(reset(database_url, yes=yes))


@app.command()
def replay(
    database_url: DatabaseUrl,
    nats_url: NatsUrl,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write the rows that differ.")] = False,
    as_json: Json = False,
) -> None:
    """Rebuild every projection from the first event and compare it with the live one; exit 1 when they differ."""
    from deploy.commands.proofs import replay  # noqa: PLC0415

    raise typer.Exit(replay(database_url, nats_url, apply=apply, as_json=as_json))


@app.command(name="verify-sends")
def verify_sends(
    database_url: DatabaseUrl,
    nats_url: NatsUrl,
    *,
    sent: Annotated[
        bool,
        typer.Option("--sent/--no-sent", help="Read each mailbox's Sent folder, with the settings of replies."),
    ] = True,
    data_dir: Annotated[
        Path | None, typer.Option(help="Of `coldstream up`: what opens the mailboxes is taken from there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare ledger, emails, journal, stream and Sent folders; print what does not agree; exit 1 if anything does not.

    Exit 3 when a mailbox could not be read: it is named, and proves nothing.
    """
    from deploy.commands.proofs import verify_sends  # noqa: PLC0415

    raise typer.Exit(verify_sends(database_url, nats_url, sent=sent, data_dir=data_dir, as_json=as_json))


@app.command()
def explain(
    database_url: DatabaseUrl,
    lead: Annotated[str, typer.Argument(help="The lead's id or address.")],
    at: Annotated[str | None, typer.Option(help="Another instant than now, past or future, as in RFC 3339.")] = None,
    team_id: Annotated[UUID | None, typer.Option("--team", help="Whose lead, where several teams have it.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Tell why a lead is mailed, is not, or when, gate by gate; exit 0 will send, 3 waits or is held, 4 never."""
    from deploy.commands.forecast import explain  # noqa: PLC0415

    raise typer.Exit(explain(database_url, lead, at, team_id, as_json=as_json))


@app.command()
def simulate(
    database_url: DatabaseUrl,
    campaign_id: Annotated[UUID, typer.Argument()],
    pepper: Pepper = None,
    start_at: Annotated[str | None, typer.Option(help="When a campaign that does not run is started.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Run a whole campaign on a virtual clock, by the planner's own rounds; exit 1 when it reaches no end."""
    from deploy.commands.forecast import simulate  # noqa: PLC0415

    raise typer.Exit(simulate(database_url, campaign_id, pepper, start_at, as_json=as_json))


@app.command()
def preflight(
    database_url: DatabaseUrl,
    campaign_id: Annotated[UUID, typer.Argument()],
    pepper: Pepper = None,
    public_url: Annotated[
        str, typer.Option(envvar="COLDSTREAM_PUBLIC_URL", show_envvar=True, help="Where unsubscribe links lead.")
    ] = "http://127.0.0.1:8081",
    *,
    as_json: Json = False,
) -> None:
    """Name everything that would go wrong with a campaign, each with its mend; exit 1 when it may not be started."""
    from deploy.commands.forecast import preflight  # noqa: PLC0415

    raise typer.Exit(preflight(database_url, campaign_id, pepper, public_url, as_json=as_json))


@app.command()
def inspect(
    files: Annotated[
        list[Path], typer.Argument(help="Messages, directories of *.eml files, or - for stdin.", allow_dash=True)
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object a line for each message.")] = False,
) -> None:
    """Tell what `replies` would make of messages: report, automatic reply, reply and its intent."""
    from deploy.commands.inspection import inspect  # noqa: PLC0415

    raise typer.Exit(inspect(files, as_json=as_json))


@app.command()
def labelled(
    database_url: DatabaseUrl,
    *,
    with_text: Annotated[bool, typer.Option("--with-text", help="Print the words, too: personal data.")] = False,
) -> None:
    """Print the replies that people have classified by hand, a JSON object a line, as cases for the rules."""
    from deploy.commands.labelled import labelled  # noqa: PLC0415

    raise typer.Exit(labelled(database_url, with_text=with_text))


@parked.command(name="list")
def parked_list(database_url: DatabaseUrl, *, as_json: Json = False) -> None:
    """List what is parked, oldest first."""
    from deploy.commands.messages import parked_list  # noqa: PLC0415

    raise typer.Exit(parked_list(database_url, as_json=as_json))


@parked.command(name="retry")
def parked_retry(
    database_url: DatabaseUrl,
    event_ids: Annotated[list[UUID] | None, typer.Argument(help="Which; all when none is named.")] = None,
    consumer: Annotated[str | None, typer.Option(help="Only this consumer's.")] = None,
) -> None:
    """Have parked events run again by their consumers."""
    from deploy.commands.messages import parked_retry  # noqa: PLC0415

    raise typer.Exit(parked_retry(database_url, event_ids or [], consumer))


@events.command(name="tail")
def events_tail(
    nats_url: NatsUrl,
    subject: Annotated[str, typer.Argument(help="As NATS matches it: 'email.sent.*', 'bounce.>'.")] = ">",
    *,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the first event.")] = False,
) -> None:
    """Print events as they come, one CloudEvent a line, until Ctrl-C."""
    from deploy.commands.messages import events_tail  # noqa: PLC0415

    raise typer.Exit(events_tail(nats_url, subject, from_start=from_start))


@keys.command(name="create")
def keys_create(
    database_url: DatabaseUrl,
    team_id: Annotated[UUID, typer.Option("--team", help="Whose key it is.")],
    name: Annotated[str, typer.Option(help="What it is for.")],
    *,
    as_json: Json = False,
) -> None:
    """Make an API key and print it, once."""
    from deploy.commands.keys import create  # noqa: PLC0415

    raise typer.Exit(create(database_url, team_id, name, as_json=as_json))


@config.command(name="show")
def config_show(
    role: Annotated[Role, typer.Argument(help="Whose settings.")],
    *,
    as_json: Json = False,
) -> None:
    """Print a service's settings as it would read them now, secrets left out."""
    from deploy.commands.operate import config_show  # noqa: PLC0415

    raise typer.Exit(config_show(role, as_json=as_json))


@app.command()
def health(
    ops_port: Annotated[int, typer.Option(envvar="COLDSTREAM_OPS_PORT", show_envvar=True, min=1, max=65535)],
) -> None:
    """Ask the process on this machine's ops port whether it is ready; exit 1 when it is not."""
    import asyncio  # noqa: PLC0415

    from deploy.local.processes import answers_ready  # noqa: PLC0415

    ready = asyncio.run(answers_ready(ops_port))
    typer.echo("ready" if ready else "not ready", err=True)
    raise typer.Exit(0 if ready else 1)


@app.command()
def pause(database_url: DatabaseUrl, reason: Annotated[str, typer.Option(help="Why; shown to everybody.")]) -> None:
    """Stop all sending of this installation at once: nothing passes the point of no return after this returns."""
    from deploy.commands.operate import pause  # noqa: PLC0415

    raise typer.Exit(pause(database_url, reason))


@app.command()
def unpause(database_url: DatabaseUrl) -> None:
    """Let the installation send again, after a pause or a restore."""
    from deploy.commands.operate import unpause  # noqa: PLC0415

    raise typer.Exit(unpause(database_url))


@app.command()
def version(*, as_json: Json = False) -> None:
    """Print the version."""
    from importlib.metadata import version  # noqa: PLC0415

    number = version("coldstream")
    typer.echo(f'{{"version": "{number}"}}' if as_json else number)


if __name__ == "__main__":
    app()
