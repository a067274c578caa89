"""The way to a token endpoint: to public addresses only, under a certified name, and what its answers mean."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.ca import certificates
from libs.schema.runtime.network import tls_context
from services.api.oauth import Client, Endpoints, Failed, Gone, Granted, clients_of
from services.api.settings import ApiSettings
from tests.contract.token_endpoint import LOOPBACK, TokenEndpoint, client_of, token_endpoint
from tests.support import PEPPER, SECRET_KEY


@pytest.fixture
async def provider() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as endpoint:
        yield endpoint


async def test_the_house_itself_is_no_provider(provider: TokenEndpoint) -> None:
    answer = await Endpoints(tls_context(None), allow=()).refresh(client_of(provider), "r", None)
    assert (answer, provider.asked) == (Failed(reason="forbidden_address"), [])


async def test_the_name_is_asked_for_in_tls_and_host_and_must_be_certified(tmp_path: Path) -> None:
    kept = certificates(tmp_path)
    async with token_endpoint(kept.server_context()) as provider:
        client = client_of(provider, f"https://localhost:{provider.port}/token")
        trusting = Endpoints(tls_context(str(kept.ca_file)), allow=(*LOOPBACK, "::1/128"))
        assert isinstance(await trusting.refresh(client, "r", None), Granted)
        assert (provider.hosts, provider.server_names) == ([f"localhost:{provider.port}"], ["localhost"])
        strict = Endpoints(tls_context(None), allow=(*LOOPBACK, "::1/128"))
        assert await strict.refresh(client, "r", None) == Failed(reason="ConnectError")
        assert len(provider.asked) == 1


async def test_gone_is_said_of_client_errors_only(provider: TokenEndpoint) -> None:
    endpoints = Endpoints(tls_context(None), allow=LOOPBACK)
    provider.answers = [(500, {"error": "invalid_grant"}), (401, {"error": "invalid_grant"})]
    assert await endpoints.refresh(client_of(provider), "r", None) == Failed(reason="500")
    assert await endpoints.refresh(client_of(provider), "r", None) == Gone(reason="invalid_grant")


def test_the_providers_are_those_that_the_operator_named() -> None:
    settings = ApiSettings(
        database_url="postgresql://x",
        nats_url="nats://x",
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        microsoft_client_id="us",
        microsoft_tenant="acme.test",
    )
    assert clients_of(settings) == {
        "microsoft": Client(
            client_id="us",
            client_secret=None,
            token_url="https://login.microsoftonline.com/acme.test/oauth2/v2.0/token",
        )
    }
