"""When evidence for an unknown end is looked for, and until when it is waited for (reliability.md §2.1).

Never says "not sent": what may have been accepted stays so, and is at last counted as sent.
"""

from datetime import datetime, timedelta

# After T2. The last look, when patience is over, settles it whatever there is.
LOOKS = (
    timedelta(minutes=2),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)


def first_look(patience: timedelta) -> timedelta:
    """How long after T2 the first look is taken."""
    return min(LOOKS[0], patience)


def next_look(committed_at: datetime, patience: timedelta, now: datetime) -> datetime | None:
    """The first look that lies ahead; looks that were missed are not made up for. None: patience is over."""
    looks = [*(look for look in LOOKS if look < patience), patience]
    return next((committed_at + look for look in looks if committed_at + look > now), None)
