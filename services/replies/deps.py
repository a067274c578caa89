"""What the jobs of replies work with beside what every process has: the sessions, and how often to ask."""

from dataclasses import dataclass, field
from datetime import timedelta

from libs.schema.runtime.service import Runtime
from services.replies.model import IntentModel
from services.replies.polls import Polls
from services.replies.sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Deps(Runtime):
    """What replies works with.

    A mailbox is asked every `poll_interval` while it is busy, and at least every `poll_slowest`; business time.
    """

    sessions: Sessions
    polls: Polls = field(default_factory=Polls)
    poll_interval: timedelta
    poll_slowest: timedelta = timedelta(minutes=10)
    model: IntentModel | None = None
