"""A morning at Alice's, for the tests of the owner's pages: one of everything a page can be about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from booking import services as booking
from booking.models import Appointment, Service, StaffMember
from crm import consent
from crm.enums import Author, ConsentSource, MessageKind, MessageStatus, Role, TaskReason
from crm.models import Business, Conversation, Customer, CustomerMerge, Message, Task, User
from crm.phones import parse
from crm.scoping import only
from crm.services import (
    add_member,
    add_task,
    merge_customers,
    receive_text,
    remember_customer,
    tell_customer,
)
from leads.actors import person as by_person
from leads.enums import LeadSource, Stage
from leads.models import Assessment, AssignmentRule, Deal, Lead, LeadMerge, Salesperson, SavedView
from leads.services import assessing, duplicates, intake, pipeline, sales

FRIDAY = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)  # 10:00 AM in Chicago, two days after the tests' now


@dataclass(frozen=True)
class Life:
    """What is going on in a business."""

    business: Business
    jane: Customer  # +1 555 010 0001, wrote and waits
    marcus: Customer  # no phone
    conversation: Conversation
    failed: Message
    task: Task
    job: Appointment  # AC Repair for Jane, on Friday at 10:00 AM unless said otherwise
    offer: Appointment  # held
    lead: Lead
    merge: CustomerMerge


def live(
    business: Business,
    *,
    user: User,
    now: datetime,
    visit_at: datetime = FRIDAY,
    wrote_before: timedelta = timedelta(minutes=42),
) -> Life:
    """Fill a business that has just been opened."""
    with only(business):
        jane = person(business, name="Jane Doe", phone="+15550100001")
        minute = timedelta(minutes=1)
        write_in(business, phone="+15550100001", body="Hello?", now=now - wrote_before - 2 * minute)
        answer = {"body": "On our way.", "kind": MessageKind.CHAT, "author": Author.STAFF}
        failed = tell_customer(customer=jane, now=now - wrote_before - minute, **answer)
        assert failed is not None
        lost = {"status": MessageStatus.FAILED, "error": "This number cannot receive texts."}
        Message.objects.filter(pk=failed.pk).update(**lost)
        question = "Hi, our AC stopped. Can someone come?"
        said = write_in(business, phone="+15550100001", body=question, now=now - wrote_before)
        task = add_task(
            business=business, customer=jane, reason=TaskReason.ASKED_A_PERSON, title="Call Jane about her AC", now=now
        )
        job = book(business, customer=jane, starts_at=visit_at, now=now, user=user)
        draft = intake.Draft(
            phone=parse("+15550100002", region="US"), source=LeadSource.FORM, name="Paul Ray", asked_for="AC Repair"
        )
        service = Service.objects.get(name="AC Repair")
        lead = intake.capture_lead(business=business, draft=draft, service=service, now=now - timedelta(minutes=5))
        offered = intake.offer_slot(lead=lead, now=now - timedelta(minutes=5))
        assert offered.proposal is not None
        marcus = Customer.objects.create(business=business, name="Marcus Reed", email="marcus@example.com")
        twin = Customer.objects.create(business=business, name="J. Doe", address="12 Oak St")
        merge = merge_customers(kept=jane, dropped=twin, actor=user, now=now)
        jane.refresh_from_db()
        return Life(
            business=business,
            jane=jane,
            marcus=marcus,
            conversation=said,
            failed=failed,
            task=task,
            job=job,
            offer=offered.proposal.appointment,
            lead=lead,
            merge=merge,
        )


@dataclass(frozen=True)
class Pipeline:
    """Leads on their way to a sale."""

    fresh: Lead  # New: Nina Novak, waits since four minutes
    ready: Lead  # Qualified: Hal Hotchkiss, who may go to sales; a model has read what he wrote
    sold: Lead  # Transferred: Tara Todd
    deal: Deal  # hers, held out to Alice
    rule: AssignmentRule
    view: SavedView  # Alice's own
    merge: LeadMerge


def work_leads(business: Business, *, user: User, now: datetime) -> Pipeline:
    """Put leads at several stages into a business."""
    with only(business):
        Salesperson.objects.create(business=business, user=user, created_at=now)
        minute, by = timedelta(minutes=1), by_person(user)
        fresh = add_lead(business, name="Nina Novak", phone="+15550130001", source=LeadSource.FORM, at=now - 4 * minute)
        ready = qualified(business, name="Hal Hotchkiss", phone="+15550130002", by=user, now=now - 60 * minute)
        read(ready, now=now - 50 * minute)
        sold = qualified(business, name="Tara Todd", phone="+15550130003", by=user, now=now - 60 * minute)
        deal = sales.transfer(lead=sold, by=by, now=now - 2 * minute)
        once = add_lead(business, name="Olga Once", phone="+15550130004", at=now - 90 * minute)
        again = add_lead(business, name="Olga Once", phone="+15550130004", at=now - 80 * minute)
        merge = duplicates.merge_leads(kept=once, dropped=again, user=user, now=now - 70 * minute)
        rule = AssignmentRule.objects.create(
            business=business, source=LeadSource.SCANNER, assignee=user, created_at=now
        )
        view = SavedView.objects.create(
            business=business, user=user, name="Hot ones", filters={"score": "0.6"}, created_at=now
        )
        ready, sold = Lead.objects.get(pk=ready.pk), Lead.objects.get(pk=sold.pk)
        return Pipeline(fresh=fresh, ready=ready, sold=sold, deal=deal, rule=rule, view=view, merge=merge)


def add_lead(
    business: Business, *, name: str, phone: str, at: datetime, source: LeadSource = LeadSource.PARTNER, domain: str = "first",
    asked_for: str = "A new water heater",
) -> Lead:  # fmt: skip
    """Somebody who may buy, as a person writes them down."""
    contact = pipeline.Contact(name=name, phone=parse(phone, region="US"))
    lead = pipeline.add_lead(
        business=business, source=source, by=pipeline.By("Somebody"), now=at, domain=domain, contact=contact,
        asked_for=asked_for,
    )  # fmt: skip
    return Lead.objects.get(pk=lead.pk)


def qualified(business: Business, *, name: str, phone: str, by: User, now: datetime) -> Lead:
    """A lead that may go to sales."""
    lead = add_lead(business, name=name, phone=phone, at=now)
    assessing.assess(lead=lead, now=now)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=by_person(by), now=now)
    return lead


def read(lead: Lead, *, now: datetime) -> Assessment:
    """What a model that read the conversation would have left: ten hundredths more, and why."""
    evidence = [{"quote": "we have had no hot water since Monday", "why": "An urgent need, and it is theirs."}]
    made = Assessment.objects.create(
        business=lead.business, lead=lead, score=Decimal("0.70"), baseline=Decimal("0.60"), reading=Decimal("0.10"),
        recommendation="transfer_to_sales", reason="Partner leads have higher conversion rates.",
        factors=[
            {"name": "source", "points": "0.3", "text": "Partner leads have higher conversion rates."},
            {"name": "domain", "points": "0.3", "text": "Clear business domain identified."},
            {"name": "activity", "points": "0", "text": "Low engagement."},
        ],
        evidence=evidence, summary="A family without hot water wants a new heater this week.", model="gpt-4.1-mini",
        prompt_version="1", read_until=now, created_at=now,
    )  # fmt: skip
    Lead.objects.filter(pk=lead.pk).update(score=made.score)
    return made


def person(business: Business, *, name: str, phone: str) -> Customer:
    customer, _ = remember_customer(business=business, phone=phone, name=name)
    return customer


def write_in(business: Business, *, phone: str, body: str, now: datetime, sid: str = "") -> Conversation:
    """A text from a customer, kept and unanswered. They agree to texts by it."""

    number = business.numbers.get().e164
    consent.grant_if_silent(business=business, phone=phone, source=ConsentSource.TEXT, words=body, now=now)
    sid = sid or f"SM{phone[1:]}{now.timestamp():.6f}"
    return receive_text(
        business=business, phone=phone, our_number=number, body=body, provider_sid=sid, now=now
    ).conversation


def book(
    business: Business, *, customer: Customer, starts_at: datetime, now: datetime, user: User, staff: int = 0
) -> Appointment:
    request = booking.Request(
        customer=customer, service=Service.objects.get(name="AC Repair"), address="12 Oak St", source="owner"
    )
    who = StaffMember.objects.order_by("pk")[staff]
    return booking.book_at(business=business, request=request, staff=who, starts_at=starts_at, now=now, actor=user)


def signed_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def viewer_of(business: Business) -> User:
    """Vera may look, not touch."""
    vera = User.objects.create_user("vera@example.com", "correct horse battery", name="Vera Voss")
    add_member(business=business, user=vera, role=Role.VIEWER)
    return vera


def page(name: str, *args: Any, slug: str = "alice", **query: Any) -> str:
    """The address of a page of a business, Alice's unless said otherwise."""
    return reverse(name, args=[slug, *args]) + (f"?{urlencode(query)}" if query else "")


def words_of(response: HttpResponse) -> str:
    """What a person reads: the text of the page, spaces folded."""
    shown = re.sub(r"<(script|style|svg)\b.*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(shown).split())


def titles(response: HttpResponse) -> list[str]:
    """What the rows of a list are called."""
    return re.findall(r'row__title"[^>]*>([^<]+?)\s*<', response.content.decode())
