"""SQL of tracked links: a campaign's addresses whose visits can be counted."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx

ADD_LINKS = """
INSERT INTO tracked_link (team_id, campaign_id, id, url, created_at)
SELECT $1, $2, l.id, l.url, $5
FROM unnest($3::uuid[], $4::text[]) AS l(id, url)
ON CONFLICT (campaign_id, md5(url)) DO NOTHING
"""


async def add_links(  # noqa: PLR0913, PLR0917  the rows have that many facts
    tx: Tx, team_id: UUID, campaign_id: UUID, urls: Sequence[str], new_id: Callable[[], UUID], at: datetime
) -> None:
    """Adds the links that the campaign does not have yet; those that it has keep their ids, for mails already sent."""
    if urls:
        await tx.execute(ADD_LINKS, team_id, campaign_id, [new_id() for _ in urls], urls, at)
