"""Is this subject or body a template that the sender can render? Liquid first, then what it must not hold.

Never runs a tenant's text in anything stronger than Liquid (reliability.md S21).
"""

import html
import re
from dataclasses import dataclass
from functools import cache

from liquid import Environment
from liquid.exceptions import LiquidError

from services.api.rules.text import MAX_BODY_CHARS, Refused, line, passage

MAX_SUBJECT_CHARS = 500  # sequences.subject
MAX_LINKS = 100
# Tags that would read other templates or grow without a bound that a reader can see.
_WITHHELD_TAGS = ("include", "render", "tablerow", "doc")
_SCHEMES = frozenset({"http", "https", "mailto"})
_LIQUID_OR_BRACE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|[{|}]", re.DOTALL)
_LINK = re.compile(r"""\b(?:href|src|action)\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)

# What the sender offers to a template beside the lead's custom fields (its LEAD_FIELDS; a test compares them).
LEAD_VARIABLES = frozenset(
    {
        "email",
        "first_name",
        "last_name",
        "company",
        "title",
        "phone",
        "linkedin_url",
        "website",
        "country",
        "city",
        "custom_fields",
    }
)


class TemplateRefused(Refused):
    """A template that cannot be rendered, with the place of the fault; lines and columns count from 1."""

    def __init__(self, code: str, message: str, mend: str, *, source: str, index: int) -> None:
        self.row = source.count("\n", 0, index) + 1
        self.column = index - (source.rfind("\n", 0, index) + 1) + 1
        super().__init__(code, f"line {self.row}, column {self.column}: {message}", mend)


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A variable that no lead column and no custom field of the team answers to."""

    name: str
    row: int
    column: int


class _Bounded(Environment):
    """Liquid with limits that no letter reaches, so that trying a template costs no more than a moment."""

    loop_iteration_limit = 1_000
    output_stream_limit = 100_000
    context_depth_limit = 10


@cache
def _environment() -> Environment:
    environment = _Bounded()
    for tag in _WITHHELD_TAGS:
        environment.tags.pop(tag, None)
    return environment


def subject(value: str) -> str:
    """A subject template, trimmed; the empty one means "in the thread of the first step".

    Raises:
        Refused: too long, only spaces, more than one line, or no valid template.

    """
    if value and not value.strip():
        raise Refused(
            "blank_subject", "the subject is only spaces", "write one, or leave it empty to stay in the thread"
        )
    text = line(value)
    if len(text) > MAX_SUBJECT_CHARS:
        raise Refused("too_long", f"a subject has at most {MAX_SUBJECT_CHARS} characters", "shorten it")
    _check(text)
    return text


def body(value: str) -> str:
    """A body template.

    Raises:
        Refused: empty, too long, with links that nobody should follow, or no valid template.

    """
    text = passage(value)
    if not text.strip():
        raise Refused("blank_body", "the body is empty", "write what the email shall say")
    if len(text) > MAX_BODY_CHARS:
        raise Refused("too_long", f"a body has at most {MAX_BODY_CHARS} characters", "shorten it")
    _check(text)
    _check_links(text)
    return text


def unknown_variables(source: str, custom_fields: frozenset[str]) -> list[Unknown]:
    """The variables of a valid template that no lead has: without a default, the sender holds the email back."""
    known = LEAD_VARIABLES | custom_fields
    uses = _environment().from_string(source).analyze(include_partials=False).globals
    found = ((name, places[0].span.line_col(source)) for name, places in uses.items() if name not in known)
    return [Unknown(name=name, row=row, column=column + 1) for name, (row, column) in found]


def _check(source: str) -> None:
    environment = _environment()
    try:
        template = environment.from_string(source)
    except LiquidError as error:
        raise _liquid_refused(error, source) from None
    for name, places in template.analyze(include_partials=False).filters.items():
        if name not in environment.filters:
            raise TemplateRefused(
                "template_filter",
                f"there is no filter {name!r}",
                "use one of Liquid's own filters",
                source=source,
                index=places[0].index,
            )
    try:
        template.render()  # with nothing known: an endless loop or a filter without its argument shows itself
    except LiquidError as error:
        raise _liquid_refused(error, source) from None
    _check_spintax(source)


def _liquid_refused(error: LiquidError, source: str) -> TemplateRefused:
    index = error.token.start_index if error.token is not None else len(source)
    message = str(error.message or "not valid Liquid")
    return TemplateRefused("template_syntax", message, "mend the tag", source=source, index=max(index, 0))


def _check_spintax(source: str) -> None:
    """Refuses `{one|two}`, which the sender does not spin and would send as it stands; without a bar it is CSS."""
    open_at: list[int] = []
    for found in _LIQUID_OR_BRACE.finditer(source):
        if found[0] == "{":
            open_at.append(found.start())
        elif found[0] == "}" and open_at:
            open_at.pop()
        elif found[0] == "|" and open_at:
            raise TemplateRefused(
                "spintax",
                "{one|two} is not spun in this release and would be sent as it stands",
                "write variants of the step instead",
                source=source,
                index=open_at[-1],
            )


def _check_links(source: str) -> None:
    links = list(_LINK.finditer(source))
    if len(links) > MAX_LINKS:
        raise Refused("too_many_links", f"a body has at most {MAX_LINKS} links", "remove some")
    for link in links:
        # A browser drops tabs and line breaks from an address, and the space around it.
        target = re.sub(r"[\x00-\x20]", "", html.unescape(link[1].strip("\"'")))
        scheme = _SCHEME.match(target)
        if scheme and scheme[1].lower() not in _SCHEMES:
            raise TemplateRefused(
                "link_scheme",
                f"links of the kind {scheme[1].lower()!r} are not allowed",
                "use https, http or mailto",
                source=source,
                index=link.start(1),
            )
