"""A model that reads replies better than the rules, plugged in by configuration: any HTTP endpoint of this contract.

    POST <intent_model_url>, Authorization: Bearer <intent_model_token> where one is set
    {"text": "what the writer wrote, no quotes and no signature", "subject": "Re: Hello",
     "intents": ["interested", "meeting_request", "question", "not_interested", "unsubscribe", "neutral"]}
    200 {"intent": "interested", "confidence": 0.93}

Any other answer, none within `intent_model_timeout_s`, or a longer one than 4 KB: the rules' reading stays. After
failures in a row it is left alone for a while that grows. It is never told who wrote: addresses in the text are masked.
"""

from datetime import datetime, timedelta
from typing import Annotated, get_args

import httpx
import msgspec
from prometheus_client import Counter

from libs.schema.runtime.network import ForbiddenAddressError
from libs.schema.runtime.outgoing import Way, post
from services.replies.rules.bounce import without_addresses
from services.replies.rules.lexicon import HumanIntent

MAX_ANSWER_BYTES = 4096
MAX_TEXT_CHARS = 5000
MAX_SUBJECT_CHARS = 500
FAILURES = 3  # in a row, then it is left alone
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
ASKED = Counter("coldstream_intent_model_total", "Replies that a plugged-in model was asked about", ["outcome"])


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of a text."""

    intent: HumanIntent
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]


class IntentModel:
    """The way to the model; remembers only its failures in a row."""

    def __init__(self, url: str, name: str, *, token: str | None, way: Way) -> None:
        self.name = name
        self._url = url
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._way = way
        self._failures = 0
        self._again_at: datetime | None = None

    def may_be_asked(self, now: datetime) -> bool:
        """Whether it is not being left alone after failures."""
        return self._again_at is None or now >= self._again_at

    async def ask(self, text: str, subject: str, now: datetime) -> Opinion | None:
        """What the model makes of the text; None where it gave no answer that can be used."""
        question = {
            "text": without_addresses(text[:MAX_TEXT_CHARS]),
            "subject": without_addresses(subject[:MAX_SUBJECT_CHARS]),
            "intents": get_args(HumanIntent),
        }
        opinion = await self._opinion(msgspec.json.encode(question))
        self._count(now, answered=opinion is not None)
        return opinion

    async def _opinion(self, question: bytes) -> Opinion | None:
        try:
            status, body = await post(self._way, self._url, question, self._headers)
            return msgspec.json.decode(body, type=Opinion) if status == 200 and body else None
        except (ForbiddenAddressError, httpx.HTTPError, httpx.InvalidURL, OSError, msgspec.DecodeError, ValueError):
            return None  # down, slow or nonsense: the rules' reading stays, and the counter tells

    def _count(self, now: datetime, *, answered: bool) -> None:
        ASKED.labels("answered" if answered else "failed").inc()
        self._failures = 0 if answered else self._failures + 1
        self._again_at = None
        if self._failures >= FAILURES:
            pause = FIRST_PAUSE * 2 ** min(self._failures - FAILURES, 10)
            self._again_at = now + min(pause, LONGEST_PAUSE)
