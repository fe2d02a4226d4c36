"""From a qualified lead to a deal, and on: a person transfers it, a salesperson accepts it, and it is won or lost.

Locks come in one order: the lead, then its deal, then the business's turn (`_in_turn`), in which it is decided who is
asked next.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from crm import limits, messaging, rows
from crm.enums import Audience, BusinessStatus, MessageStatus, Meter, TaskReason, Verb
from crm.models import Business, Message, User
from crm.phones import pretty
from crm.scoping import every_business
from crm.services import Refused, add_task, audit
from crm.wording import say_clock
from leads import hours, lifecycle, scoring
from leads.actors import FRONTDESK, By, person
from leads.enums import DealStage, OfferStatus, Outcome, Stage
from leads.models import Assessment, Deal, DealOffer, Lead, Salesperson, StageChange
from leads.services import assigning, pipeline


class CannotTransfer(Exception):
    """Why a lead does not go to sales yet; the documented sentences."""


class DealNotFound(Exception):
    """No deal of this business has that number."""


def find_deal(*, business: Business, number: int) -> Deal:
    """By the number the API uses. Raises DealNotFound."""
    deal = None
    if 0 < number <= pipeline.LARGEST_NUMBER:
        deal = (
            Deal.objects.for_business(business).select_related("lead__customer", "owner").filter(number=number).first()
        )
    if deal is None:
        raise DealNotFound
    deal.business = deal.lead.business = business
    return deal


def transfer(*, lead: Lead, by: By, now: datetime, value: Decimal | None = None) -> Deal:
    """Hand a lead to sales: stage, deal and the first offer are one change. A person asks for this, never a program of ours.

    Raises CannotTransfer or lifecycle.NotAllowed, whichever comes first in the documented order.
    """
    with transaction.atomic():
        lead = pipeline.lock(lead)
        check_transfer(lead)
        assessment = rows.first(
            Assessment,
            "business_id = %s AND lead_id = %s",
            [lead.business_id, lead.pk],
            order="created_at DESC, id DESC",
        )
        assert assessment is not None  # there is no score without one
        deal = Deal(
            business=lead.business, lead=lead, assessment=assessment, stage=DealStage.NEW, stage_since=now, created_at=now,
            value=value,
        )  # fmt: skip
        rows.insert(deal)
        pipeline.change_stage(lead, to=Stage.TRANSFERRED, by=by, now=now, why=f"Score {lead.score}")
        pipeline.close_tasks(lead, pipeline.ASK_AGAIN, now=now)
        offer_next(deal, now=now)
    return deal


def check_transfer(lead: Lead) -> None:
    """Raises CannotTransfer or lifecycle.NotAllowed; the order of the checks is documented."""
    if not lead.business_domain:
        raise CannotTransfer("Lead must have a business domain to be transferred.")
    if lead.score is None or lead.score < scoring.GATE:
        raise CannotTransfer("Lead AI score must be evaluated and >= 0.6.")
    if lead.merged_into_id is not None:
        raise CannotTransfer("This lead was merged into another one. Transfer that one.")
    lifecycle.check_transfer(lead.stage)


# --- Who takes it --------------------------------------------------------------------------------------------------------


def offer_next(deal: Deal, *, now: datetime) -> DealOffer | None:
    """Hold a deal out to the salesperson whose turn it is; whoever was asked before about this deal is not asked again.

    None: nobody is left. Then it waits on the deals board for whoever takes it, and somebody is told.

    At night it stands on Today, and their time and the text about it begin in the morning (see `leads.hours`).
    """
    business = deal.business
    with transaction.atomic():
        _in_turn(business)
        asked = DealOffer.objects.for_business(business).filter(deal=deal).values("salesperson")
        next_one = assigning.in_turn(business).exclude(pk__in=asked).select_related("user").first()
        if next_one is None:
            _nobody_left(deal, now=now)
            return None
        minutes = assigning.settings_of(business).accept_minutes
        until = hours.waited(timedelta(minutes=minutes), since=now, zone=business.zone)
        offer = DealOffer(business=business, deal=deal, salesperson=next_one, offered_at=now, until=until)
        rows.insert(offer)
        Salesperson.objects.for_business(business).filter(pk=next_one.pk).update(last_offer_at=now)
        lead = deal.lead
        at_once = until == now + timedelta(minutes=minutes)
        limit = f"{minutes} minutes to accept" if at_once else f"until {_by_the_clock(until, business)}"
        pipeline.tell(lead, Verb.SALES, f"Offered to {next_one}, {limit}.", by=FRONTDESK, now=now)
        if next_one.phone:
            _text_offer(offer, f"within {minutes} min" if at_once else f"by {_by_the_clock(until, business)}", now=now)
    return offer


def accept(*, deal: Deal, user: User, now: datetime) -> Deal:
    """A salesperson takes the deal that is held out to them; when it is held out to nobody, anybody of the team may.

    Raises Refused with the reason. Accepting twice is accepting once.
    """
    business = deal.business
    if not pipeline.works_here(business, user):
        raise Refused("Only somebody of the team can take a deal.")
    with transaction.atomic():
        deal = _locked(deal)
        if deal.owner_id == user.pk:
            return deal
        _check_open(deal)
        if deal.owner_id is not None:
            raise Refused(f"{deal.owner.get_full_name() if deal.owner else 'Somebody'} has taken this deal.")
        offer = _open_offer(deal)
        if offer is not None and offer.salesperson.user_id != user.pk and offer.until > now:
            raise Refused(f"This deal is held out to {offer.salesperson} for the moment. Wait for their answer.")
        _take(deal, user, offer=offer, now=now)
    return deal


def _take(deal: Deal, user: User, *, offer: DealOffer | None, now: datetime) -> None:
    """Make somebody the owner of a locked deal that has none."""
    if offer is not None:
        mine = offer.salesperson.user_id == user.pk
        otherwise = OfferStatus.LAPSED if offer.until <= now else OfferStatus.WITHDRAWN
        _answer(offer, OfferStatus.ACCEPTED if mine else otherwise, now=now)
    give(deal, to=user, by=person(user), now=now)


def give(deal: Deal, *, to: User, by: By, now: datetime) -> None:
    """Make somebody the owner of a locked deal."""
    deal.owner, deal.accepted_at = to, now
    rows.update(deal, "owner", "accepted_at")
    pipeline.close_tasks(deal.lead, pipeline.ASK_AGAIN, now=now)
    words = (
        f"{to.get_full_name()} took the deal." if by.user == to else f"Deal given to {to.get_full_name()} by {by.text}."
    )
    pipeline.tell(deal.lead, Verb.SALES, words, by=by, now=now)


def hand_to(*, deal: Deal, to: User, by: By, now: datetime) -> Deal:
    """Give a deal to somebody of the team, whoever had it. Raises Refused."""
    if not pipeline.works_here(deal.business, to):
        raise Refused(f"{to.get_full_name()} cannot take deals here. Choose somebody of the team.")
    with transaction.atomic():
        deal = _locked(deal)
        _check_open(deal)
        if deal.owner_id == to.pk:
            return deal
        before = str(deal.owner or "nobody")
        offer = _open_offer(deal)
        if offer is not None:
            _answer(offer, OfferStatus.WITHDRAWN, now=now)
        give(deal, to=to, by=by, now=now)
        audit(
            business=deal.business, actor=by.user, actor_text=by.text, action="deal given", target=f"deal {deal.number}",
            changes={"owner": [before, str(to)]}, now=now,
        )  # fmt: skip
    return deal


def decline(*, deal: Deal, user: User, now: datetime, why: str = "") -> Deal:
    """The salesperson who is asked passes; the next one is asked at once. Raises Refused."""
    with transaction.atomic():
        deal = _locked(deal)
        offer = _open_offer(deal)
        if offer is None or offer.salesperson.user_id != user.pk:
            raise Refused("This deal is not held out to you any more.")
        _answer(offer, OfferStatus.DECLINED, now=now, why=why)
        reason = f": {why}" if why else "."
        pipeline.tell(
            deal.lead, Verb.SALES, f"{user.get_full_name()} passed on the deal{reason}", by=person(user), now=now
        )
        offer_next(deal, now=now)
    return deal


def pass_on(*, now: datetime) -> int:
    """Offers nobody answered in time go to the next salesperson; returns how many. Run by the timetable.

    Where it is night nothing lapses until the morning, and a suspended business's deals stay where they are until it is
    back.
    """
    with every_business():
        over = DealOffer.objects.filter(status=OfferStatus.OPEN, until__lte=now)
        ids = over.order_by().values_list("business", flat=True).distinct()
        businesses = Business.objects.filter(pk__in=set(ids), status=BusinessStatus.ACTIVE)
        awake = [business.pk for business in businesses if hours.is_awake(now, business.zone)]
        late = list(over.filter(business__in=awake).order_by("until", "id").values_list("deal", flat=True)[:200])
    passed = 0
    for pk in late:
        with every_business(), transaction.atomic():
            deal = Deal.objects.filter(pk=pk).select_related("business").first()
            if deal is None:
                continue
            deal = _locked(deal)
            offer = _open_offer(deal)
            if offer is None or offer.until > now:  # answered in this moment
                continue
            _answer(offer, OfferStatus.LAPSED, now=now)
            pipeline.tell(deal.lead, Verb.SALES, f"{offer.salesperson} did not answer in time.", by=FRONTDESK, now=now)
            offer_next(deal, now=now)
            passed += 1
    return passed


# --- What becomes of it ------------------------------------------------------------------------------------------------


def move_deal(*, deal: Deal, to: str, by: By, now: datetime, why: str = "") -> Deal:
    """To its next stage, or lost. Paid and lost end it, and the lead learns how. Whoever of the team moves a deal that nobody
    has, has it from then on, also when it was held out to somebody else. Raises lifecycle.NotAllowed."""
    with transaction.atomic():
        deal = _locked(deal)
        lifecycle.check_deal(deal.stage, to)
        if deal.owner_id is None and by.user is not None and pipeline.works_here(deal.business, by.user):
            _take(deal, by.user, offer=_open_offer(deal), now=now)
        lead, old, since = deal.lead, deal.stage, deal.stage_since
        now = max(now, since)  # whoever had to wait comes second, whenever they looked at the clock
        deal.stage, deal.stage_since = to, now
        if to not in lifecycle.OPEN_DEAL:
            deal.closed_at = lead.closed_at = now
            deal.lost_because = why[:300] if to == DealStage.LOST else ""
            lead.outcome = Outcome.WON if to == DealStage.PAID else Outcome.LOST
            rows.update(lead, "outcome", "closed_at")
            pipeline.close_tasks(lead, pipeline.ASK_AGAIN, now=now)
            offer = _open_offer(deal)
            if offer is not None:
                _answer(offer, OfferStatus.WITHDRAWN, now=now)
        rows.update(deal, "stage", "stage_since", "closed_at", "lost_because")
        rows.insert(
            StageChange(
                business=deal.business, lead=lead, is_deal=True, old=old, new=to, since=since, at=now, by=by.user,
                by_text=by.text, why=why[:300],
            )
        )  # fmt: skip
        reason = f": {why}" if why else ""
        words = f"Deal moved from {DealStage(old).label} to {DealStage(to).label}{reason}."
        pipeline.tell(lead, Verb.SALES, words, by=by, now=now)
    return deal


def edit_deal(*, deal: Deal, changes: Mapping[str, Decimal | date | None], by: By, now: datetime) -> Deal:
    """Value (US dollars) and the expected day, already validated."""
    with transaction.atomic():
        deal = _locked(deal)
        changed = {name: value for name, value in changes.items() if getattr(deal, name) != value}
        if not changed:
            return deal
        shown: dict[str, Any] = {name: [_said(getattr(deal, name)), _said(value)] for name, value in changed.items()}
        for name, value in changed.items():
            setattr(deal, name, value)
        rows.update(deal, *changed)
        audit(
            business=deal.business, actor=by.user, actor_text=by.text, action="deal edited", target=f"deal {deal.number}",
            changes=shown, now=now,
        )  # fmt: skip
    return deal


# --- Inside ------------------------------------------------------------------------------------------------------------


def _locked(deal: Deal) -> Deal:
    """The deal as it is now, with its lead; both stay so until the caller commits."""
    business = deal.business
    lead = Lead.objects.for_business(business).select_for_update(of=("self",), no_key=True).get(pk=deal.lead_id)
    found = Deal.objects.for_business(business).select_for_update(of=("self",), no_key=True).select_related("owner")
    fresh: Deal = found.get(pk=deal.pk)
    fresh.lead, fresh.business, lead.business = lead, business, business
    return fresh


def _open_offer(deal: Deal) -> DealOffer | None:
    offers = DealOffer.objects.for_business(deal.business).filter(deal=deal, status=OfferStatus.OPEN)
    offer: DealOffer | None = offers.select_related("salesperson__user").first()
    if offer is not None:
        offer.business = deal.business
    return offer


def _in_turn(business: Business) -> None:
    """One at a time decides who is asked next. Comes before the day's budget for texts, which is locked last."""
    rows.execute("SELECT 1 FROM crm_business WHERE id = %s FOR NO KEY UPDATE", [business.pk])


