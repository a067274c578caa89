"""The body of a campaign's start."""

from services.api.bodies.fields import Body, Instant


class ScheduleIn(Body):
    """When the campaign starts: an instant with its offset, at most a year ahead."""

    start_at: Instant
