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
    "silent": 34,
    "interested": 6,
    "not-interested": 6,
    "greylist": 7,
    "ooo": 6,
    "drop": 5,
    "meeting": 4,
    "question": 3,
    "autoreply": 3,
    "unsubscribe": 3,
    "421": 2,
    "oneclick": 2,
    "hardbounce": 2,
    "dsn": 2,
    "softdsn": 2,
    "mailboxfull": 1,
    "policy": 1,
    "policydot": 1,
    "tarpit": 1,
    "tarpitdot": 1,
    "interested-de": 1,
    "interested-fr": 1,
    "interested-ja": 1,
    "not-interested-de": 1,
    "colleague": 1,
    "alias": 1,
    "leftcompany": 1,
    "forged": 1,
}
# One or two minutes between two mails of an inbox and no ramp, so that it writes to thirty people in a morning; ours
# are 5 to 10 minutes, and a new inbox begins with five mails a day.
PACE = {"min_delay_seconds": 60, "max_delay_seconds": 120, "hourly_limit": 40, "auto_throttle_enabled": False}
FIRST_NAMES = ("Ada", "Bo", "Cleo", "Dov", "Eve", "Finn", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou", "Mia", "Ned", "Ola")
# Eighty companies: of three hundred people some have three colleagues, and a company gets three mails a day.
NAMES = ("Northwind", "Acme", "Globex", "Initech", "Umbra", "Hooli", "Stark", "Wayne")
CITIES = ("Oslo", "Turin", "Porto", "Ghent", "Bergen", "Lyon", "Graz", "Cork", "Malmo", "Basel")
COMPANIES = [f"{name} {city}" for city in CITIES for name in NAMES]
# Two arms, spintax, HTML with a style sheet, and a condition: who answers by machine is not written to again so soon.
STEPS: list[dict[str, Any]] = [
    {
        "subject": "{{ first_name }}, a question about {{ company }}",
        "body": "Hi {{ first_name }},\n\nwho at {{ company }} looks after outbound mail?\n\n{{ sender_name }}",
        "variants": [
            {
                "subject": "{{ first_name }}, a question about {{ company }}",
                "body": "{Hi|Hello|Good morning} {{ first_name }},\n\nwho at {{ company }} looks after outbound mail? "
                "I have {an idea|a thought} to share.\n\n{{ sender_name }}",
            },
            {
                "subject": "Outbound mail at {{ company }}",
                "body": "{Hi|Hello} {{ first_name }},\n\nteams like {{ company }} {lose|miss} one answer in five to "
                "spam folders. Worth two minutes?\n\n{{ sender_name }}",
            },
        ],
    },
    {
        "delay_days": 2,
        "body": "<html><head><style>p { font-family: sans-serif; color: #223344 } .ask { font-weight: bold }</style>"
        "</head><body><p>Hi {{ first_name }},</p><p>did my note reach you?</p>"
        '<p class="ask">Two minutes would do.</p><p>{{ sender_name }}</p></body></html>',
        "conditions": [{"type": "intent_is", "intent": ["auto_reply"], "action": "skip"}],
    },
    {
        "delay_days": 3,
        "body": "Hi {{ first_name }},\n\nI'll stop here. If {{ company }} ever needs it, you know where I am."
        "\n\n{{ sender_name }}",
    },
]


def people(count: int) -> list[dict[str, Any]]:
    """So many leads, their kinds spread evenly over the list; the same list for the same count."""
    order = islice(cycle(_spread()), count)
    names = zip(order, cycle(FIRST_NAMES), cycle(COMPANIES), strict=False)
    return [
        {"email": f"{kind}.{name}{n}@{company.replace(' ', '-')}.test".lower(), "first_name": name, "company": company}
        for n, (kind, name, company) in enumerate(names)
    ]


async def build_campaign(ready: Ready, *, leads: int) -> str:
    """Domains, inboxes, a list of so many leads and a three-step campaign, activated; returns the campaign's id.

    Raises:
        ApiError: the API refused something.

    """
    api = ApiClient(ready.api, ready.api_key)
    await api.patch("/v1/team", {"physical_address": "1 Sandbox Lane, Springfield", "company_name": "Coldstream Demo"})
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
    """A hundred kinds: one of each first, the others as far from their like as their number allows."""
    places = [(turn / number, kind) for kind, number in PEOPLE.items() for turn in range(number)]
    return [kind for _, kind in sorted(places)]
