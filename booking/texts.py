"""What a customer is texted when a person changes the calendar.

GSM-7 and one segment with ordinary names. None of them asks for 1, 2 or 3: those would answer an offer that may still
be open from before. Whoever writes back reaches the thread.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from booking.models import Appointment
from booking.wording import say_slot
from crm.models import Business

_TEXTS: Final = {
    "en": {
        "booked": "You are booked with {business}: {service}, {slot}. Text us here if anything changes.",
        "moved": "{business} moved your {service} to {slot}. Text us here if that does not suit you.",
        "cancelled": "{business} had to call off your {service}, {slot}. Text us here to find another time.",
        "back": "Your {service} with {business} is on again: {slot}. See you then!",
    },
    "es": {
        "booked": "Tiene cita con {business}: {service}, {slot}. Escribanos aqui si algo cambia.",
        "moved": "{business} cambio su cita ({service}) a {slot}. Escribanos aqui si no le conviene.",
        "cancelled": "{business} tuvo que anular su cita ({service}), {slot}. Escribanos aqui y buscamos otra hora.",
        "back": "Su cita con {business} sigue en pie: {service}, {slot}. Hasta entonces!",
    },
}
# A health business's texts name the time and place, never the treatment.
_UNNAMED: Final = {"en": "appointment", "es": "cita"}


def say(key: str, *, business: Business, service: str, slot: str) -> str:
    """One of the texts above, in the business's language."""
    lang = business.language if business.language in _TEXTS else "en"
    text = _TEXTS[lang][key].format(
        business=business.name, service=_UNNAMED[lang] if business.private_health else service, slot=slot
    )
    return text[:1].upper() + text[1:]


def about(key: str, appointment: Appointment) -> str:
    """The text about an appointment as it stands now."""
    business = appointment.business
    return say(
        key,
        business=business,
        service=appointment.service_name,
        slot=slot_of(business, appointment.starts_at, appointment.ends_at),
    )


def slot_of(business: Business, start: datetime, end: datetime) -> str:
    return say_slot(start, end, zone=business.time_zone, lang=business.language)
