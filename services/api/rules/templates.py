"""Is this subject or body a template that the sender can render? Liquid first, then spintax and links.

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
MAX_SPIN_DEPTH = 8
MAX_SPIN_VARIANTS = 10_000  # of one group with all that is nested in it; far beyond what a person writes
MAX_LINKS = 100
# Tags that would read other templates or grow without a bound that a reader can see.
_WITHHELD_TAGS = ("include", "render", "tablerow", "doc")
_SCHEMES = frozenset({"http", "https", "mailto"})
_LIQUID_OR_BRACE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|[{|}]", re.DOTALL)
_LINK = re.compile(r"""\b(?:href|src|action)\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)

# What every lead has (leads' contact columns), besides its custom fields.
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
        "timezone",
        "country",
        "city",
        "custom_fields",
    }
)
# What the sender adds: who writes, and the way out.
SENDER_VARIABLES = frozenset({"from_name", "from_email", "unsubscribe_url", "company_name", "physical_address"})


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
    output_stream_limit = 200_000
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
    """The variables of a valid template that would be empty for every lead, with their first places."""
    known = LEAD_VARIABLES | SENDER_VARIABLES | custom_fields
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


@dataclass
class _Group:
    """An open brace: where it stands, and how many texts its finished and its current alternative can become."""

    index: int
    is_spin: bool = False
    finished: int = 0
    current: int = 1


def _check_spintax(source: str) -> None:
    """`{one|two}` may be nested; braces without a bar are plain text (CSS); Liquid's own are skipped."""
    open_groups: list[_Group] = []
    for found in _LIQUID_OR_BRACE.finditer(source):
        if found[0] == "{":
            open_groups.append(_Group(found.start()))
            if len(open_groups) > MAX_SPIN_DEPTH:
                raise _spin_refused(
                    "spintax_depth", f"braces are nested more than {MAX_SPIN_DEPTH} deep", source, found
                )
        elif found[0] == "|" and open_groups:
            group = open_groups[-1]
            group.is_spin = True
            group.finished, group.current = group.finished + group.current, 1
        elif found[0] == "}" and open_groups:
            group = open_groups.pop()
            variants = group.finished + group.current
            if variants > MAX_SPIN_VARIANTS:
                raise _spin_refused(
                    "spintax_variants", f"this group has more than {MAX_SPIN_VARIANTS} variants", source, found
                )
            if open_groups:
                open_groups[-1].current *= variants
    if left := [group for group in open_groups if group.is_spin]:
        raise TemplateRefused(
            "spintax_open", "this { is never closed", "close it with }", source=source, index=left[0].index
        )


def _spin_refused(code: str, message: str, source: str, found: re.Match[str]) -> TemplateRefused:
    return TemplateRefused(code, message, "write simpler alternatives", source=source, index=found.start())


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
