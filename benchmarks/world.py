"""Many rows in few statements: inboxes, leads and emails as API and sender would have written them."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from libs.schema.secrets import seal_secret
from tests.support import SECRET_KEY, Campaign, Inbox, Step, Team, insert, make_campaign, make_list, make_team

PASSWORD = "correct horse"  # noqa: S105 - what the benches' own sink lets in
INSERT_INBOXES = """
INSERT INTO inboxes (id, team_id, domain_id, email, from_name, provider, status, smtp_host, smtp_port, smtp_username,
    smtp_password)
SELECT u.id, $1, $2, u.email, 'Ann', 'smtp', 'active', '127.0.0.1', $3, u.email, u.sealed
FROM unnest($4::uuid[], $5::text[], $6::text[]) AS u(id, email, sealed)
"""
INSERT_SETTINGS = """
INSERT INTO inbox_settings (inbox_id, daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds,
    send_window_start, send_window_end, send_window_timezone, send_days, weekends_enabled, auto_throttle_enabled)
SELECT u.id, 500, 500, 60, 120, '00:00', '23:59:59', 'UTC', ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'],
    true, false
FROM unnest($1::uuid[]) AS u(id)
"""
INSERT_LEADS = """
INSERT INTO leads (id, team_id, lead_list_id, email, first_name, last_name, company, title, city)
SELECT u.id, $1, $2, u.email, 'Bob', 'Bobson', 'Bob & Sons', 'Head of Bobs', 'Springfield'
FROM unnest($3::uuid[], $4::text[]) AS u(id, email)
"""
BODY = """Hi {{ first_name }},

I saw that {{ company }} is growing in {{ city | default: "your town" }}. Most people in your position ({{ title }})
tell us that they lose two days a month to copying figures from one place to another.

Would you be open to ten minutes next week to see whether we can give them back to you?

Best regards
{{ sender_name }}"""


class People(msgspec.Struct, frozen=True, kw_only=True):
    """A list of leads and the campaign that writes to them."""

    campaign: Campaign
    lead_ids: list[UUID]
    addresses: list[str]


async def make_house(owner: Tx, slug: str, *, inboxes: int, smtp_port: int = 587) -> tuple[Team, list[Inbox]]:
    """A team with so many inboxes that may send at any hour, to a server on loopback."""
    team = await make_team(owner, slug=slug)
    domain_id = new_id()
    await insert(owner, "domains", {"id": domain_id, "team_id": team.id, "domain": f"{slug}.test"})
    made = [Inbox(id=new_id(), email=f"ann{n}@{slug}.test") for n in range(inboxes)]
    ids = [inbox.id for inbox in made]
    sealed = [seal_secret(SECRET_KEY, PASSWORD, row_id=id_, column="smtp_password") for id_ in ids]
    emails = [inbox.email for inbox in made]
    await owner.execute(INSERT_INBOXES, team.id, domain_id, smtp_port, ids, emails, sealed)
    await owner.execute(INSERT_SETTINGS, ids)
    return team, made


async def make_people(owner: Tx, team: Team, inboxes: Sequence[Inbox], *, name: str, leads: int) -> People:
    """A campaign of one step over these inboxes with so many new leads, nobody enrolled yet."""
    list_id = await make_list(owner, team, name=name)
    lead_ids = [new_id() for _ in range(leads)]
    addresses = [f"bob{n}.{name}@lead.test" for n in range(leads)]
    await owner.execute(INSERT_LEADS, team.id, list_id, lead_ids, addresses)
    steps = (Step(subject="{{ company }}: two days a month", body=BODY),)
    campaign = await make_campaign(owner, team, inboxes=inboxes, list_id=list_id, steps=steps, name=name)
    return People(campaign=campaign, lead_ids=lead_ids, addresses=addresses)
