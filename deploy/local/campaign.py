"""The demo's campaign, made as a user's program would make it: through the API, in the order of the README."""

from itertools import cycle, islice
from typing import Any

from deploy.local.client import ApiClient
from deploy.local.platform import Ready

DOMAINS = ("coldstream-demo.test", "try-coldstream.test")
SENDERS = ("anna", "ben", "carla", "david", "emma")
PASSWORD = "any-but-the-wrong-one"  # noqa: S105 - the sandbox takes every password but `wrong`
BATCH = 1000
# How often each kind of person comes among a hundred; sandbox/recipients.py says what they do. Few bounce, since many
# bounces pause an inbox.
PEOPLE = {
    "silent": 50,
    "interested": 10,
    "not-interested": 9,
    "greylist": 9,
    "ooo": 7,
    "drop": 6,
    "unsubscribe": 3,
    "oneclick": 2,
    "hardbounce": 2,
    "dsn": 2,
}
# One or two minutes between two mails of an inbox and no ramp, so that it writes to thirty people in a morning; ours
# are 5 to 10 minutes, and a new inbox begins with five mails a day.
PACE = {"min_delay_seconds": 60, "max_delay_seconds": 120, "hourly_limit": 40, "auto_throttle_enabled": False}
# All these people work for eight companies: no limit on mails to one of them.
TEAM = {"domain_daily_limit": 0, "domain_gap_minutes": 0}
FIRST_NAMES = ("Ada", "Bo", "Cleo", "Dov", "Eve", "Finn", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou", "Mia", "Ned", "Ola")
COMPANIES = ("Northwind", "Acme", "Globex", "Initech", "Umbra", "Hooli", "Stark", "Wayne")
STEPS: list[dict[str, Any]] = [
    {
        "subject": "{{ first_name }}, a question about {{ company }}",
        "body": "Hi {{ first_name }},\n\nwho at {{ company }} looks after outbound mail? I have an idea.\n\nAnna",
    },
    {
        "delay_days": 2,
        "body": "Hi {{ first_name }},\n\ndid my note reach you? Two minutes would do.\n\nAnna",
    },
    {
        "delay_days": 3,
        "body": "Hi {{ first_name }},\n\nI'll stop here. If {{ company }} ever needs it, you know where I am.\n\nAnna",
    },
]


def people(count: int) -> list[dict[str, Any]]:
    """So many leads, their kinds spread evenly over the list; the same list for the same count."""
    order = islice(cycle(_spread()), count)
    names = zip(order, cycle(FIRST_NAMES), cycle(COMPANIES), strict=False)
    return [
        {"email": f"{kind}.{name}{n}@{company}.test".lower(), "first_name": name, "company": company}
        for n, (kind, name, company) in enumerate(names)
    ]


async def build_campaign(ready: Ready, *, leads: int) -> str:
    """Domains, inboxes, a list of so many leads and a three-step campaign, activated; returns the campaign's id.

    Raises:
        ApiError: the API refused something.

    """
    api = ApiClient(ready.api, ready.api_key)
    address = {"physical_address": "1 Sandbox Lane, Springfield", "company_name": "Coldstream Demo"}
    await api.patch("/v1/team", address | {"settings": TEAM})
    for domain in DOMAINS:
        await api.post("/v1/domains", {"domain": domain})
    inbox_ids = [await _connect(api, ready, f"{name}@{domain}") for domain in DOMAINS for name in SENDERS]
    lead_list = await api.post("/v1/lead-lists", {"name": "Demo"})
    everybody = people(leads)
    for first in range(0, len(everybody), BATCH):
        batch = {"lead_list_id": lead_list["id"], "leads": everybody[first : first + BATCH]}
        await api.post("/v1/leads:batch", batch)
    campaign = await api.post(
        "/v1/campaigns",
        {"name": "Demo", "lead_list_id": lead_list["id"], "inbox_ids": inbox_ids, "sequences": STEPS},
    )
    await api.post(f"/v1/campaigns/{campaign['id']}/activate")
    return campaign["id"]


async def _connect(api: ApiClient, ready: Ready, email: str) -> str:
    inbox = await api.post(
        "/v1/inboxes",
        {
            "email": email,
            "from_name": email.partition("@")[0].title(),
            "provider": "smtp",
            "smtp_host": ready.smtp_host,
            "smtp_port": ready.smtp_port,
            "smtp_password": PASSWORD,
            "imap_host": ready.imap_host,
            "imap_port": ready.imap_port,
            "settings": PACE,
        },
    )
    return inbox["id"]


def _spread() -> list[str]:
    """A hundred kinds, each as far from its like as its number allows."""
    places = [((turn + 0.5) / number, kind) for kind, number in PEOPLE.items() for turn in range(number)]
    return [kind for _, kind in sorted(places)]
