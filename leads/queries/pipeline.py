"""What the board, the list and the page of a lead read. How many queries a page makes never depends on how full it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat

from crm import rows
from crm.enums import Audience, Author, MessageStatus, Verb
from crm.models import Activity, Business, Customer, Message, Task, User
from crm.queries import LONGEST_SEARCH
from leads import lifecycle, scoring
from leads.enums import DealStage, Domain, IntakeStatus, LeadSource, Outcome, Stage
from leads.models import Assessment, Deal, Lead, LeadActivity, PipelineSettings, SavedView, StageChange
from leads.queries import today
from leads.services import assigning

COLUMN: Final = 20  # cards of a stage on the board; the list has the rest
MOST: Final = 10_000  # leads that are counted exactly; beyond it a page says "10,000+"
STORY: Final = 30  # lines of a lead's story at a time
VIEWS: Final = 30  # saved views a page offers
SCORES: Final = ("0.8", "0.6", "0.4", "0.2")  # what the list can ask for at least
NOBODY, MINE, NO_LINE, DONE = "nobody", "mine", "none", "done"


# --- How hot a lead is ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heat:
    """A score as people read it: the number with a word, so that nothing hangs on a colour."""

    number: str  # "0.72"; empty before the first look
    word: str
    tone: str  # of the badge
    icon: str


def heat(score: Decimal | None) -> Heat:
    if score is None:
        return Heat(number="", word="Not scored yet", tone="", icon="")
    number = f"{score:.2f}"
    if score >= scoring.GATE:
        return Heat(number=number, word="hot", tone="success", icon="zap")
    if score >= scoring.GATE - scoring.BOUND:
        return Heat(number=number, word="warm", tone="warning", icon="sun")
    return Heat(number=number, word="cold", tone="", icon="moon")


# --- Filters: kept in the address, and in saved views ----------------------------------------------------------------------


@dataclass(frozen=True)
class Filters:
    """What the list shows, as it stands in the address. Empty means all; what no page of ours wrote means nothing."""

    stage: str = ""  # or done: won by a job, without ever going to sales
    status: str = ""
    source: str = ""
    line: str = ""  # first, second, third, or none
    person: str = ""  # mine, nobody, or somebody's id
    score: str = ""  # at least; 0 to 1
    waiting: str = ""  # "1": their clock still runs
    since: str = ""  # the first day, YYYY-MM-DD on the business's calendar
    q: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Filters:
        said = {field.name: str(given.get(field.name, "")).strip() for field in fields(cls)}
        allowed = {
            "stage": [*Stage.values, DONE],
            "status": IntakeStatus.values,
            "source": LeadSource.values,
            "line": [*Domain.values, NO_LINE],
            "score": SCORES,
            "waiting": ["1"],
        }
        for name, values in allowed.items():
            if said[name] not in values:
                said[name] = ""
        if said["person"] not in (MINE, NOBODY) and not _is_id(said["person"]):
            said["person"] = ""
        if _day(said["since"]) is None:
            said["since"] = ""
        said["q"] = said["q"].replace("\0", "")[:LONGEST_SEARCH]
        return cls(**said)

    def query(self) -> dict[str, str]:
        """Only what is set, for an address or a saved view."""
        return {name: value for name, value in asdict(self).items() if value}

    def narrow(self, leads: Any, *, business: Business, user: User) -> QuerySet[Any]:
        """Those of `leads` that fit; each then knows `is_waiting`."""
        leads = today.with_clock(leads)
        if self.stage == DONE:
            leads = leads.filter(stage__in=lifecycle.OPEN, outcome=Outcome.WON)
        elif self.stage:
            leads = leads.on_board().filter(stage=self.stage)
        exact = {"status": self.status, "source": self.source}
        leads = leads.filter(**{name: value for name, value in exact.items() if value})
        if self.line:
            leads = leads.filter(business_domain="" if self.line == NO_LINE else self.line)
        if self.person:
            leads = leads.filter(assigned_to=self.whose(user))
        if self.score:
            leads = leads.filter(score__gte=Decimal(self.score))
        if self.waiting:
            leads = leads.filter(is_waiting=True)
        if (day := _day(self.since)) is not None:
            leads = leads.filter(created_at__gte=datetime.combine(day, time(), tzinfo=business.zone))
        if self.q.startswith("#"):
            digits = self.q[1:].strip()
            known = digits.isascii() and digits.isdigit() and len(digits) < 19
            return leads.filter(number=int(digits)) if known else leads.none()
        if self.q:
            people = Customer.objects.for_business(business).search(self.q)
            leads = leads.filter(customer__in=people.values("pk"))
        return leads

    def whose(self, user: User) -> UUID | None:
        """Whose leads are meant; None: nobody's."""
        if self.person == NOBODY:
            return None
        return user.pk if self.person == MINE else UUID(self.person)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _day(text: str) -> date | None:
    """A day a lead can have come in on; the first and last years of all calendars have no midnight everywhere."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year < 3000 else None


# --- The list and the board ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """How many, exactly up to MOST."""

    number: int

    @property
    def words(self) -> str:
        return f"{MOST:,}+" if self.number > MOST else f"{self.number:,}"


def leads(business: Business, *, filters: Filters, user: User) -> QuerySet[Any]:
    """The leads of the list, without those that were merged into another."""
    found = Lead.objects.for_business(business).standing().select_related("customer", "assigned_to")
    return today.with_permission(filters.narrow(found, business=business, user=user))


def count(found: QuerySet[Any]) -> Count:
    return Count(found.order_by().values("pk")[: MOST + 1].count())


@dataclass(frozen=True)
class Column:
    stage: Stage
    count: Count
    leads: list[Any]  # the hottest, each with `is_waiting`


def board(business: Business, *, filters: Filters, user: User) -> list[Column]:
    """The hottest leads of each stage and how many there are. Three queries, each served by the index `lead_board`."""
    shown = Lead.objects.for_business(business).on_board()
    if filters.line:
        shown = shown.filter(business_domain="" if filters.line == NO_LINE else filters.line)
    if filters.person:
        shown = shown.filter(assigned_to=filters.whose(user))
    hottest = [
        shown.filter(stage=stage)
        .order_by(F("score").desc(nulls_last=True), F("number").desc())
        .values_list("pk", flat=True)[:COLUMN]
        for stage in Stage.values
    ]
    picked = list(hottest[0].union(*hottest[1:], all=True))
    found = today.with_clock(Lead.objects.for_business(business).filter(pk__in=picked))
    found = found.select_related("customer", "assigned_to").order_by(
        F("score").desc(nulls_last=True), F("number").desc()
    )
    cards: dict[str, list[Any]] = {stage: [] for stage in Stage.values}
    for lead in found:
        cards[lead.stage].append(lead)
    counts = stage_counts(business, filters=filters, user=user)
    return [Column(stage=stage, count=counts[stage], leads=cards[stage]) for stage in Stage]


# In the order of the index, so that it is walked at most MOST steps far whatever the planner believes about a stage.
_COUNT: Final = """
    SELECT %s, count(*) FROM (
        SELECT FROM leads_lead
        WHERE business_id = %s AND stage = %s AND merged_into_id IS NULL
        AND (outcome = '' OR stage IN ('transferred', 'lost')) {more}
        ORDER BY score DESC NULLS LAST, number DESC LIMIT %s
    ) AS counted
