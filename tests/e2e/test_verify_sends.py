"""`verify-sends`: ledger, emails, journal and stream are compared, and each way in which they can differ is named."""

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import pytest

from deploy.local.sandbox.world import MailWorld
from deploy.local.verdict import Verdict
from deploy.local.verify import verify_sends
from libs.schema.events import Event
from libs.schema.events.email import BounceHard, EmailCancelled, EmailQueued, EmailSent, EmailUnknown
from libs.schema.events.lead import LeadEnrolled
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection
from libs.schema.runtime.outbox import record
from libs.schema.runtime.relay import Relay
from libs.schema.runtime.streams import StreamLink
from libs.schema.secrets import seal_secret
from tests.command import Done, coldstream
from tests.support import (
    EPOCH,
    SECRET_KEY,
    Inbox,
    Lead,
    Team,
    insert,
    make_campaign,
    make_inbox,
    make_lead,
    make_list,
    make_team,
)

Tale: TypeAlias = Callable[[UUID, UUID], Event]
TODAY = EPOCH.date()


def queued(email_id: UUID, inbox_id: UUID) -> Event:
    return EmailQueued(email_id=email_id, inbox_id=inbox_id, scheduled_at=EPOCH)


def sent(email_id: UUID, inbox_id: UUID) -> Event:
    return EmailSent(
        email_id=email_id,
        inbox_id=inbox_id,
        sent_on=TODAY,
        inbox_sent_on=TODAY,
        attempt=1,
        resolved_by="smtp",
        scheduled_at=EPOCH,
    )


def unknown(email_id: UUID, inbox_id: UUID) -> Event:
    return EmailUnknown(email_id=email_id, inbox_id=inbox_id, sent_on=TODAY, inbox_sent_on=TODAY, reason="disconnected")


def cancelled(email_id: UUID, inbox_id: UUID) -> Event:
    return EmailCancelled(email_id=email_id, inbox_id=inbox_id, reason="stopped")


def bounced(email_id: UUID, inbox_id: UUID) -> Event:
    return BounceHard(
        email_id=email_id, inbox_id=inbox_id, sent_on=TODAY, inbox_sent_on=TODAY, source="smtp", reason="no_such_user"
    )


@dataclass(frozen=True, kw_only=True)
class House:
    """One team with one lead and one inbox, and a relay that runs when it is told to."""

    owner: Connection
    database_url: str
    nats_url: str
    team: Team
    inbox: Inbox
    lead: Lead
    relay: Relay

    async def send(self, state: str, status: str | None, *tales: Tale) -> UUID:
        """A send: its row in the ledger, in emails unless `status` is None, and its events in journal and stream."""
        send_id = new_id()
        row = {"send_id": send_id, "kind": "campaign", "team_id": self.team.id, "campaign_id": new_id()}
        row |= {"step_id": new_id(), "lead_key": self.lead.key, "inbox_id": self.inbox.id, "state": state}
        row |= {"message_id": f"<{send_id}@acme.test>", "slot_at": EPOCH, "not_before": EPOCH, "created_at": EPOCH}
        await insert(self.owner, "send_ledger", row)
        if status is not None:
            await self.email(send_id, status)
        await self.tell(send_id, *tales)
        while await self.relay.relay():
            pass
        return send_id

    async def tell(self, send_id: UUID, *tales: Tale) -> None:
        events = [tale(send_id, self.inbox.id) for tale in tales]
        await record(self.owner, self.team.id, *events, by="sender", at=EPOCH)

    async def email(self, send_id: UUID, status: str) -> None:
        row = {"id": send_id, "team_id": self.team.id, "lead_id": self.lead.id, "inbox_id": self.inbox.id}
        row |= {"from_email": self.inbox.email, "to_email": self.lead.email, "subject": "Hello", "status": status}
        await insert(self.owner, "emails", row)

    async def verify(self) -> Verdict:
        return await verify_sends(self.database_url, self.nats_url, None)

    async def command(self, *arguments: str, **environ: str) -> Done:
        urls = ("--database-url", self.database_url, "--nats-url", self.nats_url)
        return await coldstream("verify-sends", *urls, *arguments, environ=environ)


