"""When a campaign may be made to start. Never looks at a clock."""

from datetime import datetime, timedelta

from services.api.rules.text import Refused

LONGEST_WAIT = timedelta(days=366)


def start_time(at: datetime, now: datetime) -> datetime:
    """The instant itself, if it is still to come and no more than LONGEST_WAIT ahead.

    Raises:
        Refused: it has passed, or is too far away.

    """
    if at < now:
        raise Refused("past", "this instant has passed", "name one that is still to come, or activate the campaign")
    if at > now + LONGEST_WAIT:
        raise Refused("too_far", f"at most {LONGEST_WAIT.days} days ahead", "name an earlier one")
    return at
