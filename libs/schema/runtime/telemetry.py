"""What a process tells about itself: JSON log lines, trace context that rides in events, metrics of the runtime.

Never writes a secret, an address or a body: fields named like one are masked at the last step.
Metrics go to prometheus_client's own registry; a service declares its own beside its code, with bounded labels only.
"""

import logging
import sys
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

from libs.schema.events.base import Envelope

OUTBOX_PENDING: Final = Gauge("coldstream_outbox_pending", "Events recorded and not yet on the stream")
OUTBOX_AGE: Final = Gauge("coldstream_outbox_oldest_age_seconds", "Age of the oldest of them")
PUBLISHED: Final = Counter("coldstream_events_published_total", "Events put onto the stream by this process")
HANDLED: Final = Histogram(
    "coldstream_handler_duration_seconds", "One event in one handler, with its commit", ["consumer", "outcome"]
)
PARKED: Final = Counter("coldstream_dead_letters_total", "Events that were parked", ["consumer"])
SKIPPED: Final = Counter(
    "coldstream_events_skipped_total", "Events of a type that this release does not know", ["consumer"]
)
CONSUMER_PENDING: Final = Gauge("jetstream_consumer_num_pending", "Events the consumer has not got yet", ["consumer"])
CONSUMER_UNACKED: Final = Gauge("jetstream_consumer_num_ack_pending", "Events it got and has not acked", ["consumer"])
CONSUMER_REDELIVERED: Final = Gauge("jetstream_consumer_num_redelivered", "Events it got again", ["consumer"])
PROJECTION_LAG: Final = Gauge("coldstream_projection_lag_seconds", "Age of the event it works on", ["projection"])
PROJECTION_POSITION: Final = Gauge("coldstream_projection_position", "Last stream sequence applied", ["projection"])
LOOP_ERRORS: Final = Counter("coldstream_loop_errors_total", "Ticks that raised", ["service", "loop"])
LEASE_HELD: Final = Gauge("coldstream_lease_held", "1 where this process is the elected one", ["role"])
BUILD: Final = Gauge("coldstream_build_info", "Which release runs", ["version"])

# What must not stand in a log line, whatever somebody passes to it; a field of these names is masked.
_SECRET_WORDS: Final = (
    "password",
    "secret",
    "token",
    "authorization",
    "cookie",
    "pepper",
    "credential",
    "api_key",
    "body",
)
_MASK: Final = "***"
_propagator: Final = TraceContextTextMapPropagator()
_tracer: Final = trace.get_tracer("coldstream")


class TelemetryError(Exception):
    """Traces were asked for and cannot be sent from this installation; the text says what to install."""


def configure(service: str, *, log_level: str, otlp_endpoint: str | None) -> None:
    """Sets up logs and traces of this process; a second call changes the logs and keeps the tracer.

    Raises:
        TelemetryError: an endpoint is given and no exporter is installed.

    """
    _configure_logs(service, log_level)
    BUILD.labels(version("coldstream")).set(1)
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"coldstream-{service}"}))
    if otlp_endpoint is not None:
        _export(provider, otlp_endpoint)
    trace.set_tracer_provider(provider)


def current_traceparent() -> str | None:
    """The W3C traceparent of the span that runs now, or None outside of any."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def span(name: str, **attributes: str | int) -> Generator[Span]:
    """A span around one unit of work; an exception marks it as failed and goes on. Attributes are ids, no addresses."""
    with _tracer.start_as_current_span(name, attributes=attributes) as current:
        yield current


@contextmanager
def handling(consumer: str, envelope: Envelope) -> Generator[Span]:
    """The span and the log context of one event in one consumer: child of the span that recorded the event."""
    carrier = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": consumer,
        "messaging.message.id": str(envelope.id),
        "cloudevents.event_type": envelope.type,
        "cloudevents.event_source": envelope.source,
        "cloudevents.event_subject": envelope.subject,
    }
    bound = {
        "event_id": str(envelope.id),
        "event_type": envelope.type,
        "correlation_id": str(envelope.correlationid),
        "team_id": str(envelope.teamid),
    }
    with (
        structlog.contextvars.bound_contextvars(**bound),
        _tracer.start_as_current_span(
            f"process {envelope.type}",
            context=_propagator.extract(carrier),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        ) as current,
    ):
        yield current


def logger(**bound: str) -> structlog.stdlib.BoundLogger:
    """A logger whose every line carries these ids."""
    return structlog.stdlib.get_logger(**bound)


def _export(provider: TracerProvider, endpoint: str) -> None:
    try:
        exporters = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise TelemetryError(
            "COLDSTREAM_OTLP_ENDPOINT is set: pip install opentelemetry-exporter-otlp-proto-http, or unset it"
        ) from None
    provider.add_span_processor(BatchSpanProcessor(exporters.OTLPSpanExporter(endpoint=endpoint)))


def _configure_logs(service: str, level: str) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _with_trace,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Libraries tell more than may be told at debug: aioimaplib logs what it receives (reliability.md S12).
    for library in ("aioimaplib", "asyncio", "faststream", "nats", "uvicorn", "httpx", "httpcore"):
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service, version=version("coldstream"))


def _with_trace(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = format(context.trace_id, "032x")
        line["span_id"] = format(context.span_id, "016x")
    return line


def mask_secrets(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The log line with every field masked that is named like a secret; the last step before it is written."""
    for name in line:
        if _is_secret(name):
            line[name] = _MASK
    return line


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)
