"""Wiring of replies: loops that ask the mailboxes, sort what came and do what people asked for. Decides nothing."""

from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec

from libs.schema.runtime import settings as runtime_settings
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.outgoing import Way
from libs.schema.runtime.service import Loop, Service, open_runtime
from services.replies.deps import Deps
from services.replies.imap import Network
from services.replies.jobs.classify import ask_model
from services.replies.jobs.commands import carry_out_commands
from services.replies.jobs.poll import poll
from services.replies.jobs.sort import sort_inbound
from services.replies.model import MAX_ANSWER_BYTES, IntentModel
from services.replies.sessions import Sessions


class Settings(runtime_settings.Settings, frozen=True, kw_only=True):
    """What replies is told beside what every process is told."""

    # How long a mailbox is left alone after it was asked, business seconds: while it is busy, and after days of quiet.
    poll_interval_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    poll_slowest_s: Annotated[float, msgspec.Meta(ge=0)] = 600.0
    # Whether servers may call between polls when a message came (IMAP's IDLE).
    imap_idle: bool = True
    # How many IMAP connections this process keeps at most.
    imap_sessions: Annotated[int, msgspec.Meta(ge=1)] = 500
    # The shortest time between two logins to one mailbox, real seconds: providers lock accounts that log in often.
    imap_login_gap_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    # A model that reads replies after the rules did (model.py has the contract); none without a URL.
    intent_model_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]{1,500}$")] | None = None
    intent_model_token: str | None = None
    intent_model_name: Annotated[str, msgspec.Meta(min_length=1, max_length=50)] = "model"
    intent_model_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 2.0


SETTINGS = Settings


async def build(settings: Settings) -> Service:
    """The service, ready to run.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the login.
        OSError, ssl.SSLError: `extra_ca_file` cannot be used.

    """
    network = Network(context=tls_context(settings.extra_ca_file), allow=settings.dangerous_allow_networks)
    runtime = await open_runtime(settings, "replies")
    sessions = Sessions(
        runtime.pool,
        network,
        most=settings.imap_sessions,
        login_gap_s=settings.imap_login_gap_s,
        rests=settings.imap_idle,
    )
    model = _model(settings, network)
    deps = Deps(
        settings=settings,
        pool=runtime.pool,
        clock=runtime.clock,
        new_id=runtime.new_id,
        log=runtime.log,
        stopping=runtime.stopping,
        sessions=sessions,
        poll_interval=timedelta(seconds=settings.poll_interval_s),
        poll_slowest=timedelta(seconds=settings.poll_slowest_s),
        model=model,
    )
    return Service(
        name="replies",
        runtime=deps,
        loops=(
            Loop(name="poll", tick=partial(poll, deps)),
            Loop(name="sort_inbound", tick=partial(sort_inbound, deps)),
            Loop(name="carry_out_commands", tick=partial(carry_out_commands, deps)),
            *((Loop(name="ask_model", tick=partial(ask_model, deps), idle_s=1.0),) if model else ()),
        ),
        close=partial(_close, deps),
    )


async def _close(deps: Deps) -> None:
    await deps.polls.close()
    await deps.sessions.close()


def _model(settings: Settings, network: Network) -> IntentModel | None:
    """The model that is plugged in; None without a URL."""
    if settings.intent_model_url is None:
        return None
    way = Way(
        tls=network.context,
        allow=settings.dangerous_allow_networks,
        timeout_s=settings.intent_model_timeout_s,
        max_bytes=MAX_ANSWER_BYTES,
    )
    return IntentModel(
        settings.intent_model_url, settings.intent_model_name, token=settings.intent_model_token, way=way
    )
