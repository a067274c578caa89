"""Bodies of questions about what will be."""

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from services.api.bodies.fields import Body, by
from services.api.rules.instants import written_instant

Instant = Annotated[datetime | None, BeforeValidator(by(written_instant))]


class SimulationIn(Body):
    """How the run is imagined."""

    start_at: Instant = Field(
        default=None, description="when a campaign that does not run is started; now, or as scheduled, when left out"
    )