"""


def stage_counts(business: Business, *, filters: Filters, user: User) -> dict[str, Count]:
    """How many leads the board has at each stage, of the filters' line and person. One query; it stops at MOST."""
    more, narrowed = "", []
    if filters.line:
        more += " AND business_domain = %s"
        narrowed.append("" if filters.line == NO_LINE else filters.line)
    if filters.person == NOBODY:
        more += " AND assigned_to_id IS NULL"
    elif filters.person:
        more += " AND assigned_to_id = %s"
        narrowed.append(str(filters.whose(user)))
    sql = " UNION ALL ".join([_COUNT.format(more=more)] * len(Stage))
    values = [value for stage in Stage.values for value in (stage, business.pk, stage, *narrowed, MOST + 1)]
    return {stage: Count(number) for stage, number in rows.execute(sql, values).fetchall()}


def shown(lead: Lead) -> Any:
    """A lead as it is now, with its customer, whoever works on it, and `is_waiting`."""
    found = today.with_clock(Lead.objects.for_business(lead.business).filter(pk=lead.pk))
    fresh = found.select_related("customer", "assigned_to", "merged_into").get()
    fresh.business = lead.business
    return fresh


def people(business: Business) -> QuerySet[User]:
    """Everybody who can work on leads and deals here, by name."""
    return User.objects.filter(pk__in=assigning.team(business).values("user")).order_by("name", "email")


