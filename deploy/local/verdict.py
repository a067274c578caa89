"""What `coldstream verify-sends` prints. Must never be kinder than what was compared."""

import msgspec


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Two sources that tell different things about one send or one event."""

    between: str
    id: str
    text: str


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox whose Sent folder could not be read to its end, how many sends it has made, and why."""

    mailbox: str
    sends: int
    reason: str


class SentFolders(msgspec.Struct, frozen=True, kw_only=True):
    """The Sent folders of `mailboxes` mailboxes against the ledger, in sends; `unread` ones are in no other figure.

    `ledger` sends have passed their point of no return, `accepted` of them were accepted or count as such, `found` have
    a copy; `not_found` are accepted without one: unconfirmed, as with a provider that files no copies. `duplicates`
    counts the copies beyond the first, `unledgered` those that carry our mark and are in no ledger.
    """

    mailboxes: int
    unread: list[Unread]
    ledger: int
    accepted: int
    found: int
    not_found: int
    duplicates: int
    unledgered: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, in rows and messages, and every disagreement; `unpublished` events wait for the relay.

    `sent` is None where the Sent folders were left out.
    """

    ledger: int
    emails: int
    event_log: int
    unpublished: int
    stream: int
    sent: SentFolders | None
    disagreements: list[Disagreement]

    @property
    def agree(self) -> bool:
        """Whether nothing was found."""
        return not self.disagreements

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for could be read."""
        return self.sent is None or not self.sent.unread
