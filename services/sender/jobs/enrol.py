"""How campaigns begin, how leads enter their sequences in bounded batches, how campaigns end. Never plans or sends."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from libs.planning.sequence import step_at
from libs.schema.events.campaign import CampaignActivated, CampaignCompleted
from libs.schema.events.lead import LeadEnrolled
from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Tx, transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender.deps import Deps
from services.sender.outcomes import BY
from services.sender.queries import enrol as enrol_queries

BATCH = 500  # leads in one transaction
# A list that has not changed may still give leads: their other sequence has ended, or a suppression was lifted.
RESCAN_AFTER = timedelta(minutes=1)
NOBODY = UUID(int=0)  # lies before every lead's id


async def start_scheduled(deps: Deps) -> bool:
    """Campaigns whose scheduled hour has come become active."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        started = await enrol_queries.activate_scheduled(tx, now)
        facts = [
            Fact(team_id=one.team_id, event=CampaignActivated(campaign_id=one.id, sequence_version=one.version))
            for one in started
        ]
        await record_all(tx, facts, by=BY, at=now)
    return bool(started)


async def enrol(deps: Deps) -> bool:
    """Leads of active campaigns' lists enter their sequences; campaigns whose every lead is at its end complete."""
    async with deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        campaigns = await enrol_queries.running_campaigns(connection)
    now = deps.clock.now()
    for campaign in campaigns:
        state = campaign.version, campaign.lead_list_id, campaign.list_changed_at
        if deps.scans.wants(campaign.id, state, now) and await _enrol_list(deps, campaign):
            deps.scans.done(campaign.id, state, now)
    return await _complete(deps)


async def _enrol_list(deps: Deps, campaign: enrol_queries.Running) -> bool:
    """All leads of the list that may enter, page by page; False when the process stops before the end."""
    after = NOBODY
    while not deps.stopping.is_set():
        async with transaction(deps.pool) as tx:
            page = await enrol_queries.candidates(tx, campaign, after, BATCH)
            await _enrol_page(deps, tx, campaign, page)
        if len(page) < BATCH:
            return True
        after = page[-1].id
    return False


async def _enrol_page(
    deps: Deps, tx: Tx, campaign: enrol_queries.Running, page: Sequence[enrol_queries.Candidate]
) -> None:
    now, first = deps.clock.now(), step_at(campaign.steps, 1)
    if not page or first is None:
        return
    keys = {lead.id: lead_key(deps.settings.pepper, lead.email) for lead in page}
    suppressed = await enrol_queries.mark_suppressed(tx, campaign.team_id, list(keys), list(keys.values()))
    entries = [
        enrol_queries.Entry(id=new_id(), lead_id=lead_id, lead_key=key)
        for lead_id, key in keys.items()
        if lead_id not in suppressed
    ]
    start = enrol_queries.Start(step_number=first.step_number, next_at=now + first.delay, at=now)
    written = await enrol_queries.enrol(tx, campaign, start, entries)
    ours = {entry.id for entry in entries}
    fresh = [
        entry for entry in written if entry.id in ours
    ]  # others had an enrollment under an earlier row of the lead
    await enrol_queries.show_enrolled(tx, campaign, start, [entry.lead_id for entry in fresh])
    facts = [
        Fact(
            team_id=campaign.team_id,
            event=LeadEnrolled(
                lead_id=entry.lead_id,
                enrollment_id=entry.id,
                campaign_id=campaign.id,
                sequence_version=campaign.version,
            ),
        )
        for entry in fresh
    ]
    await record_all(tx, facts, by=BY, at=now)


async def _complete(deps: Deps) -> bool:
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        finished = await enrol_queries.complete_campaigns(tx, now)
        facts = [
            Fact(
                team_id=one.team_id,
                event=CampaignCompleted(
                    campaign_id=one.id, finished=one.finished, stopped=one.stopped, failed=one.failed
                ),
            )
            for one in finished
        ]
        await record_all(tx, facts, by=BY, at=now)
    return bool(finished)
