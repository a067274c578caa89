"""PostgreSQL and NATS as containers, where Docker answers; must never be needed: the wheels serve where it does not.

Imported only where there may be a Docker engine: testcontainers costs half a second.
"""

from collections.abc import Generator
from contextlib import closing, contextmanager

import docker
from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES_IMAGE = "postgres:18"
NATS_IMAGE = "nats:2.15"
NATS_PORT = 4222


def answer() -> bool:
    """Whether a Docker engine really answers here."""
    try:
        with closing(docker.from_env(timeout=2)) as client:
            return client.ping()  # pyright: ignore[reportUnknownMemberType] - docker-py is untyped
    except DockerException:  # no engine behind the address is an answer too
        return False


@contextmanager
def postgres() -> Generator[str]:
    """A PostgreSQL for the length of the block; the URL is its superuser's."""
    container = PostgresContainer(POSTGRES_IMAGE, driver=None).with_command("postgres -c max_connections=120")
    with container as running:
        yield running.get_connection_url()


@contextmanager
def nats() -> Generator[str]:
    """A NATS server with JetStream for the length of the block."""
    container = DockerContainer(NATS_IMAGE).with_command("-js").with_exposed_ports(NATS_PORT)
    with container.waiting_for(LogMessageWaitStrategy("Server is ready")) as running:
        yield f"nats://{running.get_container_host_ip()}:{running.get_exposed_port(NATS_PORT)}"
