"""People who may not be sold: how we hear of them, what leaves the shelf, and how buyers who have them are told.

Gone is gone for every buyer and for good. Somebody who told one business STOP is sold to nobody, and a START with that
business later changes nothing about it. A person is a phone number, known by its mark (see `marks`); a lead is theirs if
either of its numbers is.

An erased lead keeps its class, place, date and sales. Its marks go with its numbers, so the one place that still
recognises the person is GonePerson, for files that bring them again; what keeps the emptied lead off the shelf is its
`erased_at`.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast, Coalesce

from crm import phones, rows
from crm.enums import ConsentAction, Verb
from crm.models import Business, Consent, Heartbeat, User
from crm.scoping import every_business, only
from crm.services import Refused, audit
from crm.timeline import note
from leads.enums import LeadSource
from leads.models import Lead
from marketplace import columns, marks
from marketplace.enums import GoneBecause, IngestStatus
from marketplace.models import (
    AgedLead,
    Buyer,
    GonePerson,
    IngestProblem,
    IngestRun,
    InventoryItem,
    KnownPhone,
    Recall,
    RecallNotice,
    Sale,
)
from marketplace.services import exports, known, webhooks

log = structlog.get_logger(__name__)

EVENT: Final = "recall.created"
KEEP_FILES: Final = timedelta(days=30)  # after an ingested file was read
# Rows become visible when their transaction ends, a little later than they say. Whoever asks for what is new since a
# moment is therefore answered from a little before it.
OVERLAP: Final = timedelta(minutes=10)
WHAT_TO_DO: Final = {
    GoneBecause.OPTED_OUT: "This person opted out. Do not call or text them, and take them off your lists.",
    GoneBecause.ERASED: "This person asked to be erased. Delete everything you have about them.",
}
_STORY: Final = {
    GoneBecause.OPTED_OUT: "Called back: they opted out. Do not call or text them.",
    GoneBecause.ERASED: "Called back: they asked to be erased. Delete everything you have about them.",
}
_CURSOR: Final = "marketplace.opt_outs"  # the Heartbeat that keeps how far the ledger was read
_PAGE: Final = 1_000  # people looked up together, in one transaction
_CANARY: Final = "canary"
_NUMBER: Final = re.compile(r"\+?\(?[0-9][0-9 ().-]{5,18}[0-9]")  # what may be a phone number inside a text


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What happened now; a repeat finds nothing left to do and is all zeros but for `leads`."""

    new: int = 0  # people we had not heard this of
    leads: int = 0  # of theirs
    closed: int = 0  # items taken off the shelf
    notices: int = 0  # sales whose buyers were told

    def __add__(self, other: Forgotten) -> Forgotten:
        return Forgotten(
            self.new + other.new, self.leads + other.leads, self.closed + other.closed, self.notices + other.notices
        )


@dataclass(frozen=True, slots=True)
class ListForgotten:
    """What a list of people held. `known` had gone before; `problems` names the first refused rows, for people."""

    rows: int
    new: int
    known: int
    refused: int
    problems: list[str]
    done: Forgotten


# --- Forgetting --------------------------------------------------------------------------------------------------------


def forget(*, phone: str, because: GoneBecause, told_by: str, now: datetime) -> Forgotten:
    """Never sell this person again: off the shelf, buyers told, and erased if that is what they asked for.

    `phone` is E.164; `told_by` says who or what told us, without a number. May be repeated.
    """
    with transaction.atomic():
        done = _forget({marks.mark_of(phone): told_by}, because=because, now=now)
        if because == GoneBecause.ERASED:
            _clear_problems(ending=phone[-4:])
    log.info("person_gone", because=because.value, leads=done.leads, closed=done.closed, notices=done.notices)
    return done


