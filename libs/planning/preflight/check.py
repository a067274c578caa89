"""What would go wrong with a campaign, before it starts: everything at once, each with its mend.

Windows are asked where the planner asks them, and trial.py writes the real mails for trial. Never reads and never
writes; an error means that the campaign must not be started as it is.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

from libs.planning.facts import PlannedInbox
from libs.planning.hours.windows import DAYS, Window, hours_of, next_open, recipient_windows
from libs.planning.limits.budget import LEAST_HEALTH, band_of, banded_limit, ramp_limit
from libs.planning.preflight.findings import Finding, Plan, Reader, Report, about, arms, counted
from libs.planning.preflight.trial import of_leads
from libs.planning.sequence import Step, Words
from libs.planning.settings import campaign_rules, team_rules

# field.md 4.1 and the practice behind it: who writes more, or says more, is read less and filtered more.
MAX_WORDS = 200
MAX_SUBJECT_CHARS = 60
MAX_FIRST_LINKS = 2
MATURE_SENDS = 150  # of each arm before a test may have a winner (field.md 4.10)
MOST_DAYS = 366
_TAG = re.compile(r"<[^<>]*>|\{%.*?%\}", re.DOTALL)
_OUTPUT = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_URL = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_DAY = timedelta(days=1)


def preflight(plan: Plan, readers: Sequence[Reader], *, can_unsubscribe: bool) -> Report:
    """Everything that is wrong with the campaign and its leads; the same facts give the same report."""
    found = [*of_campaign(plan, can_unsubscribe=can_unsubscribe), *of_leads(plan, readers)]
    worst_first = ("error", "warning", "notice")
    return Report(
        campaign_id=plan.id,
        ready=all(finding.severity != "error" for finding in found),
        leads=plan.lead_count,
        leads_checked=len(readers),
        findings=sorted(found, key=lambda finding: worst_first.index(finding.severity)),
    )


def of_campaign(plan: Plan, *, can_unsubscribe: bool) -> list[Finding]:
    """What is wrong whoever the leads are. Starting the campaign asks this and refuses what is an error."""
    return [
        *_lacks(plan, can_unsubscribe=can_unsubscribe),
        *_of_inboxes(plan),
        *_of_windows(plan),
        *_of_domains(plan),
        *_of_texts(plan),
        *_of_sequence(plan),
        *_of_duration(plan),
    ]


def _lacks(plan: Plan, *, can_unsubscribe: bool) -> Iterator[Finding]:
    if not plan.steps:
        yield _lack("no_steps", "the campaign has no steps", "write its sequences", "/sequences")
    if not plan.lead_count:
        yield _lack(
            "no_leads", "the campaign has no list, or the list has no leads", "choose a filled list", "/lead_list_id"
        )
    if not (plan.physical_address or "").strip():
        # CAN-SPAM §7704(a)(5): every message shows a postal address, to businesses too.
        yield _lack(
            "no_physical_address",
            "the team has no postal address for the footer",
            "set physical_address of /v1/team",
        )
    if not can_unsubscribe:
        yield _lack(
            "no_unsubscribe",
            "the unsubscribe link would lead to an address that no recipient can reach",
            "set COLDSTREAM_PUBLIC_URL to this installation's public address",
        )
    if not plan.boxes:
        yield _lack("no_inbox", "the campaign has no inbox to send from", "give it inboxes", "/inbox_ids")


def _lack(code: str, detail: str, mend: str, pointer: str | None = None) -> Finding:
    return Finding(code=code, severity="error", detail=detail, mend=mend, pointer=pointer)


def _of_inboxes(plan: Plan) -> Iterator[Finding]:
    whole = len(plan.boxes)
    closed = [box for box in plan.boxes if box.status != "active"]
    if closed:
        states = counted(box.status for box in closed)
        yield about(
            "error" if len(closed) == whole else "warning",
            "inbox_closed",
            f"{len(closed)} of {whole} inboxes do not send: {states}",
            "resume them, renew their credentials, or take them out",
            [box.id for box in closed],
        )
    broken = [box for box in plan.boxes if box.circuit is not None]
    if broken:
        kinds = counted(str(box.circuit) for box in broken)
        detail = f"{len(broken)} of {whole} inboxes have an open circuit breaker: {kinds}"
        yield about("warning", "circuit_open", detail, "see why their mail was refused", [box.id for box in broken])
    least = campaign_rules(plan.settings).min_health_score
    ill = [box for box in plan.boxes if _is_ill(box, least)]
    if ill:
        detail = f"{len(ill)} of {whole} inboxes are below the health that is asked for: they send nothing"
        yield about("warning", "inbox_unhealthy", detail, "let them recover first", [box.id for box in ill])


def _is_ill(box: PlannedInbox, least: int) -> bool:
    floor = max(least, LEAST_HEALTH if box.auto_throttle_enabled else 0)
    return box.health_score is not None and box.health_score < floor


def _of_windows(plan: Plan) -> Iterator[Finding]:
    """Names the two windows that never meet (field.md 4.11)."""
    (campaign,) = recipient_windows(campaign_rules(plan.settings), None)
    shut = [box for box in plan.boxes if next_open((campaign, hours_of(box)), plan.now) is None]
    if not shut:
        return
    ours = sorted({_named(hours_of(box)) for box in shut})
    yield about(
        "error" if len(shut) == len(plan.boxes) else "warning",
        "empty_window",
        f"the campaign sends {_named(campaign)}, its inboxes {'; '.join(ours[:3])}: they are never open together",
        "change send_days of the campaign or of an inbox",
        [box.id for box in shut],
        "/settings/send_days",
    )


def _named(window: Window) -> str:
    days = ", ".join(day for day in DAYS if day in window.days) or "no day"
    hours = "" if window.start == window.end else f" from {window.start:%H:%M} to {window.end:%H:%M}"
    return f"on {days}{hours} ({window.zone})"


def _of_domains(plan: Plan) -> Iterator[Finding]:
    """What nobody could say yet is no fault; what the DNS says is one, in its words."""
    unchecked = [domain for domain in plan.domains if domain.unknown]
    if unchecked:
        names = ", ".join(f"{domain.domain} ({', '.join(domain.unknown)})" for domain in unchecked[:3])
        yield about(
            "notice",
            "domain_unchecked",
            f"of {len(unchecked)} sending domains it is not known yet what their DNS says: {names}",
            "wait for the look-up, or see what keeps it in the checks of GET /v1/domains/{domain_id}",
            [domain.id for domain in unchecked],
        )
    for domain in plan.domains:
        if domain.failing:
            said = "; ".join(f"{part}: {domain.said_of(part)}" for part in domain.failing)
            detail = f"large providers refuse mail from {domain.domain}, which is not authenticated. {said}"
            mend = "publish the records that GET /v1/domains/{domain_id} names"
            yield about("warning", "domain_unauthenticated", detail, mend, [domain.id])


def _of_texts(plan: Plan) -> Iterator[Finding]:
    for place, step in enumerate(plan.steps):
        for pointer, words in arms(place, step):
            yield from _of_words(pointer, words, is_first=place == 0)


def _of_words(root: str, words: Words, *, is_first: bool) -> Iterator[Finding]:
    count = len(_WORD.findall(_OUTPUT.sub(" word ", _TAG.sub(" ", words.body))))
    if count > MAX_WORDS:
        detail = f"the text has {count} words; of strangers' mail people read {MAX_WORDS} at most"
        yield _warning("too_long", detail, "cut it", f"{root}/body", count)
    length = len(_OUTPUT.sub("xxxxxxxx", words.subject))
    if length > MAX_SUBJECT_CHARS:
        detail = f"the subject has some {length} characters, and phones show {MAX_SUBJECT_CHARS}"
        yield _warning("long_subject", detail, "shorten it", f"{root}/subject", length)
    links = len(_URL.findall(words.body))
    if is_first and links > MAX_FIRST_LINKS:
        detail = f"the first mail has {links} links; more than {MAX_FIRST_LINKS} look like advertising"
        yield _warning("many_links", detail, "keep one, and move the others into a later step", f"{root}/body", links)


def _warning(code: str, detail: str, mend: str, pointer: str, count: int | None = None) -> Finding:
    return Finding(code=code, severity="warning", detail=detail, mend=mend, pointer=pointer, count=count)


def _of_sequence(plan: Plan) -> Iterator[Finding]:
    tracked = [name for name in ("track_opens", "track_clicks") if plan.settings.get(name)]
    for name in tracked if plan.steps else ():
        detail = f"{name} is on: a pixel or rewritten link in a first mail costs more places in inboxes than it tells"
        yield _warning("tracked_first_step", detail, "turn it off; replies count without it", f"/settings/{name}")
    texts: dict[tuple[str, str], str] = {}
    gap = timedelta(hours=team_rules(plan.team.settings).contact_gap_hours)
    for place, step in enumerate(plan.steps):
        for pointer, words in arms(place, step):
            first = texts.setdefault((words.subject, words.body), pointer)
            if first != pointer:
                yield _warning("same_text", f"it says the same as {first}", "say something new, or drop it", pointer)
        if place and step.delay < gap:
            yield Finding(
                code="short_delay",
                severity="notice",
                detail=f"step {place + 1} follows after {_span(step.delay)}; "
                f"two campaigns of the team keep {_span(gap)} apart",
                mend="wait longer, if nothing is urgent",
                pointer=f"/sequences/{place}/delay_days",
            )
        if len(step.variants) > 1:
            yield _of_test(plan, place, step)


def _of_test(plan: Plan, place: int, step: Step) -> Finding:
    """How many sends the step's test needs, told before it starts (field.md 4.10)."""
    total = sum(variant.weight for variant in step.variants)
    needed = -(-MATURE_SENDS * total // min(variant.weight for variant in step.variants))
    enough = plan.lead_count >= needed
    return Finding(
        code="test_size",
        severity="notice" if enough else "warning",
        detail=f"each of the {len(step.variants)} variants needs {MATURE_SENDS} week-old sends before one can win, "
        f"which takes {needed} leads; the list has {plan.lead_count}",
        mend="none is needed" if enough else "test fewer variants, weigh them evenly, or add leads",
        pointer=f"/sequences/{place}/variants",
        count=needed,
    )


def _of_duration(plan: Plan) -> Iterator[Finding]:
    """How many days of sending the caps allow at best."""
    mails, boxes = plan.lead_count * len(plan.steps), [box for box in plan.boxes if box.status == "active"]
    if not mails or not boxes:
        return
    sent, days = 0, 0
    while sent < mails and days < MOST_DAYS:
        sent += min(plan.team.daily_limit, sum(_budget(box, days, plan) for box in boxes))
        days += 1
    takes = _count(days, "day") if sent >= mails else f"more than {MOST_DAYS} days"
    senders = _count(len(boxes), "inbox", "inboxes")
    yield Finding(
        code="takes_days",
        severity="notice",
        detail=f"{_count(mails, 'mail')} from {senders} take {takes} at least; a simulation names them",
        mend="none is needed; more inboxes make it shorter",
        count=days,
    )


def _budget(box: PlannedInbox, day: int, plan: Plan) -> int:
    """What the inbox may send on its so-many-th day of sending from now on."""
    if not box.auto_throttle_enabled:
        return box.daily_send_limit
    last = plan.now.date() + day * _DAY
    most = banded_limit(box.daily_send_limit, band_of(box.health_score))
    return ramp_limit((*box.sending_days, *(last - n * _DAY for n in range(1, day + 1))), last, most)


def _span(span: timedelta) -> str:
    """In words: "1 day", "2 days 6 hours", "at once"."""
    hours = span.seconds // 3600
    parts = [_count(span.days, "day")] if span.days else []
    return " ".join([*parts, *([_count(hours, "hour")] if hours else [])]) or "at once"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
