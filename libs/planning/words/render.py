"""A step's template and a lead's values become subject and bodies; what cannot be written well is refused.

Templates are Liquid with hard limits. Never sends "Hi ,", and never evaluates a lead's values: they are inserted
as they are, escaped in the HTML part.
"""

import html
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec
from inscriptis import get_text  # pyright: ignore[reportMissingTypeStubs] - it carries its annotations inline
from inscriptis.css_profiles import CSS_PROFILES  # pyright: ignore[reportMissingTypeStubs] - the same
from inscriptis.model.config import ParserConfig  # pyright: ignore[reportMissingTypeStubs] - the same
from liquid import BoundTemplate, Environment, StrictDefaultUndefined
from liquid.exceptions import LiquidError, UndefinedError

from libs.planning.words.links import links

MAX_SUBJECT = 500  # the column's width; RFC 5322 folds it anyway
# What a lead offers to templates beside its custom fields.
LEAD_FIELDS = (
    "first_name",
    "last_name",
    "company",
    "title",
    "email",
    "phone",
    "linkedin_url",
    "website",
    "city",
    "country",
)
_HTML = re.compile(r"<(?:p|br|div|a|html|body|span|table|b|i|u|strong|em|ul|ol|li|h[1-6]|img)\b[^>]*>", re.IGNORECASE)
# Control characters, every line separator that Unicode knows, and the marks that turn the writing round (B1, B24).
_NOT_IN_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_REPLY_PREFIX = re.compile(r"^\s*re:", re.IGNORECASE)
_TEXT_FROM_HTML = ParserConfig(css=CSS_PROFILES["relaxed"], display_links=True)


class CannotRenderError(Exception):
    """The step cannot be written for this lead; `gate` and `value` are what the lead is held with."""

    def __init__(self, gate: str, value: str) -> None:
        super().__init__(f"{gate}: {value}")
        self.gate = gate
        self.value = value


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What the recipient reads: the subject, the text, and the HTML where the step is written in HTML."""

    subject: str
    text: str
    html: str | None = None


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """What the law asks for under every cold mail: who writes from where, and how to opt out (CAN-SPAM §5(a)(5))."""

    company: str | None
    physical_address: str
    unsubscribe_url: str


class _Lenient(StrictDefaultUndefined):
    """A missing value: false in a condition, replaced by `default`, refused anywhere else."""

    allowed_properties = StrictDefaultUndefined.allowed_properties | {"__bool__", "__eq__", "__liquid__", "__class__"}

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is False or other is None

    __hash__ = StrictDefaultUndefined.__hash__


class _Limited(Environment):
    # Two orders above any honest template; a hostile one ends after about a millisecond.
    loop_iteration_limit = 1_000
    output_stream_limit = 100_000
    context_depth_limit = 10


_PLAIN = _Limited(undefined=_Lenient)
_ESCAPED = _Limited(undefined=_Lenient, autoescape=True)


def lead_values(columns: Mapping[str, Any], custom_fields: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a template; columns win over custom fields, an empty value is none, so a fallback stands."""
    values = {name: value for name, value in custom_fields.items() if not _is_blank(value)}
    values["custom_fields"] = dict(values)
    values.update({name: columns[name] for name in LEAD_FIELDS if not _is_blank(columns.get(name))})
    return values


def compose(
    subject: str, body: str, values: Mapping[str, Any], *, thread_subject: str | None, footer: Footer
) -> Content:
    """The content of one mail; an empty subject goes on in the thread that has `thread_subject`.

    Raises:
        CannotRenderError: a variable without value or fallback, a broken template, no subject, no text.

    """
    line = subject_line(subject, values, thread_subject)
    is_html = _HTML.search(body) is not None
    written = clean(_rendered(body, values, escape=is_html))
    if not written.strip():
        raise CannotRenderError("body", "empty")
    if is_html and not all(link.is_allowed for link in links(written)):
        # The template was checked when it was saved; Liquid and spintax can put a scheme together that it did not show.
        raise CannotRenderError("template", "link_scheme")
    if not is_html:
        return Content(subject=line, text=written.rstrip() + _text_footer(footer))
    whole = _with_html_footer(written, footer)
    return Content(subject=line, text=get_text(written, _TEXT_FROM_HTML).rstrip() + _text_footer(footer), html=whole)


def subject_line(subject: str, values: Mapping[str, Any], thread_subject: str | None) -> str:
    """The mail's subject; an empty template goes on in the thread that has `thread_subject`.

    Raises:
        CannotRenderError: a variable without value or fallback, a broken template, no subject.

    """
    line = one_line(_rendered(subject, values, escape=False))
    if not subject.strip() and thread_subject is not None:
        line = thread_subject if _REPLY_PREFIX.match(thread_subject) else f"Re: {thread_subject}"
    if not line:
        raise CannotRenderError("subject", "empty")
    return line[:MAX_SUBJECT]


def one_line(text: str) -> str:
    """The text as it may stand in a header: one line, no control characters, no marks that turn the writing round."""
    return " ".join(_NOT_IN_ONE_LINE.sub(" ", text).split())


def clean(text: str) -> str:
    """The text as it may stand in a body: LF line ends, no control characters."""
    return _NOT_IN_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=4096)
def _parsed(template: str, escape: bool) -> BoundTemplate:  # noqa: FBT001 - lru_cache knows no keyword arguments by name
    return (_ESCAPED if escape else _PLAIN).from_string(template)


def _rendered(template: str, values: Mapping[str, Any], *, escape: bool) -> str:
    try:
        return _parsed(template, escape).render(**values)
    except UndefinedError as error:
        raise CannotRenderError("variable", _variable(error)) from None
    except LiquidError as error:
        raise CannotRenderError("template", type(error).__name__) from None


def _variable(error: UndefinedError) -> str:
    """The variable's name out of the library's "'first_name' is undefined"."""
    return str(error.args[0]).removesuffix(" is undefined").strip("'")[:100]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text_footer(footer: Footer) -> str:
    lines = [part for part in (footer.company, clean(footer.physical_address).strip()) if part]
    return "\n\n-- \n" + "\n".join(lines) + f"\nUnsubscribe: {footer.unsubscribe_url}\n"


def _with_html_footer(written: str, footer: Footer) -> str:
    lines = [part for part in (footer.company, clean(footer.physical_address).strip()) if part]
    address = "<br>".join(html.escape(line) for part in lines for line in part.split("\n"))
    link = html.escape(quote(footer.unsubscribe_url, safe=":/?&=%#~.-_"), quote=True)
    block = f'<p style="font-size:12px;color:#666">{address}<br><a href="{link}">Unsubscribe</a></p>'
    head, closing, rest = _split_at_body_end(written)
    return head + block + closing + rest


def _split_at_body_end(written: str) -> tuple[str, str, str]:
    found = re.search(r"</body\s*>", written, re.IGNORECASE)
    if found is None:
        return written, "", ""
    return written[: found.start()], found.group(), written[found.end() :]