def erase_person(*, phone_text: str, actor: User, now: datetime) -> Forgotten:
    """The same for staff, who write the number as they like. Raises Refused for what is no number."""
    try:
        phone = phones.parse(phone_text, region="US").e164
    except phones.PhoneError as error:
        raise Refused(str(error)) from error
    with transaction.atomic():
        done = forget(phone=phone, because=GoneBecause.ERASED, told_by=str(actor), now=now)
        audit(
            business=None, actor=actor, action="person erased", target=f"the number ending in {phone[-4:]}", now=now,
            changes=_counts(done),
        )  # fmt: skip
    return done


def forget_list(
    *, file: known.Readable, because: GoneBecause, told_by: str, actor: User | None, now: datetime, region: str = "US"
) -> ListForgotten:
    """A list of numbers or their SHA-256, one on a line, as registries of such requests publish them.

    Read as it comes, in stretches that are committed one by one: a list that breaks off half-way is sent again.
    """
    tally, done = known.Tally(), Forgotten()
    people = tally.read(known.entries(file, region=region))
    while stretch := list(itertools.islice(people, _PAGE)):
        with transaction.atomic():
            done += _forget(dict.fromkeys(stretch, told_by), because=because, now=now)
    if because == GoneBecause.ERASED:
        _clear_problems()
    refused = tally.refused
    listed = ListForgotten(tally.rows, done.new, tally.rows - refused - done.new, refused, tally.problems, done)
    audit(
        business=None, actor=actor, actor_text="" if actor else told_by, action="list of people forgotten",
        target=f"{tally.rows:,} rows: {because.label.lower()}", reason=told_by, now=now,
        changes=_counts(done) | {"known": listed.known, "refused": refused},
    )  # fmt: skip
    return listed


def leads_of(phone: str) -> int:
    """How many leads have this number (E.164), as the one or the other."""
    return len(_leads_of([marks.mark_of(phone)]))


def marks_are_ours() -> bool:
    """Whether those who are gone were marked with the key we have now. If not, none of them is recognised any more."""
    # In this order: the first person to go and the canary come together, perhaps between our two questions.
    return not GonePerson.objects.exists() or GonePerson.objects.filter(mark=marks.canary()).exists()


def _forget(people: Mapping[UUID, str], *, because: GoneBecause, now: datetime) -> Forgotten:
    """In the caller's transaction; `people` are marks, with who told us."""
    _keep_canary(now)
    new = _write_down(people, because=because, now=now)
    leads = _leads_of(people)
    done = _call_back(leads, because=because, now=now)
    if because == GoneBecause.ERASED:
        _erase(leads, people, now=now)
    return Forgotten(new=new) + done


def _keep_canary(now: datetime) -> None:
    """With the first person a mark of nobody is kept; from then on its absence says that the key has changed."""
    if not GonePerson.objects.exists():
        _write_down({marks.canary(): _CANARY}, because=GoneBecause.ERASED, now=now)
    elif not GonePerson.objects.filter(mark=marks.canary()).exists():
        log.error("person_mark_key_changed", hint="PERSON_MARK_KEY is not the one that marked the erased people.")


def _write_down(people: Mapping[UUID, str], *, because: GoneBecause, now: datetime) -> int:
    """How many were new. In the order of the marks, so that two lists cannot block each other in a circle."""
    ordered = sorted(people)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketplace_goneperson (mark, because, told_by, at)"
            " SELECT mark, %s, told_by, %s FROM unnest(%s::uuid[], %s::text[]) AS p (mark, told_by)"
            " ON CONFLICT (mark, because) DO NOTHING",
            [because.value, now, ordered, [people[mark][:120] for mark in ordered]],
        )
        return int(cursor.rowcount)


def _leads_of(people: Iterable[UUID]) -> list[UUID]:
    """In order."""
    wanted = list(people)
    return sorted(
        AgedLead.objects.filter(Q(phone_mark__in=wanted) | Q(other_mark__in=wanted)).values_list("pk", flat=True)
    )