def _answer(offer: DealOffer, status: OfferStatus, *, now: datetime, why: str = "") -> None:
    offer.status, offer.answered_at, offer.why = status, now, why[:300]
    rows.update(offer, "status", "answered_at", "why")
    if now < hours.next_awake(offer.offered_at, offer.business.zone):
        _take_text_back(offer, now=now)


def _text_offer(offer: DealOffer, limit: str, *, now: datetime) -> None:
    """Tell the salesperson by text, by day."""
    business, deal = offer.business, offer.deal
    page = reverse("leads:deal", args=[business.slug, deal.number])
    where = f": {settings.PUBLIC_URL}{page}" if settings.PUBLIC_URL else "."
    text = messaging.alert_owner(
        business=business, now=now, to=offer.salesperson.phone, about=f"deal:{deal.pk}",
        body=f"New deal for you: {_in_short(deal.lead)}, score {deal.lead.score}. Accept {limit}{where}",
    )  # fmt: skip
    morning = hours.next_awake(now, business.zone)
    if text is not None and morning > now:
        text.due_at = morning
        rows.update(text, "due_at")


def _in_short(lead: Lead) -> str:
    """Who, at what number, and what for; a health business's texts never say that."""
    number = pretty(lead.person.phone) if lead.customer_id and lead.person.name and lead.person.phone else ""
    wish = "" if lead.business.private_health else lead.asked_for[:40]
    return ", ".join(part for part in (pipeline.who(lead), number, wish) if part)


