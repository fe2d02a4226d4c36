"""A text before the job: so many hours ahead as the business wants, once, through the sending door like any other.

A job that was booked within the time of its reminder gets none: its customer has just been told. The door moves a reminder
out of the night; one that could only arrive after the job began is not sent at all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import connection, transaction

from booking.models import Appointment
from booking.wording import say_slot
from crm.enums import Author, MessageKind, Verb
from crm.messaging import plan_message
from crm.scoping import only
from crm.services import tell_customer
from crm.timeline import note

_TEXTS: Final = {
    "en": "Reminder from {business}: {service}, {slot}. Reply 1 to confirm, 2 for another time, 3 if you can't make it.",
    "es": "Recordatorio de {business}: {service}, {slot}. Responda 1 para confirmar, 2 para otra hora, 3 si no puede.",
}
_APPOINTMENT: Final = {"en": "your appointment", "es": "su cita"}  # a health business never names the treatment
_CLAIM: Final = """
UPDATE booking_appointment SET reminded_at = %(now)s WHERE id = (
    SELECT a.id FROM booking_appointment a
    JOIN booking_schedulingrules r ON r.business_id = a.business_id JOIN crm_business b ON b.id = a.business_id
    WHERE a.reminded_at IS NULL AND a.status IN ('SCHEDULED', 'CONFIRMED') AND a.starts_at > %(now)s
    AND a.starts_at <= %(now)s + r.reminder_hours * interval '1 hour'
    AND a.created_at < a.starts_at - r.reminder_hours * interval '1 hour'
    AND r.reminder_hours > 0 AND b.status = 'ACTIVE'
    ORDER BY a.starts_at LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED)
RETURNING id
"""


def text(appointment: Appointment) -> str:
    """What the customer of this job is texted."""
    business = appointment.business
    return _TEXTS[business.language].format(
        business=business.name,
        service=_APPOINTMENT[business.language] if business.private_health else appointment.service_name,
        slot=say_slot(appointment.starts_at, appointment.ends_at, zone=business.time_zone, lang=business.language),
    )


def send_due(*, now: datetime, limit: int = 200) -> int:
    """Remind everybody who is due, in every business. Returns how many; two workers at once remind nobody twice."""
    for reminded in range(limit):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_CLAIM, {"now": now})
            claimed = cursor.fetchone()
            if claimed is None:
                return reminded
            _remind(claimed[0], now=now)
    return limit


def _remind(appointment_id: str, *, now: datetime) -> None:
    appointment = Appointment.objects.select_related("business", "customer__business").get(pk=appointment_id)
    business, customer = appointment.business, appointment.customer
    body = text(appointment)
    with only(business):
        plan = plan_message(business=business, phone=customer.phone, body=body, author=Author.ASSISTANT, now=now)
        about = f"appointment:{appointment.pk}"
        if plan.due_at is not None and plan.due_at >= appointment.starts_at:
            why = f"Not reminded: the text could only arrive after the job begins. {plan.sentence}"
            note(business=business, customer=customer, verb=Verb.REFUSED, text=why, now=now, about=about)
            return
        tell_customer(customer=customer, body=body, kind=MessageKind.REMINDER, now=now, about=about)