@pytest.fixture
async def house(database: str, owner: Connection, nats_streams: str) -> AsyncIterator[House]:
    team = await make_team(owner)
    inbox = await make_inbox(owner, team)
    lead = await make_lead(owner, team)
    link = StreamLink(nats_streams, "test")
    await link.open()
    yield House(
        owner=owner,
        database_url=database,
        nats_url=nats_streams,
        team=team,
        inbox=inbox,
        lead=lead,
        relay=Relay(owner, link, FixedClock(EPOCH)),
    )
    await link.close()


def found(verdict: Verdict) -> list[tuple[str, str]]:
    return [(each.between, each.id) for each in verdict.disagreements]


async def test_an_installation_in_which_nothing_happened_agrees(house: House) -> None:
    verdict = await house.verify()
    assert (verdict.agree, verdict.ledger, verdict.emails, verdict.stream) == (True, 0, 0, 0)


async def test_sends_in_every_state_agree_when_all_four_tell_them_alike(house: House) -> None:
    await house.send("queued", "queued", queued)
    await house.send("in_data", "sending", queued)
    await house.send("accepted", "sent", queued, sent)
    await house.send("accepted", "bounced", queued, sent, bounced)
    await house.send("accepted", "delivered", queued, unknown, sent)
    await house.send("unknown", "unknown", queued, unknown)
    await house.send("rejected", "bounced", queued, bounced)
    await house.send("stopped", "cancelled", queued, cancelled)
    done = await house.command("--no-sent", "--json")
    assert done.code == 0
    assert (done.json()["sent"], done.json()["disagreements"]) == (None, [])
    assert (done.json()["ledger"], done.json()["emails"]) == (8, 8)
    assert done.json()["event_log"] == done.json()["stream"] == 16


@pytest.mark.parametrize(
    ("state", "status", "tales", "between"),
    [
        pytest.param("accepted", None, [queued, sent], "ledger and emails", id="no row in emails"),
        pytest.param("queued", "sent", [queued], "ledger and emails", id="emails is ahead"),
        pytest.param("accepted", "sent", [queued], "ledger and journal", id="sent and not told"),
        pytest.param("accepted", "sent", [queued, sent, sent], "ledger and journal", id="told twice"),
        pytest.param("queued", "queued", [queued, sent], "ledger and journal", id="told and not sent"),
        pytest.param("queued", "queued", [], "ledger and journal", id="never told"),
        pytest.param("unknown", "unknown", [queued], "ledger and journal", id="unknown and not told"),
        pytest.param("rejected", "failed", [queued], "ledger and journal", id="refused and not told"),
        pytest.param("stopped", "cancelled", [queued], "ledger and journal", id="stopped and not told"),
    ],
)
async def test_a_send_that_is_told_differently_is_named(
    house: House, state: str, status: str | None, tales: list[Tale], between: str
) -> None:
    send_id = await house.send(state, status, *tales)
    assert found(await house.verify()) == [(between, str(send_id))]


async def test_an_email_that_no_ledger_knows_is_named(house: House) -> None:
    send_id = new_id()
    await house.email(send_id, "sent")
    assert found(await house.verify()) == [("ledger and emails", str(send_id))]


async def test_events_that_wait_for_the_relay_are_counted_and_are_no_disagreement(house: House) -> None:
    send_id = await house.send("accepted", "sent", queued)
    await house.tell(send_id, sent)
    verdict = await house.verify()
    assert (verdict.agree, verdict.unpublished, verdict.event_log, verdict.stream) == (True, 1, 2, 1)


async def test_an_event_that_only_the_stream_has_is_named(house: House) -> None:
    await house.send("queued", "queued", queued, queued)
    event_id = await house.owner.fetchval("DELETE FROM event_log WHERE stream_seq = 2 RETURNING event_id")
    assert found(await house.verify()) == [("journal and stream", str(event_id))]