def ways_of(business: Business) -> PipelineSettings:
    """How a business works that was loaded together with its settings, without another query."""
    return getattr(business, "pipeline_settings", None) or PipelineSettings(business=business)


def line_of(lead: Lead) -> str:
    """The line of a lead by the name its business gave it; empty for none."""
    return ways_of(lead.business).domain_name(lead.business_domain)


def views(business: Business, user: User) -> list[SavedView]:
    """One's own views, and those others keep for everybody."""
    found = SavedView.objects.for_business(business).filter(Q(user=user) | Q(is_shared=True))
    return list(found.select_related("user")[:VIEWS])


# --- One lead ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One thing a transfer asks for, and what to do while it is missing."""

    name: str
    label: str  # the same with how it stands
    done: bool
    hint: str


def transfer_checks(lead: Lead, settings: PipelineSettings) -> list[Check]:
    """What a lead needs before sales can have it, in the order of `sales.check_transfer`."""
    line = settings.domain_name(lead.business_domain)
    scored = f"{lead.score:.2f}" if lead.score is not None else "none yet"
    return [
        Check(
            name="a line of business",
            label=f"Line of business: {line}" if line else "A line of business",
            done=bool(line),
            hint="Choose it under Edit.",
        ),
        Check(
            name=f"a score of {scoring.GATE:.2f} or more",
            label=f"A score of {scoring.GATE:.2f} or more: {scored}",
            done=lead.score is not None and lead.score >= scoring.GATE,
            hint="Work on the lead, then score it again." if lead.score is not None else "Score it.",
        ),
        Check(
            name="the stage Qualified",
            label="Qualified",
            done=lifecycle.TRANSFERRED in lifecycle.LEAD[lead.stage],
            hint="Move it there step by step.",
        ),
    ]


def open_leads_of(customer: Customer) -> list[Lead]:
    """What somebody has asked for that is still worked on, newest first."""
    found = Lead.objects.for_business(customer.business).filter(customer=customer).open().standing()
    return list(found.select_related("assigned_to")[:10])


def assessments(lead: Lead) -> list[Assessment]:
    """The looks at a lead, newest first."""
    return list(lead.assessments.order_by("-created_at", "-id")[:STORY])


def deal_of(lead: Lead) -> Deal | None:
    """The lead's deal with everybody who was asked, the last one first."""
    found = Deal.objects.for_business(lead.business).filter(lead=lead).select_related("owner")
    deal: Deal | None = found.prefetch_related("offers__salesperson__user").first()
    return deal


def tasks(lead: Lead) -> list[Task]:
    """What is still to be done about it, the soonest first."""
    return list(Task.objects.for_business(lead.business).open().filter(about=f"lead:{lead.pk}")[:10])


@dataclass(frozen=True)
class Happened:
    """One line of a lead's story, ready for the timeline component."""

    kind: str
    text: str
    at: datetime
    actor: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Story:
    happened: list[Happened]
    before: str  # reads on; empty at the beginning


_SAME_MOMENT: Final = 30  # a page never ends between lines of one moment
_BEFORE: Final = timedelta(seconds=5)  # the text that made the lead was kept a moment before it
_ICONS: Final = {"call": "call", "note": "note", "email": "wrote", "meeting": "appointment", "message": "wrote"}
_SPOKE: Final = {
    Author.CUSTOMER: ("wrote", ""),
    Author.ASSISTANT: ("answered", "Assistant"),
    Author.STAFF: ("wrote", "Your team"),
    Author.SYSTEM: ("wrote", "Frontdesk"),
}


def story(lead: Lead, *, before: datetime | None = None) -> Story:
    """Everything that happened to a lead, newest first: moves, what people did, texts, looks, and what the house found out
    about it. Five queries."""
    want = STORY + _SAME_MOMENT
    found = [*_moves(lead, before, want), *_done(lead, before, want), *_texts(lead, before, want)]
    found += [*_looks(lead, before, want), *_told(lead, before, want)]
    found.sort(key=lambda line: line.at, reverse=True)
    cut = STORY
    while cut < len(found) and found[cut].at == found[cut - 1].at:
        cut += 1
    return Story(found[:cut], before=found[cut - 1].at.isoformat() if cut < len(found) else "")


