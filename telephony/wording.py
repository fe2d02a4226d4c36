"""What the receptionist texts. GSM-7, one segment with ordinary names, and 1 / 2 / 3 instead of the carriers' words."""

from __future__ import annotations

from typing import Final

_TEXTS: Final = {
    "en": {
        "opted_out": "You will get no more texts from {business}. Reply START if you change your mind.",
        "opted_in": "You will get texts about your appointments from {business} again. Reply STOP to opt out.",
        "help": "{business}{phone}. Texts about your requests and appointments; message and data rates may apply. Reply STOP to opt out.",
        "ask": "Thanks for texting {business}. What can we do for you{examples}?",
        "which": "Thanks for texting {business}. Which one do you need: {options}?",
        "more": "Thanks for texting {business}. Could you tell us a little more about what you need?",
        "team": "Thanks. Someone from {business} will get back to you.{phone}",
        "confirmed": "Thanks, you are all set: {service}, {slot}. {business}",
        "cancelled": "Cancelled: {service}, {slot}. Text UNDO within 30 minutes to take that back. {business}",
        "undone": "Your appointment is back: {service}, {slot}. {business}",
        "undo_too_late": "That time has gone in the meantime. Tell us what you need and we will find another. {business}",
        "no_appointment": "We could not find an upcoming appointment for this number at {business}. Tell us what you need, or call{phone}.",
        "examples": ", for example {names}",
        "or": " or ",
        "call": " You can also call {phone}.",
    },
    "es": {
        "opted_out": "No recibira mas mensajes de {business}. Responda START si cambia de idea.",
        "opted_in": "Volvera a recibir mensajes de {business} sobre sus citas. Responda STOP para darse de baja.",
        "help": "{business}{phone}. Mensajes sobre sus citas; pueden aplicar tarifas. Responda STOP para darse de baja.",
        "ask": "Gracias por escribir a {business}. Que necesita{examples}?",
        "which": "Gracias por escribir a {business}. Cual necesita: {options}?",
        "more": "Gracias por escribir a {business}. Nos puede decir un poco mas sobre lo que necesita?",
        "team": "Gracias. Alguien de {business} le respondera.{phone}",
        "confirmed": "Gracias, todo listo: {service}, {slot}. {business}",
        "cancelled": "Cancelado: {service}, {slot}. Responda UNDO antes de 30 minutos para recuperarlo. {business}",
        "undone": "Su cita esta de vuelta: {service}, {slot}. {business}",
        "undo_too_late": "Esa hora ya no queda libre. Diganos que necesita y buscamos otra. {business}",
        "no_appointment": "No encontramos una cita para este numero en {business}. Diganos que necesita o llame{phone}.",
        "examples": ", por ejemplo {names}",
        "or": " o ",
        "call": " Tambien puede llamar al {phone}.",
    },
}


def say(key: str, *, lang: str, **words: str) -> str:
    return _TEXTS.get(lang, _TEXTS["en"])[key].format(**words)
