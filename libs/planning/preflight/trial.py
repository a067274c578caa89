"""A campaign's steps written for its real leads, for trial: who would be held, and who gets nothing at all.

The mails are written by the function that writes the real ones. Never reads and never writes anything down.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from libs.planning.hours.windows import Window, hours_of, known_zone, next_open, recipient_windows
from libs.planning.preflight.findings import Finding, Plan, Reader, Severity, about
from libs.planning.sequence import Step, Words, variant_of, words_of
from libs.planning.settings import campaign_rules
from libs.planning.words.letter import Writer, spun_for, write
from libs.planning.words.rehearsal import is_plain
from libs.planning.words.render import CannotRenderError

MAX_LEADS = 20_000  # looked at one by one
MAX_LETTERS = 40_000  # some 100 µs each
MAX_ROLE_SHARE = 0.15
MAX_LEFT_SHARE = 0.05
# Boxes that belong to a desk and not to a person.
ROLES = frozenset(
    (
        *("abuse", "accounting", "accounts", "admin", "administrator", "billing", "careers", "contact", "enquiries"),
        *("everyone", "feedback", "finance", "hello", "help", "hr", "hostmaster", "info", "inquiries", "invoices"),
        *("jobs", "legal", "mail", "marketing", "media", "news", "newsletter", "noc", "no-reply", "noreply", "office"),
        *("orders", "postmaster", "press", "privacy", "reception", "recruiting", "sales", "security", "service"),
        *("spam", "support", "team", "webmaster", "kontakt", "buero", "bewerbung", "rechnung", "vertrieb"),
        *("contacto", "ventas", "compras", "contacto", "commercial", "comptabilite", "accueil"),
    )
)


def of_leads(plan: Plan, readers: Sequence[Reader]) -> list[Finding]:
    """What is wrong with these leads of the campaign's list, or for them."""
    if not readers:
        return []
    staying = [reader for reader in readers if not reader.has_left]
    found = [*_of_left(readers, staying), *_of_elsewhere(staying), *_of_roles(staying)]
    found += [*_of_lead_hours(plan, staying), *_of_letters(plan, staying)]
    unseen = plan.lead_count - len(readers)
    if unseen > 0:
        detail = f"the first {len(readers)} of {plan.lead_count} leads were looked at"
        mend = "none is needed; every lead is looked at before each of its mails"
        found.append(Finding(code="not_all_leads", severity="notice", detail=detail, mend=mend, count=unseen))
    return found


def _of_left(readers: Sequence[Reader], staying: Sequence[Reader]) -> Iterator[Finding]:
    left = _ids(reader for reader in readers if reader.has_left)
    if left:
        severity: Severity = "error" if not staying else "notice"
        if staying and len(left) > MAX_LEFT_SHARE * len(readers):
            severity = "warning"
        detail = f"{len(left)} of {len(readers)} leads are suppressed, unsubscribed or have bounced: they get nothing"
        yield about(severity, "left", detail, "none is needed" if staying else "choose another list", left)


def _of_elsewhere(staying: Sequence[Reader]) -> Iterator[Finding]:
    busy = _ids(reader for reader in staying if reader.elsewhere)
    if busy:
        detail = f"{len(busy)} leads are in another sequence now, and enter this one when that is over"
        yield about("notice", "in_other_campaign", detail, "none is needed", busy)


def _of_roles(staying: Sequence[Reader]) -> Iterator[Finding]:
    roles = _ids(reader for reader in staying if reader.email.partition("@")[0].partition("+")[0] in ROLES)
    if len(roles) > MAX_ROLE_SHARE * len(staying):
        detail = f"{len(roles)} of {len(staying)} addresses belong to a desk and not to a person: they complain more"
        yield about("warning", "role_addresses", detail, "write to people", roles)


def _of_lead_hours(plan: Plan, staying: Sequence[Reader]) -> Iterator[Finding]:
    """Leads whose own hours no inbox of the campaign ever meets, though it meets the campaign's."""
    rules = campaign_rules(plan.settings)
    hours = {hours_of(box) for box in plan.boxes}
    able = [each for each in hours if next_open((*recipient_windows(rules, None), each), plan.now) is not None]
    meets: dict[tuple[Window, ...], bool] = {}
    missed: list[UUID] = []
    for reader in staying if able else ():
        windows = recipient_windows(rules, known_zone(reader))
        if windows not in meets:
            meets[windows] = any(next_open((*windows, each), plan.now) is not None for each in able)
        if not meets[windows]:
            missed.append(reader.id)
    if missed:
        detail = f"{len(missed)} leads are at work while no inbox of the campaign may send, so they get nothing"
        mend = "widen an inbox's window, or turn send_in_lead_timezone off"
        yield about("warning", "lead_window", detail, mend, missed, "/settings/send_in_lead_timezone")


