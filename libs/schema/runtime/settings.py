"""What a process is told from outside: one Struct per service, read from the environment once and checked at start.

Never puts a value into an error, a log line or a repr: most of them are secrets.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import msgspec

PREFIX = "COLDSTREAM_"
_KEY_BYTES = 32
_MAKE_KEY = "python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"

Key = Annotated[bytes, msgspec.Meta(min_length=_KEY_BYTES, max_length=_KEY_BYTES)]


class SettingsError(Exception):
    """One or more variables are missing or wrong; the text names each with its mend."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process needs; a service's own Settings extends it. A field's Meta description is its mend."""

    database_url: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            description="the PostgreSQL URL of this service's own login, postgresql://coldstream_sender:…@host/coldstream",
        ),
    ]
    nats_url: Annotated[str, msgspec.Meta(min_length=1, description="the NATS URL, nats://user:password@host:4222")]
    # Seals credentials and signs tokens.
    secret_key: Annotated[Key, msgspec.Meta(description=f"32 random bytes in base64: {_MAKE_KEY}")]
    # Never rotates: it is in every lead_key (design.md §9.3).
    pepper: Annotated[
        Key, msgspec.Meta(description=f"32 random bytes in base64, kept with the backups for ever: {_MAKE_KEY}")
    ]
    # Stands in headers and links, so it is ASCII and short.
    public_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[!-;=?-~]{1,300}$")] = "http://127.0.0.1:8081"
    # Opens these networks to SMTP, IMAP and webhooks (CIDR, comma separated); only a sandbox wants loopback here.
    dangerous_allow_networks: tuple[str, ...] = ()
    extra_ca_file: str | None = None  # PEM, trusted besides the system's
    ops_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0  # /livez, /readyz, /metrics; 0 = none
    ops_host: str = "127.0.0.1"  # 0.0.0.0 in a container, whose network is its own
    # How long work in hand may take to end after SIGTERM, seconds; whoever sends SIGKILL must wait longer.
    drain_timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 45.0
    # Shortens the pauses of loops that found nothing to do: a sandbox wants its clock's jumps to be seen soon.
    idle_factor: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    log_level: Annotated[str, msgspec.Meta(pattern="^(debug|info|warning|error)$")] = "info"
    otlp_endpoint: str | None = None  # where traces go; none = nowhere

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


S = TypeVar("S", bound=msgspec.Struct)


def load(kind: type[S], environ: Mapping[str, str] = os.environ) -> S:
    """The settings out of COLDSTREAM_<FIELD>, or the file that COLDSTREAM_<FIELD>_FILE names (less its last newline).

    Raises:
        SettingsError: names every variable that is missing or wrong, all at once.

    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in msgspec.structs.fields(kind):
        variable = PREFIX + field.name.upper()
        try:
            text = _read(variable, environ)
            if text is not None:
                values[field.encode_name] = _convert(text, field.type)
            elif field.required:
                wrong.append(f"{variable} is missing{_mend(field.type)}")
        except (ValueError, OSError) as error:
            wrong.append(f"{variable} is wrong: {error}{_mend(field.type)}")
    if wrong:
        raise SettingsError("these settings must be mended:\n  " + "\n  ".join(wrong))
    return kind(**values)


def _read(variable: str, environ: Mapping[str, str]) -> str | None:
    text, file = environ.get(variable), environ.get(f"{variable}_FILE")
    if text is not None and file is not None:
        raise ValueError(f"{variable}_FILE is set too; set one of them")
    if file is None:
        return text
    try:
        return Path(file).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise ValueError(f"{variable}_FILE cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{variable}_FILE is not UTF-8 text") from None


def _convert(text: str, kind: Any) -> Any:
    """The text as a value of the field's type; the error says what was expected and never what was found."""
    info = msgspec.inspect.type_info(kind)
    bare = info.type if isinstance(info, msgspec.inspect.Metadata) else info
    value: Any = text
    if isinstance(bare, msgspec.inspect.BytesType):
        value = _from_base64(text)
    elif isinstance(bare, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        value = [part.strip() for part in text.split(",") if part.strip()]
    return msgspec.convert(value, kind, strict=False, builtin_types=(bytes,))


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise ValueError("it is no base64") from None


def _mend(kind: Any) -> str:
    info = msgspec.inspect.type_info(kind)
    schema = cast("dict[str, Any] | None", getattr(info, "extra_json_schema", None))
    return f"; set it to {schema['description']}" if schema and "description" in schema else ""
