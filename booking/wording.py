"""How a time is said: to a customer in a text, on a page, to the owner in passing.

Every function takes aware datetimes and the name of the zone the reader lives in. The words come from the tables below
and not from the operating system's locale, so a server set to any language sends the same text.

Texts stay inside the GSM-7 alphabet: one en dash, or the "á" of "sáb", turns an SMS into UCS-2 and doubles its price.
So `say_slot` uses a hyphen and unaccented Spanish, and `say_slot_page` the typographer's forms.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_Names = Mapping[str, tuple[str, ...]]

WEEKDAYS: Final[_Names] = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "es": ("lun", "mar", "mie", "jue", "vie", "sab", "dom"),
}
WEEKDAYS_ON_A_PAGE: Final[_Names] = {
    "en": WEEKDAYS["en"],
    "es": ("lun", "mar", "mié", "jue", "vie", "sáb", "dom"),
}
MONTHS: Final[_Names] = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "es": ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"),
}
LONG_MONTHS: Final[_Names] = {
    "en": (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    "es": (
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ),
}
HALF_A_DAY: Final = timedelta(hours=12)


def say_slot(start: datetime, end: datetime, *, zone: str, lang: str = "en") -> str:
    """Say a slot in a text message: "Fri Nov 20, 7:00-8:00 AM"; in Spanish "vie 20 nov, 7:00-8:00"."""
    return _slot(start, end, zone=zone, lang=lang, dash="-", weekdays=WEEKDAYS)


def say_slot_page(start: datetime, end: datetime, *, zone: str, lang: str = "en") -> str:
    """Say a slot on a page, with an en dash: "Fri Nov 20, 7:00–8:00 AM"."""
    return _slot(start, end, zone=zone, lang=lang, dash="–", weekdays=WEEKDAYS_ON_A_PAGE)


def say_day_time(start: datetime, zone: str, lang: str = "en") -> str:
    """Say a start as the owner would: "Tue 3 pm", "Tue 3:30 pm"; in Spanish "mar 15:00"."""
    local = start.astimezone(ZoneInfo(zone))
    weekday = WEEKDAYS[_language(lang)][local.weekday()]
    if _language(lang) == "es":
        return f"{weekday} {local.hour}:{local.minute:02}"
    return f"{weekday} {say_clock(local.time()).lower()}"


def say_when_long(start: datetime, zone: str, lang: str = "en") -> str:
    """Say a start in full, as a confirmation does: "November 21, 2026 at 7:02 AM"."""
    local = start.astimezone(ZoneInfo(zone))
    month = LONG_MONTHS[_language(lang)][local.month - 1]
    if _language(lang) == "es":
        article = "la" if local.hour == 1 else "las"
        return f"{local.day} de {month} de {local.year} a {article} {local.hour}:{local.minute:02}"
    return f"{month} {local.day}, {local.year} at {_twelve(local)} {_half(local)}"


def say_date(day: date, lang: str = "en") -> str:
    """Say a calendar day: "Tue Nov 24"; in Spanish "mar 24 nov"."""
    return _date(day, lang=lang, weekdays=WEEKDAYS)


def say_clock(moment: time) -> str:
    """Say a time of day without needless zeros: "3 PM", "3:30 PM"."""
    minutes = f":{moment.minute:02}" if moment.minute else ""
    return f"{moment.hour % 12 or 12}{minutes} {_half(moment)}"


def say_length(length: timedelta) -> str:
    """Say how long something takes, in whole minutes: "45 minutes", "1 hour", "2 hours 30 minutes"."""
    hours, minutes = divmod(round(length.total_seconds() / 60), 60)
    parts = []
    if hours:
        parts.append(f"{hours} hour" if hours == 1 else f"{hours} hours")
    if minutes or not hours:
        parts.append(f"{minutes} minute" if minutes == 1 else f"{minutes} minutes")
    return " ".join(parts)


def _slot(start: datetime, end: datetime, *, zone: str, lang: str, dash: str, weekdays: _Names) -> str:
    tz = ZoneInfo(zone)
    first, last = start.astimezone(tz), end.astimezone(tz)
    lang = _language(lang)
    # Told as "10:00 PM-1:00 AM" a short night visit is clear; a job of half a day or more needs its last day named.
    names_its_last_day = first.date() != last.date() and end - start >= HALF_A_DAY
    # In the doubled hour "1:30-1:30 AM" would say nothing, so the zone's letters tell the two apart.
    zoned = _happens_twice(first) or _happens_twice(last)

    one_half = lang == "en" and first.date() == last.date() and _half(first) == _half(last) and not zoned
    opening = _clock(first, lang=lang, half=not one_half, zoned=zoned)
    closing = _clock(last, lang=lang, half=True, zoned=zoned)
    if names_its_last_day:
        closing = f"{_date(last, lang=lang, weekdays=weekdays)}, {closing}"
    return f"{_date(first, lang=lang, weekdays=weekdays)}, {opening}{dash}{closing}"


def _date(day: date, *, lang: str, weekdays: _Names) -> str:
    lang = _language(lang)
    weekday, month = weekdays[lang][day.weekday()], MONTHS[lang][day.month - 1]
    return f"{weekday} {day.day} {month}" if lang == "es" else f"{weekday} {month} {day.day}"


def _clock(local: datetime, *, lang: str, half: bool, zoned: bool) -> str:
    said = f"{local.hour}:{local.minute:02}" if lang == "es" else _twelve(local)
    if half and lang == "en":
        said = f"{said} {_half(local)}"
    return f"{said} {_zone_letters(local)}" if zoned else said


def _twelve(local: datetime) -> str:
    return f"{local.hour % 12 or 12}:{local.minute:02}"


def _half(moment: time | datetime) -> str:
    return "AM" if moment.hour < 12 else "PM"


def _happens_twice(local: datetime) -> bool:
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _zone_letters(local: datetime) -> str:
    name = local.tzname() or "UTC"
    return name if name.isalpha() else f"UTC{name}"


def _language(lang: str) -> str:
    return "es" if lang.casefold().startswith("es") else "en"
