"""How appointments look on the pages of the ground floor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from booking import calendar
from booking.models import Appointment
from crm.cards import Card, Panel, customer_panel, finds
from crm.models import Business, Customer


def card(appointment: Appointment) -> Card:
    """An appointment in a thread. An offered slot is the same card while it is held."""
    return Card(
        url=reverse("booking:appointment", args=[appointment.business.slug, appointment.pk]),
        template="booking/thread_card.html",
        key=str(appointment.pk),
        thing=appointment,
    )


@finds("appointment")
def find_appointments(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    rows = Appointment.objects.for_business(business).filter(pk__in=pks).select_related("staff", "business")
    return {row.pk: card(row) for row in rows}


@customer_panel
def visits(customer: Customer, now: datetime) -> Panel:
    return Panel(template="booking/customer_visits.html", data={"visits": calendar.visits(customer, now=now)})