def _call_back(leads: Sequence[UUID], *, because: GoneBecause, now: datetime) -> Forgotten:
    """Off the shelf, then tell whoever has bought.

    The order matters. Somebody may be buying one of them at this moment: closing waits until they have it or not, and
    the sales are read after that. Items come before leads, as everywhere, and both in the order of their ids.
    """
    if not leads:
        return Forgotten()
    closed = _close(leads, because=because, now=now)
    # Whoever puts a bought lead into Leads at this moment is waited for too, so that the story below reaches it.
    list(AgedLead.objects.select_for_update(no_key=True).filter(pk__in=leads).order_by("pk").values_list("pk"))
    for lead in leads:
        rows.insert(Recall(lead_id=lead, because=because, at=now), unless_conflict=True)
    recalls = dict(Recall.objects.filter(lead__in=leads, because=because).values_list("lead", "pk"))
    with every_business():
        sales = list(Sale.objects.filter(lead__in=leads).order_by("pk"))
        buyers = Buyer.objects.in_bulk({sale.business_id for sale in sales})
        told = [
            sale
            for sale in sales
            if _tell(sale, buyer=buyers[sale.business_id], recall=recalls[sale.lead_id], because=because, now=now)
        ]
        _tell_pipelines(told, because=because, now=now)
    return Forgotten(leads=len(leads), closed=closed, notices=len(told))


