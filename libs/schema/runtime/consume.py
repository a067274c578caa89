"""Side-effect handlers: each event once, in one transaction with its effect, acked after the commit."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from libs.schema.events.base import Envelope
from libs.schema.runtime.db import Tx

# (tx, envelope, event); the event's own type is the key in Service.handlers.
Handler: TypeAlias = Callable[[Tx, Envelope, Any], Awaitable[None]]
