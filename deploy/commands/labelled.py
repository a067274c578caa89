"""Replies that people have read again, as cases for the labelled set; must never print who wrote.

A reply's words are personal data, so they leave the database only when they are asked for.
"""

import asyncpg
import msgspec

from deploy.commands.terminal import DONE, carry_out, print_json, progress
from services.replies.rules.intent import Reading, read_intent
from services.replies.rules.text import new_text

LIST_CORRECTED = """
SELECT r.id, r.intent::text AS intent, r.body_text, r.from_name, e.body_text AS ours
FROM replies AS r
LEFT JOIN emails AS e ON e.id = r.email_id
WHERE r.intent_manual_override
ORDER BY r.received_at, r.id
"""


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """A case without its words: what a person says, and what today's rules would."""

    reply_id: str
    intent: str
    found: str
    confidence: float


def labelled(database_url: str, *, with_text: bool) -> int:
    """Prints a line for each reply that a person has classified, oldest first, and how many today's rules read so.

    With the text a line is a case of tests/labelled; without, it names the reply and what the rules make of it.
    """

    async def work() -> int:
        connection = await asyncpg.connect(database_url, timeout=5)
        try:
            rows = await connection.fetch(LIST_CORRECTED)
        finally:
            await connection.close()
        right = 0
        for row in rows:
            text = new_text(row["body_text"] or "", row["ours"] or "", row["from_name"] or "")
            reading = read_intent(text)
            right += reading.intent == row["intent"]
            print_json(
                {"intent": row["intent"], "text": text} if with_text else _without_text(row, reading), one_line=True
            )
        progress.print(f"{len(rows)} read again by people; today's rules agree with {right}")
        return DONE

    return carry_out(work())


def _without_text(row: asyncpg.Record, reading: Reading) -> Corrected:
    return Corrected(reply_id=str(row["id"]), intent=row["intent"], found=reading.intent, confidence=reading.confidence)
