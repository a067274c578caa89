"""A campaign's links get their ids when its sequence is saved; the sender puts them in where clicks are counted."""

from collections.abc import Sequence
from uuid import UUID

from libs.planning.words.anchors import countable_urls
from services.api.queries import links
from services.api.resources import Step
from services.api.routing import Scope


async def keep_links(at: Scope, campaign_id: UUID, steps: Sequence[Step]) -> None:
    """Keeps every countable address of the steps' texts and variants, once a campaign; a second call changes nothing.

    Whether clicks are counted is asked at sending: the setting may be turned on later.
    """
    texts = [text.body for step in steps for text in (step, *step.variants)]
    urls = dict.fromkeys(url for text in texts for url in countable_urls(text))
    await links.add_links(at.tx, at.team_id, campaign_id, list(urls), at.runtime.new_id, at.now)
