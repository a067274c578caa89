"""Is this subject or body a template that the sender can render? Spintax, Liquid, then what it must not hold.

Never runs a tenant's text in anything stronger than Liquid (reliability.md S21).
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError

from libs.planning.words import spintax
from libs.planning.words.links import links
from libs.planning.words.spintax import SpintaxError
from services.api.rules.text import MAX_BODY_CHARS, Refused, line, passage

MAX_SUBJECT_CHARS = 500  # sequences.subject
MAX_LINKS = 100
# Tags that would read other templates or grow without a bound that a reader can see.
_WITHHELD_TAGS = ("include", "render", "tablerow", "doc")

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
        self.row, self.column = _place(source, index)
        super().__init__(code, f"line {self.row}, column {self.column}: {message}", mend)


def _place(source: str, index: int) -> tuple[int, int]:
    return source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)


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
    words = _Words(source, spintax.parse(source))
    uses = _environment().from_string(words.text).analyze(include_partials=False).globals
    found = ((name, words.line_col(places[0].span.index)) for name, places in uses.items() if name not in known)
    return [Unknown(name=name, row=row, column=column) for name, (row, column) in found]


class _Words:
    """All that a part of a template can say, options one after the other, and where in the source each word stands."""

    def __init__(self, source: str, nodes: spintax.Nodes) -> None:
        self._source = source
        self._spans = list(spintax.every_word(nodes))
        self._starts = list(accumulate((span.end - span.start for span in self._spans), initial=0))
        self.text = "".join(source[span.start : span.end] for span in self._spans)

    def place_of(self, index: int) -> int:
        """The index in the source of the character at `index` of the text."""
        if not 0 <= index < len(self.text):
            return len(self._source)
        nth = bisect_right(self._starts, index) - 1
        return self._spans[nth].start + index - self._starts[nth]

    def line_col(self, index: int) -> tuple[int, int]:
        """The line and column in the source of the character at `index` of the text, from 1."""
        return _place(self._source, self.place_of(index))

    def refuse(self, code: str, message: str, mend: str, index: int) -> TemplateRefused:
        """The fault at `index` of the text, told by its place in the source."""
        return TemplateRefused(code, message, mend, source=self._source, index=self.place_of(index))

    def liquid(self) -> BoundTemplate:
        """The text as a template.

        Raises:
            TemplateRefused: it is not valid Liquid.

        """
        try:
            return _environment().from_string(self.text)
        except LiquidError as error:
            raise self.not_liquid(error) from None

    def not_liquid(self, error: LiquidError) -> TemplateRefused:
        """Liquid's own fault, told by its place in the source."""
        index = error.token.start_index if error.token is not None else len(self.text)
        message = str(error.message or "not valid Liquid")
        return self.refuse("template_syntax", message, "mend the tag", max(index, 0))


def _check(source: str) -> None:
    try:
        nodes = spintax.parse(source)
    except SpintaxError as error:
        mend = "close the brace, offer fewer choices, or write \\{ for a brace that is only a brace"
        raise TemplateRefused("spintax", str(error), mend, source=source, index=error.index) from None
    for option in spintax.options(nodes):
        # Whole in itself, so that every variant of the text is whole too, whichever options meet in it.
        if "{%" in (words := _Words(source, option)).text:
            words.liquid()
    words = _Words(source, nodes)
    template = words.liquid()
    for name, places in template.analyze(include_partials=False).filters.items():
        if name not in _environment().filters:
            raise words.refuse(
                "template_filter", f"there is no filter {name!r}", "use one of Liquid's own filters", places[0].index
            )
    try:
        template.render()  # with nothing known: an endless loop or a filter without its argument shows itself
    except LiquidError as error:
        raise words.not_liquid(error) from None


def _check_links(source: str) -> None:
    found = list(links(source))
    if len(found) > MAX_LINKS:
        raise Refused("too_many_links", f"a body has at most {MAX_LINKS} links", "remove some")
    for link in found:
        if not link.is_allowed:
            raise TemplateRefused(
                "link_scheme",
                f"links of the kind {link.scheme!r} are not allowed",
                "use https, http or mailto",
                source=source,
                index=link.place,
            )
