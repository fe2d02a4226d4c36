"""What the customer and the owner are told about a request. Texts stay in GSM-7 and, with ordinary names, in one
segment; they name the business and offer 1 / 2 / 3, because carriers keep words like YES and STOP for themselves."""

from __future__ import annotations

from typing import Final

_TEXTS: Final = {
    "en": {
        "offer": "{hi}{business} can do {service} {slot}. Reply 1 to book, 2 for another time, 3 to pass.",
        "offer_late": "That time was just taken. {business} can do {service} {slot}. Reply 1 to book, 2 for another time, 3 to pass.",
        "confirmed": "Confirmed! Your {service} with {business} is booked for {when}. See you then!",
        "no_slot": "{business} has no free time for {service} right now. We will call you to find one.",
        "no_later_slot": "{business} has no other free time for {service} right now. We will call you to find one.",
        "declined": "No problem, nothing is booked. Text us any time. {business}",
        "kept": "We leave it as it is: {service}, {slot}. Reply 1 to keep it, 2 for another time, 3 to cancel it. {business}",
        "still_booked": "You are still booked: {service}, {slot}. {business} will call you about it.",
        "clarify": "Please reply 1 to book, 2 for another time or 3 to pass, or tell us a day and time that suits you.",
        "hi": "Hi {name}, ",
    },
    "es": {
        "offer": "{hi}{business} puede hacer {service} {slot}. Responda 1 para reservar, 2 para otra hora, 3 para dejarlo.",
        "offer_late": "Esa hora ya no queda libre. {business} puede hacer {service} {slot}. Responda 1 para reservar, 2 para otra hora, 3 para dejarlo.",
        "confirmed": "Confirmado! Su {service} con {business}: {when}. Hasta entonces!",
        "no_slot": "{business} no tiene hora libre para {service} ahora. Le llamaremos para encontrar una.",
        "no_later_slot": "{business} no tiene otra hora libre para {service} ahora. Le llamaremos para encontrar una.",
        "declined": "Sin problema, no hay nada reservado. Escriba cuando quiera. {business}",
        "kept": "Su cita queda como estaba: {service}, {slot}. Responda 1 para mantenerla, 2 para otra hora, 3 para cancelarla. {business}",
        "still_booked": "Su cita sigue en pie: {service}, {slot}. {business} le llamara para hablar de ella.",
        "clarify": "Responda 1 para reservar, 2 para otra hora o 3 para dejarlo, o escriba un dia y una hora.",
        "hi": "Hola {name}, ",
    },
}


def say(key: str, *, lang: str, name: str = "", **words: str) -> str:
    """One of the texts above. `name` is the customer's first name, if known."""
    texts = _TEXTS.get(lang, _TEXTS["en"])
    hi = texts["hi"].format(name=name) if name else ""
    text = texts[key].format(hi=hi, **words)
    return text[:1].upper() + text[1:]


# What a customer of a health business is shown instead of the treatment's name.
APPOINTMENT: Final = {"en": "an appointment", "es": "una cita"}
JUST_APPOINTMENT: Final = {"en": "appointment", "es": "cita"}  # after “your”