def _close(leads: Sequence[UUID], *, because: GoneBecause, now: datetime) -> int:
    unsold = InventoryItem.objects.filter(lead__in=leads, sold_at__isnull=True, closed_at__isnull=True)
    locked = list(unsold.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    return InventoryItem.objects.filter(pk__in=locked).update(closed_at=now, closed_because=because)


def _tell(sale: Sale, *, buyer: Buyer, recall: UUID, because: GoneBecause, now: datetime) -> bool:
    """One notice per sale, and a message to the buyer's own system. False: they were told before."""
    notice = RecallNotice(business_id=sale.business_id, recall_id=recall, sale_id=sale.pk, created_at=now)
    if not rows.insert(notice, unless_conflict=True):
        return False
    payload = {
        "id": str(notice.pk),
        "sale_id": str(sale.pk),
        "lead_id": str(sale.lead_id),
        "reason": because.value,
        "recalled_at": now.isoformat(),
        "what_to_do": WHAT_TO_DO[because],
    }
    webhooks.queue(buyer=buyer, event=EVENT, about=f"recall_notice:{notice.pk}", payload=payload, now=now)
    return True


def _tell_pipelines(sales: Sequence[Sale], *, because: GoneBecause, now: datetime) -> None:
    """Where the lead stands in the buyer's Leads, whoever works on it reads it there."""
    landed = Lead.objects.filter(
        business__in={sale.business_id for sale in sales}, source=LeadSource.PURCHASE,
        event_id__in=[f"sale:{sale.pk}" for sale in sales],
    )  # fmt: skip
    for lead in landed.select_related("business", "customer"):
        note(
            business=lead.business, customer=lead.customer, verb=Verb.NOTE, text=_STORY[because], now=now,
            about=f"lead:{lead.pk}",
        )  # fmt: skip


def _erase(leads: Sequence[UUID], people: Iterable[UUID], *, now: datetime) -> None:
    """Empty what says who it was, and withdraw the files that hold it."""
    empty: dict[str, Any] = dict.fromkeys(columns.PERSONAL, "")
    AgedLead.objects.filter(pk__in=leads).update(
        **empty, phone_mark=None, other_mark=None, erased_at=Coalesce("erased_at", now)
    )
    with every_business():
        KnownPhone.objects.filter(business__in=Buyer.objects.values("pk"), mark__in=list(people)).delete()
        sale_ids = list(Sale.objects.filter(lead__in=leads).values_list("pk", flat=True))
    if sale_ids:
        exports.void_exports_with(sale_ids=sale_ids, now=now)


def _clear_problems(*, ending: str = "") -> int:
    """Delete refused rows of ingested files that hold the number of somebody erased, in whatever column it slipped into.

    `ending` (last digits) spares reading all of them for one person.
    """
    found = IngestProblem.objects.annotate(text=Cast("row", TextField()))
    if ending:
        found = found.filter(text__contains=ending)
    texts = found.values_list("pk", "text").iterator(chunk_size=_PAGE)
    cleared = 0
    while stretch := list(itertools.islice(texts, _PAGE)):
        holders = {pk: _people_in(text) for pk, text in stretch}
        wanted = set().union(*holders.values())
        erased = set(
            GonePerson.objects.filter(mark__in=wanted, because=GoneBecause.ERASED).values_list("mark", flat=True)
        )
        gone = [pk for pk, people in holders.items() if people & erased]
        IngestProblem.objects.filter(pk__in=gone).delete()
        cleared += len(gone)
    return cleared


def _people_in(text: str) -> set[UUID]:
    found = set()
    for candidate in _NUMBER.findall(text):
        try:
            found.add(marks.mark_of(phones.parse(candidate, region="US").e164))
        except phones.PhoneError:
            continue
    return found


def _counts(done: Forgotten) -> dict[str, int]:
    return {"leads": done.leads, "taken off the shelf": done.closed, "buyers' sales recalled": done.notices}


# --- Hearing of it -----------------------------------------------------------------------------------------------------


def hear_opt_outs(*, now: datetime, limit: int = 2_000, whole: bool = False) -> int:
    """Read the consent ledger, of every business, on from where we were; returns how many people are newly gone.

    Everybody who opted out anywhere goes, also those nobody has a lead of: a file may bring them tomorrow. It stops after
    about `limit` new people, and the next run goes on. `whole` reads the ledger from its beginning.

    Lines of the ledger are read in the order of their ids, which are times (UUIDv7). One that was committed late is behind
    the cursor, so every run begins `OVERLAP` before it; whoever is gone already is found by index and costs little.
    """
    cursor = None if whole else Heartbeat.objects.filter(name=_CURSOR).values_list("detail", flat=True).first()
    last = UUID(cursor) if cursor else None
    found = 0
    for page in _opt_outs(after=_earlier(last)):
        gone = {marks.mark_of(phone): f"consent:{pk}" for pk, phone in page}
        known_ones = GonePerson.objects.filter(mark__in=list(gone), because=GoneBecause.OPTED_OUT)
        for mark in known_ones.values_list("mark", flat=True):
            del gone[mark]
        if gone:
            with transaction.atomic():
                found += _forget(gone, because=GoneBecause.OPTED_OUT, now=now).new
        last = page[-1][0] if last is None else max(last, page[-1][0])
        if found >= limit and not whole:
            break
    Heartbeat.objects.update_or_create(name=_CURSOR, defaults={"at": now, "detail": str(last or "")})
    return found


def _opt_outs(*, after: UUID) -> Iterator[list[tuple[UUID, str]]]:
    """Opt-outs as (line, number), oldest first, in pages."""
    while True:
        with every_business():
            lines = Consent.objects.filter(action=ConsentAction.REVOKE, pk__gt=after).order_by("pk")
            page = list(lines.values_list("pk", "phone")[:_PAGE])
        if page:
            yield page
            after = page[-1][0]
        if len(page) < _PAGE:
            return


def _earlier(last: UUID | None) -> UUID:
    """The first UUIDv7 of the moment `OVERLAP` before that of `last`."""
    if last is None:
        return UUID(int=0)
    milliseconds = (last.int >> 80) - int(OVERLAP / timedelta(milliseconds=1))
    return UUID(int=max(milliseconds, 0) << 80)


def look_again(*, now: datetime) -> Forgotten:
    """The daily safety net: everything that hearing, ingest and roll-over may have missed while they ran side by side.

    Nothing of it can be sold meanwhile (purchases ask for those who are gone themselves); it is counted as stock.
    """
    hear_opt_outs(now=now, whole=True)
    done = Forgotten()
    for because in GoneBecause:
        leads = iter(_missed(because))
        while stretch := list(itertools.islice(leads, _PAGE)):
            with transaction.atomic():
                done += _call_back(stretch, because=because, now=now)
                if because == GoneBecause.ERASED:
                    _erase(stretch, [], now=now)
    _clear_problems()
    return done


def _missed(because: GoneBecause) -> list[UUID]:
    """Leads of people who are gone, with an item for sale; asked from the side of the people, who are fewer. And leads
    that were bought at the very moment of their recall, whose buyers nobody has told."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH theirs AS ("
            " SELECT l.id FROM marketplace_goneperson g JOIN marketplace_agedlead l ON l.phone_mark = g.mark"
            " WHERE g.because = %(because)s"
            " UNION SELECT l.id FROM marketplace_goneperson g JOIN marketplace_agedlead l ON l.other_mark = g.mark"
            " WHERE g.because = %(because)s"
            " UNION SELECT lead_id FROM marketplace_recall WHERE because = %(because)s)"
            " SELECT t.id FROM theirs t JOIN marketplace_inventoryitem i ON i.lead_id = t.id"
            " WHERE i.sold_at IS NULL AND i.closed_at IS NULL"
            " UNION SELECT s.lead_id FROM marketplace_recall r JOIN marketplace_sale s ON s.lead_id = r.lead_id"
            " WHERE r.because = %(because)s AND NOT EXISTS ("
            "  SELECT FROM marketplace_recallnotice n WHERE n.recall_id = r.id AND n.sale_id = s.id)"
            " ORDER BY 1",
            {"because": because.value},
        )
        return [row[0] for row in cursor.fetchall()]


def forget_files(*, now: datetime) -> int:
    """Delete the source files of ingests that ended more than `KEEP_FILES` ago; returns how many. May be repeated."""
    ended = IngestRun.objects.exclude(status__in=[IngestStatus.WAITING, IngestStatus.RUNNING]).exclude(file="")
    old = ended.filter(
        Q(finished_at__lt=now - KEEP_FILES) | Q(finished_at__isnull=True, created_at__lt=now - KEEP_FILES)
    )
    count = 0
    for run in old.order_by("created_at").iterator():
        run.file.delete(save=False)  # the file first: killed in between, the row still names what is not there
        run.save(update_fields=["file"])
        count += 1
    return count


# --- What a buyer was told ---------------------------------------------------------------------------------------------


def notices_since(business: Business, since: datetime | None) -> QuerySet[RecallNotice]:
    """This buyer's notices from about that moment on (from `OVERLAP` before it: a notice may come twice, and none is
    missed), oldest first. None: all of them."""
    with only(business):
        found = RecallNotice.objects.for_business(business).select_related("recall", "sale")
        if since is not None:
            found = found.filter(created_at__gte=since - OVERLAP)
        return found.order_by("created_at", "pk")


def acknowledge(*, business: Business, notice_ids: Iterable[UUID], by: str, now: datetime) -> int:
    """The buyer says that they heard. Returns how many of these were open; others are left as they are."""
    with only(business):
        open_ones = RecallNotice.objects.for_business(business).filter(
            pk__in=list(notice_ids), acknowledged_at__isnull=True
        )
        return open_ones.update(acknowledged_at=now, acknowledged_by=by[:120])


def delta_csv(business: Business, since: datetime | None) -> Iterator[str]:
    """The same notices as lines of CSV, the headings first."""
    return _csv_lines(notices_since(business, since))


def _csv_lines(notices: QuerySet[RecallNotice]) -> Iterator[str]:
    yield _csv_line(["Notice ID", "Sale ID", "Lead ID", "Reason", "Recalled At (ISO)", "Acknowledged At (ISO)"])
    for row in notices.iterator(chunk_size=_PAGE):
        heard = row.acknowledged_at.isoformat() if row.acknowledged_at else ""
        yield _csv_line([row.pk, row.sale_id, row.sale.lead_id, row.recall.because, row.created_at.isoformat(), heard])


def _csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()
