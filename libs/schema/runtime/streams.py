"""The one stream and its durable consumers: declared here, made by `migrate`, asserted by services."""

from typing import Final

DURABLES: Final[dict[str, tuple[str, ...]]] = {
    "sender": ("reply.*.*", "bounce.*.*", "lead.*.*", "email.confirmed.*", "email.complained.*", "warmup.planned.*"),
    "warmup": ("warmup.received.*", "email.sent.*", "bounce.*.*"),
    "replies": ("warmup.engagement_planned.*",),
    "webhooks": (),  # everything
}