def _take_text_back(offer: DealOffer, *, now: datetime) -> None:
    """They have answered by night what they were to hear of in the morning."""
    waiting = Message.objects.for_business(offer.business).filter(
        about=f"deal:{offer.deal_id}", audience=Audience.OWNER, status=MessageStatus.QUEUED, due_at__gt=now
    )
    _in_turn(offer.business)
    for text in waiting:  # one at most; claimed by update, as the delivery worker does
        if waiting.filter(pk=text.pk).update(status=MessageStatus.REFUSED, error="Answered before it was sent."):
            micros = messaging.sms_cost_micros(text.segments)
            limits.give_back(business=offer.business, meter=Meter.SMS, micros=micros, now=now)


def _by_the_clock(at: datetime, business: Business) -> str:
    """“Thu 7:10 AM”, by the business's own."""
    return f"{at.astimezone(business.zone):%a} {say_clock(at, business.zone)}"


def _check_open(deal: Deal) -> None:
    if deal.closed_at is not None:
        raise Refused(f"This deal is closed: {DealStage(deal.stage).label.lower()}.")


def _nobody_left(deal: Deal, *, now: datetime) -> None:
    lead = deal.lead
    title = f"Nobody of sales has taken {pipeline.who(lead)}. Take the deal, or give it to somebody."
    add_task(
        business=deal.business, customer=lead.customer, reason=TaskReason.DEAL_WAITS, title=title, now=now,
        about=f"deal:{deal.pk}",
    )  # fmt: skip
    pipeline.tell(
        lead, Verb.SALES, "Nobody of sales is free: the deal waits for whoever takes it.", by=FRONTDESK, now=now
    )


def _said(value: Any) -> Any:
    return None if value is None else str(value)
