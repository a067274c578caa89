"""What the clock starts in the API's process: forgetting answers, renewing access tokens, asking who hosts a domain.

Never decides for a request, and never holds a transaction open while somebody outside thinks.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from prometheus_client import Counter

from libs.schema.events.inbox import InboxDisconnected
from libs.schema.runtime.db import transaction
from libs.schema.runtime.outbox import record
from libs.schema.runtime.service import Runtime
from libs.schema.secrets import SecretError, open_secret, seal_secret
from services.api.dns import Resolver
from services.api.oauth import Client, Endpoints, Failed, Gone, Granted, Provider
from services.api.queries import gate, oauth, providers
from services.api.rules.providers import known_provider, provider_of
from services.api.rules.tokens import RENEW_AT, wait_s

KEEP_ANSWERS = timedelta(hours=24)
_AT_ONCE = 1000
REFRESHES: Final = Counter("coldstream_oauth_refreshes_total", "Access tokens asked for", ["provider", "outcome"])
TOKENS_AT_ONCE = 10
CLAIM_S = 60.0  # four times as long as a conversation may take
REAUTH_REQUIRED = "reauth_required"
KEEP_PROVIDER = timedelta(days=7)  # design.md §5.1 asks at import and keeps what it heard
ASK_AGAIN = timedelta(days=1)
DOMAINS_AT_ONCE = 50
CLAIM_DOMAINS = timedelta(minutes=5)  # longer than name servers can keep so many questions waiting
QUESTIONS_AT_ONCE = 10


async def forget_answers(runtime: Runtime) -> bool:
    """Deletes kept answers that are older than KEEP_ANSWERS, some at a time; True while there may be more."""
    async with transaction(runtime.pool) as tx:
        return await gate.forget_answers(tx, runtime.clock.now() - KEEP_ANSWERS, _AT_ONCE) == _AT_ONCE


async def refresh_tokens(runtime: Runtime, clients: Mapping[Provider, Client], endpoints: Endpoints) -> bool:
    """Renews the access tokens whose time has come, some at a time; True when there were any.

    Many workers at once make one call for each: the claim is a row's, the answer is stored for the claimed version
    only. Tokens live in real time, whatever a sandbox's clock says.
    """
    if not clients:
        return False
    async with transaction(runtime.pool) as tx:
        claimed = await oauth.claim_due(tx, list(clients), TOKENS_AT_ONCE, CLAIM_S)
    async with asyncio.TaskGroup() as group:
        for due in claimed:
            group.create_task(_refresh(runtime, clients[due.provider], endpoints, due))
    return bool(claimed)


async def _refresh(runtime: Runtime, client: Client, endpoints: Endpoints, due: oauth.Due) -> None:
    try:
        plain = open_secret(
            runtime.settings.secret_key, due.oauth_refresh_token, row_id=due.id, column="oauth_refresh_token"
        )
    except SecretError:
        answer = Gone(reason="sealed_with_another_key")
    else:
        answer = await endpoints.refresh(client, plain, due.oauth_scope)
    is_current = await _settle(runtime, due, answer)
    outcome = type(answer).__name__.lower() if is_current else "superseded"
    REFRESHES.labels(due.provider, outcome).inc()
    runtime.log.info(
        "oauth.refreshed",
        inbox_id=str(due.id),
        team_id=str(due.team_id),
        outcome=outcome,
        reason=None if isinstance(answer, Granted) else answer.reason,
    )


async def _settle(runtime: Runtime, due: oauth.Due, answer: Granted | Gone | Failed) -> bool:
    """Whether the answer still was about the mailbox's credentials: somebody may have given new ones meanwhile."""
    async with transaction(runtime.pool) as tx:
        match answer:
            case Granted():
                access = _sealed(runtime, due, "oauth_access_token", answer.access_token)
                rotated = answer.refresh_token and _sealed(runtime, due, "oauth_refresh_token", answer.refresh_token)
                return await oauth.store_grant(tx, due, access, rotated, answer.scope, answer.lifetime_s, RENEW_AT)
            case Failed():
                return await oauth.put_off(tx, due, wait_s(due.oauth_failures + 1))
            case Gone():
                is_current = await oauth.ask_for_consent(tx, due)
                if is_current:
                    event = InboxDisconnected(inbox_id=due.id, reason=REAUTH_REQUIRED)
                    await record(tx, due.team_id, event, by="api", at=runtime.clock.now())
                return is_current


async def resolve_providers(runtime: Runtime, resolver: Resolver) -> bool:
    """Asks who runs the mail of domains that are new or known for too long; True while there may be more.

    Who cannot be asked about stays unknown for a day, and an unknown provider suits every inbox. Ends with the process:
    what was claimed and not asked comes again.
    """
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        domains = await providers.claim_domains(
            tx, now - ASK_AGAIN, now - KEEP_PROVIDER, CLAIM_DOMAINS, DOMAINS_AT_ONCE
        )
    if not domains:
        return False
    turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)
    asking = asyncio.gather(*(_provider_of(domain, resolver, turns) for domain in domains))
    told = asyncio.create_task(runtime.stopping.wait())
    try:
        await asyncio.wait({asking, told}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            return False
        answers = dict(zip(domains, asking.result(), strict=True))
    finally:
        told.cancel()
        asking.cancel()
    async with transaction(runtime.pool) as tx:
        await providers.store_providers(tx, now, answers)
    runtime.log.info("domains.resolved", count=len(answers), unknown=list(answers.values()).count(None))
    return len(domains) == DOMAINS_AT_ONCE


async def _provider_of(domain: str, resolver: Resolver, turns: asyncio.Semaphore) -> str | None:
    if known := known_provider(domain):
        return known
    async with turns:
        exchangers = await resolver.mail_exchangers(domain)
    return None if exchangers is None else provider_of(exchangers)


def _sealed(runtime: Runtime, due: oauth.Due, column: str, plain: str) -> str:
    return seal_secret(runtime.settings.secret_key, plain, row_id=due.id, column=column)
