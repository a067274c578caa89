"""Fetching a folder's new messages although one of them may be poison: a server that breaks on it hands out the others.

Never gives a message up before it has failed alone, again and again, while others came. Each message is there in the
end, with its bytes or, given up, without them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from services.replies import imap
from services.replies.deps import Deps
from services.replies.queries.mailboxes import Place
from services.replies.sessions import Suspects

TRIES = 3  # of a message that fails while others come
TRIES_ALONE = 6  # where no other one shows that the server hands out any
MANY = 8  # so many refused, and none that came: it is not the messages

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


async def fetch(
    deps: Deps, session: imap.Session, place: Place, uids: Sequence[int]
) -> AsyncGenerator[tuple[list[imap.Fetched], int | None]]:
    """These messages in parts, each with the UID up to which all have come by then: None while one is outstanding.

    What was asked for when the session broke is under suspicion: next time it is asked for one by one, last of all.

    Raises:
        ImapError: the session is over, or the server hands out nothing at all.

    """
    suspects = deps.sessions.suspects(place)
    for gone in [uid for uid in suspects if uid < uids[-1] and uid not in uids]:
        del suspects[gone]
    asking = _Asking(session, suspects, headers_only=place.folder == "Sent")
    async for part, upto in asking.together([uid for uid in uids if uid not in suspects]):
        yield part, None if suspects else upto
    for uid in sorted((uid for uid in uids if uid in suspects), key=lambda uid: suspects[uid]):
        part = await asking.alone(uid)
        if any(not each.raw for each in part):
            deps.log.warning("inbox.message_unreadable", inbox_id=str(place.inbox_id), folder=place.folder, uid=uid)
        yield part, None
    yield [], uids[-1]


class _Asking:
    """What is asked of one session about one lot of messages; `suspects` learns on which of them it failed."""

    def __init__(self, session: imap.Session, suspects: Suspects, *, headers_only: bool) -> None:
        self._session = session
        self._suspects = suspects
        self._headers_only = headers_only
        self._has_come = False  # a message has: what another one fails on is not the server as a whole

    async def together(self, uids: Sequence[int]) -> AsyncGenerator[tuple[list[imap.Fetched], int]]:
        """In as few commands as may be, each part with its last UID; what is refused is left out, and suspect then."""
        if 0 < len(uids) <= imap.few(headers_only=self._headers_only):
            yield await self._halving(self._few, uids, lambda uid: uid), uids[-1]
            return
        found = await self._halving(self._session.describe, uids, lambda uid: uid)
        while found:
            part = imap.affordable(found, headers_only=self._headers_only)
            found = found[len(part) :]
            yield await self._halving(self._bytes, part, lambda each: each.uid), part[-1].uid

    async def alone(self, uid: int) -> list[imap.Fetched]:
        """This suspect; its place without its bytes when there is no hope left; nothing where it is gone."""
        while self._suspects[uid] < (TRIES if self._has_come else TRIES_ALONE):
            try:
                fetched = await self._bytes(await self._session.describe([uid]))
            except imap.RefusedError:
                self._suspects[uid] += 1
                if not self._has_come:
                    raise
            except imap.ImapError:
                self._suspects[uid] += 1
                raise
            else:
                del self._suspects[uid]
                return fetched
        del self._suspects[uid]
        return [imap.Fetched(found=imap.Found(uid=uid, size=0, internal_date=None), raw=b"", truncated=True)]

    async def _few(self, uids: Sequence[int]) -> list[imap.Fetched]:
        return await self._whole(uids, await self._session.fetch_few(uids, headers_only=self._headers_only))

    async def _bytes(self, part: Sequence[imap.Found]) -> list[imap.Fetched]:
        fetched = await self._session.fetch(part, headers_only=self._headers_only)
        return await self._whole([each.uid for each in part], fetched)

    async def _whole(self, uids: Sequence[int], fetched: list[imap.Fetched]) -> list[imap.Fetched]:
        """The messages; one that is there and was not handed out comes without its bytes."""
        self._has_come |= bool(fetched)
        missing = set(uids) - {each.found.uid for each in fetched}
        withheld = await self._session.describe(sorted(missing))
        return [*fetched, *(imap.Fetched(found=each, raw=b"", truncated=True) for each in withheld)]

    async def _halving(
        self,
        ask: Callable[[Sequence[Asked]], Awaitable[list[Answer]]],
        about: Sequence[Asked],
        uid_of: Callable[[Asked], int],
    ) -> list[Answer]:
        """The answers; what is refused is asked for by halves, until those that are to blame stand alone."""
        try:
            return await ask(about)
        except imap.RefusedError:
            if len(about) == 1:
                self._blame(uid_of(about[0]))
                if not self._has_come and len(self._suspects) > MANY:
                    raise
                return []
        except imap.ImapError:
            self._blame(*map(uid_of, about))
            raise
        middle = len(about) // 2
        answers = await self._halving(ask, about[:middle], uid_of)
        return answers + await self._halving(ask, about[middle:], uid_of)

    def _blame(self, *uids: int) -> None:
        for uid in uids:
            self._suspects[uid] = self._suspects.get(uid, 0) + 1
