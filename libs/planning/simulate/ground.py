"""A team's inboxes, days and domains as they fill up while a simulation goes on: what a round would read, without rows.

Keeps what queries.py reads: mails of the last 26 hours and all slots, days with cold mail of two months.
"""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec

from libs.planning.facts import DueLead, PlannedInbox
from libs.planning.hours.windows import local_date
from libs.planning.limits.budget import RAMP_MEMORY_DAYS
from libs.planning.limits.domains import company_domain
from libs.planning.round import Sight
from libs.planning.simulate.simulation import World
from libs.planning.words.rehearsal import Rehearsal

LATELY = timedelta(hours=26)


class Ground:
    """The state that slots change; `sight` shows it to the planner as a round at that instant would read it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boxes = {box.id: box for box in world.boxes}
        self._busy = {box.id: sorted(box.busy) for box in world.boxes}
        self._days = {box.id: set(box.sending_days) for box in world.boxes}
        self._team: Counter[date] = Counter(dict(zip(world.team.days, world.team.counts, strict=True)))
        self._mails = {domain: sorted(mails, key=_when) for domain, mails in world.domain_mails.items()}
        self._rehearsal = Rehearsal()
        self._contacts: dict[bytes, dict[UUID, datetime]] = {}
        self._versions = {(one.campaign_id, one.version): one for one in world.versions}
        self._versions |= {(one.id, one.version.version): one.version for one in world.runners}

    def box(self, inbox_id: UUID, now: datetime) -> PlannedInbox | None:
        """The inbox as it is then: an open circuit has cleared when its time has come."""
        box = self._boxes.get(inbox_id)
        if box is None or box.circuit_retry_at is None or box.circuit_retry_at > now:
            return box
        return msgspec.structs.replace(box, circuit=None, circuit_retry_at=None)

    def sight(self, leads: Iterable[DueLead], now: datetime) -> Sight:
        """What a round with these leads would have before it."""
        batch = list(leads)
        campaigns, own = {lead.campaign_id for lead in batch}, {lead.inbox_id for lead in batch}
        since = now - LATELY
        first_day = local_date(since, self._world.team.zone)
        days = [day for day in self._team if day >= first_day]
        domains = {domain for lead in batch if (domain := company_domain(lead.email))}
        return Sight(
            now=now,
            team=msgspec.structs.replace(self._world.team, days=days, counts=[self._team[day] for day in days]),
            boxes={
                box.id: self._shown(box.id, now)
                for box in self._boxes.values()
                if box.id in own or not campaigns.isdisjoint(box.campaign_ids)
            },
            versions=self._versions,
            domain_mails={
                domain: mails[bisect_right(mails, since, key=_when) :]
                for domain in domains
                if (mails := self._mails.get(domain))
            },
            public_url=self._world.public_url,
            rehearsal=self._rehearsal,
        )

    def contacted_at(self, lead: DueLead) -> datetime | None:
        """The last mail that another campaign sends to the person, as far as it is planned."""
        others = [at for campaign, at in self._contacts.get(lead.lead_key, {}).items() if campaign != lead.campaign_id]
        return max((*others, *([lead.contacted_at] if lead.contacted_at else ())), default=None)

    def add(self, lead: DueLead, inbox_id: UUID, at: datetime) -> None:
        """A slot was given."""
        box = self._boxes[inbox_id]
        insort(self._busy[inbox_id], at)
        self._days[inbox_id].add(local_date(at, box.send_window_timezone))
        self._team[local_date(at, self._world.team.zone)] += 1
        self._contacts.setdefault(lead.lead_key, {})[lead.campaign_id] = at
        domain = company_domain(lead.email)
        if domain is not None:
            insort(self._mails.setdefault(domain, []), (inbox_id, at), key=_when)

    def remove(self, inbox_id: UUID, at: datetime, email: str | None) -> None:
        """A slot was taken back."""
        if at in self._busy.get(inbox_id, ()):
            self._busy[inbox_id].remove(at)
            self._team[local_date(at, self._world.team.zone)] -= 1
        mails = self._mails.get(company_domain(email) or "", []) if email else []
        if (inbox_id, at) in mails:
            mails.remove((inbox_id, at))

    def _shown(self, inbox_id: UUID, now: datetime) -> PlannedInbox:
        box = self.box(inbox_id, now)
        assert box is not None  # noqa: S101 - asked of known inboxes only
        busy = self._busy[inbox_id]
        del busy[: bisect_right(busy, now - LATELY)]
        oldest = local_date(now - timedelta(days=RAMP_MEMORY_DAYS), box.send_window_timezone)
        days = sorted(day for day in self._days[inbox_id] if day > oldest) if box.auto_throttle_enabled else []
        return msgspec.structs.replace(box, busy=list(busy), sending_days=days)


def _when(mail: tuple[UUID, datetime]) -> datetime:
    return mail[1]
