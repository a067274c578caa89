"""All of Coldstream on one machine: both servers, the sandbox mail world, and one process for each role.

Everything lives in one data directory, so that a second start goes on where the first one was. Must never make a second
team, key or secret where the directory has one, and never stop a server before the processes that use it have drained.
"""

import asyncio
import base64
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from deploy.local.access import Access, kept_access
from deploy.local.driver import open_sandbox
from deploy.local.kept import kept_secrets
from deploy.local.ports import LOOPBACK, free_port, kept_ports
from deploy.local.processes import Supervised, answers_ready, listens
from deploy.local.revival import Revived
from deploy.local.sandbox.control import Control
from deploy.local.sandbox.log import LOG_NAME
from deploy.local.sent import MailAccess
from deploy.local.servers import Nats, Postgres
from libs.schema.migrate import SERVICES, migrate
from libs.schema.runtime.settings import SettingsError
from libs.schema.runtime.streams import ensure_streams

ROLES = ("api", "sender", "replies", "analytics")  # what runs; warm-up and webhooks have nothing to do yet
# First nobody new is let in, then what is under way is finished, then it is counted; the world goes last.
DRAIN_ORDER = (("api",), ("sender", "replies"), ("analytics",), ("mail",))
FOLLOW_THE_CLOCK = ("sender", "replies")  # on whom a jump of business time waits
MAIL_PORTS = ("smtp", "imap", "control")
PORTS = ("api", "public", "postgres", "nats", *MAIL_PORTS)
SECRETS = "secrets.json"
MAIL = "mail"  # the sandbox world's folder
ANSWERS_WITHIN = timedelta(minutes=10)  # who tries it out by hand does not wait a day for a reply

Say = Callable[[str], None]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is, and with what to come in: the line that `coldstream up --json` prints."""

    api: str
    public: str
    api_key: str
    team_id: str
    database_url: str
    nats_url: str
    smtp_host: str
    smtp_port: int
    imap_host: str
    imap_port: int


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a platform a sandbox whose business time somebody moves (driver.py)."""

    begins: datetime  # business time, unless the directory's clock is further
    answers_within: timedelta  # the longest that the mail world's people take, business time
    idle_factor: float  # loops must soon see that the clock has jumped
    tarpit_s: float  # how long the mail world's tarpits take, real time: the clock stands still for them


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What the roles stand on: both servers, set up, and what the directory keeps."""

    directory: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    servers: Mapping[str, Revived]

    @property
    def database_url(self) -> str:
        """The database, with the owner's login."""
        return self.servers["postgres"].url

    @property
    def nats_url(self) -> str:
        """NATS, with user and password."""
        return self.servers["nats"].url

    def url_of(self, service: str) -> str:
        """The database, with the login of one service."""
        parts = urlsplit(self.database_url)
        login = f"coldstream_{service}:{self.secrets[service]}@{parts.hostname}:{parts.port}"
        return urlunsplit(parts._replace(netloc=login))

    def environment(self, role: str) -> dict[str, str]:
        """Everything that the role's settings are read from."""
        return os.environ | {
            "COLDSTREAM_DATABASE_URL": self.url_of(role),
            "COLDSTREAM_NATS_URL": self.nats_url,
            "COLDSTREAM_SECRET_KEY": self.key("secret_key"),
            "COLDSTREAM_PEPPER": self.key("pepper"),
            "COLDSTREAM_API_PORT": str(self.ports["api"]),
            "COLDSTREAM_PUBLIC_PORT": str(self.ports["public"]),
            "COLDSTREAM_PUBLIC_URL": f"http://{LOOPBACK}:{self.ports['public']}",
            "COLDSTREAM_DANGEROUS_ALLOW_NETWORKS": f"{LOOPBACK}/32",
            "COLDSTREAM_EXTRA_CA_FILE": str(self.directory / MAIL / "ca.pem"),
            "COLDSTREAM_OPS_PORT": str(free_port()),
        }

    def key(self, name: str) -> str:
        """A kept secret as 32 bytes in base64."""
        return base64.b64encode(_key(self.secrets[name])).decode()


@dataclass(kw_only=True)
class Platform:
    """The running platform; `Platform.start` makes it."""

    ready: Ready
    children: Mapping[str, Supervised]
    _ground: _Ground
    _stack: AsyncExitStack

    @classmethod
    async def start(cls, directory: Path, *, api_port: int = 0, say: Say, sandbox: Sandbox | None = None) -> "Platform":
        """Starts everything on `directory` and returns when every process is ready; stops what it started if one fails.

        Raises:
            ServerError, ProcessError, PortTakenError: what did not start, with the end of its log.

        """
        async with AsyncExitStack() as stack:
            ground = await _lay_ground(stack, directory, api_port, say)
            if sandbox is not None:
                await open_sandbox(ground.database_url, sandbox.begins)
            access = await kept_access(ground.directory / "access.json", ground.database_url)
            children = {MAIL: _mail(ground, sandbox), **{role: _role(ground, role, sandbox) for role in ROLES}}
            stack.push_async_callback(_drain, children)
            # the roles read the mail world's CA when they start
            await _bring_up([children[MAIL]], say)
            await _bring_up([children[role] for role in ROLES], say)
            return cls(ready=_ready(ground, access), children=children, _ground=ground, _stack=stack.pop_all())

    @property
    def servers(self) -> Mapping[str, Revived]:
        """`postgres` and `nats`."""
        return self._ground.servers

    @property
    def restarts(self) -> int:
        """How many children and servers have died and been started again."""
        return sum(each.restarts for each in (*self.children.values(), *self.servers.values()))

    async def failed(self) -> None:
        """Returns only by raising: a server died and could not be started again."""
        await asyncio.gather(*(server.failed() for server in self.servers.values()))

    @property
    def smtp_log(self) -> Path:
        """What the mail world's SMTP server has written down."""
        return self._ground.directory / MAIL / LOG_NAME

    async def world(self) -> Control:
        """A client of the mail world's control endpoint; the caller closes it."""
        return await Control.connect(self._ground.ports["control"])

    def url_of(self, service: str) -> str:
        """The database, with the login of one service."""
        return self._ground.url_of(service)

    def mail_access(self) -> MailAccess:
        """What it takes to enter the mailboxes."""
        return kept_mail_access(self._ground.directory)

    async def stop(self) -> None:
        """Drains in order: no new requests, sends and polls to their end, projections, mail, servers."""
        await self._stack.aclose()