def warning(lead: Lead) -> str:
    """The newest thing Frontdesk itself found out about a lead, as that they may not be called; empty when there is none."""
    if lead.customer_id is None:
        return ""
    found = Activity.objects.for_business(lead.business).filter(_is_note_about(lead), actor__isnull=True)
    return found.order_by("-at", "-id").values_list("text", flat=True).first() or ""


def _moves(lead: Lead, before: datetime | None, most: int) -> list[Happened]:
    found = _until(StageChange.objects.for_business(lead.business).filter(lead=lead), "at", before)
    return [
        Happened(
            kind="lead",
            text=f"{'Deal moved' if row.is_deal else 'Moved'} from {_label(row.old)} to {_label(row.new)}",
            at=row.at,
            actor=row.by_text,
            detail=row.why,
        )
        for row in found.order_by("-at", "-id")[:most]
    ]


def _done(lead: Lead, before: datetime | None, most: int) -> list[Happened]:
    found = _until(LeadActivity.objects.for_business(lead.business).filter(lead=lead), "at", before)
    return [
        Happened(
            kind=_ICONS[row.kind],
            text=f"{row.get_kind_display()}: {row.text}" if row.text else row.get_kind_display(),
            at=row.at,
            actor=row.by_text,
        )
        for row in found.order_by("-at", "-id")[:most]
    ]


def _texts(lead: Lead, before: datetime | None, most: int) -> list[Happened]:
    if lead.customer_id is None:
        return []
    found = Message.objects.for_business(lead.business).filter(
        customer=lead.customer_id, audience=Audience.CUSTOMER, created_at__gte=lead.created_at - _BEFORE
    )
    return [_text(row) for row in _until(found, "created_at", before).order_by("-created_at", "-id")[:most]]


def _text(row: Message) -> Happened:
    """What never reached anybody says so: nobody wrote."""
    kind, actor = _SPOKE[Author(row.author)]
    if row.status not in (MessageStatus.FAILED, MessageStatus.REFUSED):
        return Happened(kind=kind, text=row.body, at=row.created_at, actor=actor)
    why = f"Not sent: {row.error}" if row.error else "Not sent"
    return Happened(kind="refused", text=row.body, at=row.created_at, detail=why)


def _told(lead: Lead, before: datetime | None, most: int) -> list[Happened]:
    """From the customer's timeline: whether they may be texted, and notes about the lead that are not its own activities."""
    if lead.customer_id is None:
        return []
    permission = Q(verb__in=[Verb.OPTED_OUT, Verb.OPTED_IN], at__gte=lead.created_at - _BEFORE)
    found = Activity.objects.for_business(lead.business).filter(permission | _is_note_about(lead))
    found = _until(found.filter(customer=lead.customer_id), "at", before)
    return [
        Happened(kind=row.verb, text=row.text, at=row.at, actor=row.actor.get_full_name() if row.actor else "")
        for row in found.select_related("actor").order_by("-at", "-id")[:most]
    ]


def _is_note_about(lead: Lead) -> Q:
    """On the timeline of the lead's customer, also about what was merged into it. Not those that the lead's own activities
    leave there, at the moment they are written down; a merge takes the activities along."""
    parts = Lead.objects.for_business(lead.business).filter(Q(pk=lead.pk) | Q(merged_into=lead.pk))
    abouts = parts.values(about=Concat(Value("lead:"), Cast("pk", CharField())))
    activities = LeadActivity.objects.for_business(lead.business).filter(lead__in=[lead.pk, lead.merged_into_id])
    own = Exists(activities.filter(created_at=OuterRef("at")))
    return Q(customer=lead.customer_id, verb=Verb.NOTE, about__in=abouts) & ~Q(own)


def _looks(lead: Lead, before: datetime | None, most: int) -> list[Happened]:
    found = _until(Assessment.objects.for_business(lead.business).filter(lead=lead), "created_at", before)
    return [
        Happened(
            kind="score",
            text=f"Scored {row.score:.2f}, {heat(row.score).word}",
            at=row.created_at,
            actor=f"read by {row.model}" if row.model else "by the rules",
            detail=row.summary,
        )
        for row in found.order_by("-created_at", "-id")[:most]
    ]


def _until(found: QuerySet[Any], field: str, before: datetime | None) -> QuerySet[Any]:
    return found if before is None else found.filter(**{f"{field}__lt": before})


def _label(stage: str) -> str:
    return str(Stage(stage).label if stage in Stage.values else DealStage(stage).label)