def _of_letters(plan: Plan, staying: Sequence[Reader]) -> Iterator[Finding]:
    """What the steps lack for which leads, found by writing the mails."""
    letters = _Letters(plan)
    found: dict[_Fault, list[UUID]] = {}
    for reader in staying:
        for place, step in enumerate(plan.steps):
            fault = letters.fault(place, step, reader)
            if fault is not None:
                found.setdefault(fault, []).append(reader.id)
    for fault, ids in found.items():
        yield _of_fault(fault, ids)
    if letters.stopped:
        detail = f"{MAX_LETTERS} mails were written for trial, and more would take too long"
        mend = "none is needed; every mail is written before it gets its slot"
        yield Finding(code="not_all_letters", severity="notice", detail=detail, mend=mend)


def _of_fault(fault: "_Fault", ids: Sequence[UUID]) -> Finding:
    if fault.gate == "variable":
        detail = f"{len(ids)} leads have no {fault.value}: their mail is held until somebody fills it in"
        mend = f"fill it in, or give it a default, as in {{{{ {fault.value} | default: 'there' }}}}"
        return about("warning", "missing_variable", detail, mend, ids, fault.pointer)
    detail = f"the {fault.gate} cannot be written for {len(ids)} leads ({fault.value}): their mail is held"
    return about("warning", f"unwritable_{fault.gate}", detail, "mend the text", ids, fault.pointer)


def _ids(readers: Iterable[Reader]) -> list[UUID]:
    return [reader.id for reader in readers]


class _Fault(NamedTuple):
    """Where, at which gate and for what a mail could not be written."""

    pointer: str
    gate: str
    value: str


class _Letters:
    """Writes mails for trial; where only the presence of values decides, one for all leads that have the same."""

    def __init__(self, plan: Plan) -> None:
        self.stopped = False
        self._left = MAX_LETTERS
        self._known: dict[object, _Fault | None] = {}
        # What the campaign itself still lacks is a finding of its own, and must not hide what its leads lack.
        box = plan.boxes[0] if plan.boxes else None
        email, name = (box.email, box.from_name) if box else ("sender@example.invalid", "Ann")
        address = (plan.physical_address or "").strip() or "an address"
        self._writer = Writer(email=email, name=name, company=plan.company_name, physical_address=address)

    def fault(self, place: int, step: Step, reader: Reader) -> _Fault | None:
        """Why the mail could not be written; None when it could."""
        variant = variant_of(step, reader.lead_key)
        words = words_of(step, variant and variant.variant_id)
        pointer = f"/sequences/{place}" + (f"/variants/{step.variants.index(variant)}" if variant else "")
        key = pointer, self._what_decides(words, reader)
        if key not in self._known:
            if not self._left:
                self.stopped = True
                return None
            self._left -= 1
            self._known[key] = self._try(words, reader, pointer, is_first=place == 0)
        return self._known[key]

    def _what_decides(self, words: Words, reader: Reader) -> object:
        """What the mail's fate hangs on: the values that are there, or more than that."""
        try:
            spun = spun_for(words, reader.lead_key)
        except CannotRenderError:
            return reader.id
        plain = all(is_plain(text) for text in (spun.subject, spun.body) if text)
        return (spun.subject, spun.body, _values(reader)) if plain else reader.id

    def _try(self, words: Words, reader: Reader, pointer: str, *, is_first: bool) -> _Fault | None:
        thread = None if is_first else "the first step's subject"
        try:
            write(words, reader, self._writer, "https://unsubscribe.invalid/", thread)
        except CannotRenderError as error:
            return _Fault(pointer, error.gate, error.value)
        return None


def _values(reader: Reader) -> tuple[object, ...]:
    """Which of its values a lead has at all."""
    custom = frozenset(name for name, value in reader.custom_fields.items() if _is_there(value))
    own = (reader.first_name, reader.last_name, reader.company, reader.title, reader.phone, reader.linkedin_url)
    return custom, *(_is_there(value) for value in (*own, reader.website, reader.city, reader.country))


def _is_there(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())