async def test_an_event_that_the_stream_lost_is_named_and_the_command_ends_with_1(house: House) -> None:
    await house.send("queued", "queued", queued)
    event_id = await house.owner.fetchval("UPDATE event_log SET stream_seq = 2 RETURNING event_id")
    done = await house.command("--no-sent")
    assert done.code == 1
    assert "the journal has it at 2, the stream nothing" in done.out
    assert str(event_id) in done.out


async def test_an_event_whose_bytes_were_changed_in_the_journal_is_named(house: House) -> None:
    await house.send("queued", "queued", queued)
    event_id = await house.owner.fetchval(
        "UPDATE event_log SET body = replace(body::text, 'queued', 'queued ')::json RETURNING event_id"
    )
    assert found(await house.verify()) == [("journal and stream", str(event_id))]


async def test_a_copy_too_many_in_sent_ends_the_command_with_1_and_a_mailbox_that_is_away_with_3(
    house: House, tmp_path: Path
) -> None:
    send_id = await house.send("accepted", "sent", queued, sent)
    await house.owner.execute("UPDATE send_ledger SET committed_at = slot_at")
    async with MailWorld(tmp_path / "mail") as world:
        sealed = seal_secret(SECRET_KEY, "sandbox", row_id=house.inbox.id, column="smtp_password")
        await house.owner.execute("UPDATE inboxes SET imap_port = $1, smtp_password = $2", world.imap_port, sealed)
        settings = {
            "COLDSTREAM_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
            "COLDSTREAM_DANGEROUS_ALLOW_NETWORKS": "127.0.0.0/8",
            "COLDSTREAM_EXTRA_CA_FILE": str(world.ca_file),
        }
        copy = f"Message-ID: <{send_id}@acme.test>\r\nSubject: Hello\r\n\r\nHello".encode()
        world.put(house.inbox.email, copy, folder="Sent")
        done = await house.command("--json", **settings)
        assert (done.code, done.json()["sent"]["found"], done.json()["sent"]["duplicates"]) == (0, 1, 0)
        world.put(house.inbox.email, copy, folder="Sent")
        done = await house.command("--json", **settings)
    assert (done.code, done.json()["sent"]["duplicates"]) == (1, 1)
    (found,) = done.json()["disagreements"]
    assert (found["between"], found["id"]) == ("ledger and Sent folder", str(send_id))
    done = await house.command(**settings)  # the world has ended
    assert done.code == 3
    assert "NOT READ: ann@acme.test (1 sends): no connection" in done.err


async def test_without_the_key_to_the_mailboxes_the_command_says_what_is_missing(house: House, tmp_path: Path) -> None:
    done = await house.command()
    assert (done.code, done.out) == (3, "")
    assert "COLDSTREAM_SECRET_KEY is missing" in done.err
    assert "--no-sent" in done.err
    done = await house.command("--data-dir", str(tmp_path))
    assert (done.code, done.out) == (3, "")
    assert "is no data directory" in done.err


async def test_an_enrollment_whose_end_was_not_told_and_a_campaign_that_ended_before_it_are_named(house: House) -> None:
    list_id = await make_list(house.owner, house.team)
    campaign = await make_campaign(house.owner, house.team, inboxes=[house.inbox], list_id=list_id)
    enrollment_id = new_id()
    row = {"id": enrollment_id, "team_id": house.team.id, "campaign_id": campaign.id, "lead_id": house.lead.id}
    row |= {"lead_key": house.lead.key, "sequence_version": 1, "step_number": 1, "enrolled_at": EPOCH}
    await insert(house.owner, "enrollments", row)
    enrolled = LeadEnrolled(
        lead_id=house.lead.id, enrollment_id=enrollment_id, campaign_id=campaign.id, sequence_version=1
    )
    await record(house.owner, house.team.id, enrolled, by="sender", at=EPOCH)
    assert (await house.verify()).agree
    await house.owner.execute("UPDATE campaigns SET status = 'completed' WHERE id = $1", campaign.id)
    assert found(await house.verify()) == [("campaigns and enrollments", str(campaign.id))]
    await house.owner.execute("UPDATE enrollments SET state = 'finished', ended_at = $1", EPOCH)
    assert found(await house.verify()) == [("enrollments and journal", str(enrollment_id))]