def kept_mail_access(directory: Path) -> MailAccess:
    """What it takes to enter the mailboxes of the platform that lives in `directory`.

    Raises:
        SettingsError: none does.

    """
    if not (directory / SECRETS).exists():
        raise SettingsError(f"{directory} is no data directory of `coldstream up`")
    secrets = kept_secrets(directory / SECRETS, [])
    return MailAccess(
        secret_key=_key(secrets["secret_key"]),
        dangerous_allow_networks=(f"{LOOPBACK}/32",),
        extra_ca_file=str(directory / MAIL / "ca.pem"),
    )


def _key(secret: str) -> bytes:
    return base64.urlsafe_b64decode(secret + "=")


async def _lay_ground(stack: AsyncExitStack, directory: Path, api_port: int, say: Say) -> _Ground:
    directory = _make(directory)
    ports = kept_ports(directory / "ports.json", PORTS, api=api_port)
    secrets = kept_secrets(directory / SECRETS, [*SERVICES, "secret_key", "pepper"])
    postgres = await Revived.start(partial(Postgres.start, directory / "postgres", port=ports["postgres"]))
    stack.push_async_callback(postgres.stop)
    say("PostgreSQL is up")
    nats = await Revived.start(partial(Nats.start, directory / "nats", port=ports["nats"]))
    stack.push_async_callback(nats.stop)
    say("NATS is up")
    await migrate(postgres.url, passwords={service: secrets[service] for service in SERVICES})
    await ensure_streams(nats.url)
    say("tables, roles and streams are there")
    servers = {"postgres": postgres, "nats": nats}
    return _Ground(directory=directory, ports=ports, secrets=secrets, servers=servers)


async def _bring_up(children: Sequence[Supervised], say: Say) -> None:
    """Starts them all at once, and returns when all are ready."""
    for child in children:
        await child.start()
    for child in children:
        await child.wait_ready()
        say(f"{child.name} is ready")


def _make(directory: Path) -> Path:
    """The data directory, absolute, with its folders; PostgreSQL's own user must get through it to its own."""
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def _role(ground: _Ground, role: str, sandbox: Sandbox | None) -> Supervised:
    environment = ground.environment(role)
    if sandbox is not None and role in FOLLOW_THE_CLOCK:
        environment["COLDSTREAM_IDLE_FACTOR"] = str(sandbox.idle_factor)
        # Each jump of the clock waits until all mailboxes were asked; that their servers call would only cost time.
        environment |= {"COLDSTREAM_POLL_SLOWEST_S": "60", "COLDSTREAM_IMAP_IDLE": "false"}
    return Supervised(
        name=role,
        command=[sys.executable, "-m", "services", role],
        environment=environment,
        log=ground.directory / "logs" / f"{role}.log",
        is_ready=partial(answers_ready, int(environment["COLDSTREAM_OPS_PORT"])),
    )


def _mail(ground: _Ground, sandbox: Sandbox | None) -> Supervised:
    ports = [word for name in MAIL_PORTS for word in (f"--{name}-port", str(ground.ports[name]))]
    answers_within = sandbox.answers_within if sandbox is not None else ANSWERS_WITHIN
    tarpit = [] if sandbox is None else ["--tarpit-s", str(sandbox.tarpit_s)]
    return Supervised(
        name="mail",
        command=[
            *(sys.executable, "-m", "deploy.local.sandbox", "--data-dir", str(ground.directory / MAIL), *ports),
            *("--longest-delay-s", str(answers_within.total_seconds())),
            *tarpit,
        ],
        environment=os.environ,
        log=ground.directory / "logs" / "mail.log",
        is_ready=partial(listens, ground.ports["control"]),
    )


def _ready(ground: _Ground, access: Access) -> Ready:
    return Ready(
        api=f"http://{LOOPBACK}:{ground.ports['api']}",
        public=f"http://{LOOPBACK}:{ground.ports['public']}",
        api_key=access.api_key,
        team_id=access.team_id,
        database_url=ground.database_url,
        nats_url=ground.nats_url,
        smtp_host=LOOPBACK,
        smtp_port=ground.ports["smtp"],
        imap_host=LOOPBACK,
        imap_port=ground.ports["imap"],
    )


async def _drain(children: Mapping[str, Supervised]) -> None:
    for names in DRAIN_ORDER:
        await asyncio.gather(*(children[name].stop() for name in names))
