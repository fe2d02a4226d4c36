"""Phone numbers: read once at the door, kept as E.164, shown and logged with care.

*Possible* numbers (right length, known country) are accepted and impossible ones refused. Whether a number is valid,
where it is and what kind of line it is are facts beside it, not gates: numbering plans change faster than our data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult
from phonenumbers.timezone import time_zones_for_geographical_number

LONGEST = 64  # characters of a number as written by a person, with room for "ext. 1234"

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{9}")
_WORDS_AFTER = re.compile(r"(?<=[0-9])[^0-9A-Za-z]*[A-Za-z].*", re.DOTALL)
_SHORT_CODE = re.compile(r"[0-9]{3,6}")
_ALPHA_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_.-]{1,11}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL text holds neither NUL nor half a character

_LINE_TYPES = {
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE: "landline",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "landline or mobile",
    PhoneNumberType.TOLL_FREE: "toll-free",
    PhoneNumberType.PREMIUM_RATE: "premium rate",
    PhoneNumberType.SHARED_COST: "shared cost",
    PhoneNumberType.VOIP: "internet",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "company",
    PhoneNumberType.VOICEMAIL: "voicemail",
}
_UNKNOWN_LINE = "unknown"

# Numbers that say what is paid or who answers, not where the phone is.
_PLACELESS = frozenset(
    {"toll-free", "premium rate", "shared cost", "internet", "personal", "company", "voicemail", _UNKNOWN_LINE}
)
# What the data answers for a +1 number it cannot place: every zone of the continent, from Guam to Newfoundland.
_ALL_OF_NORTH_AMERICA = frozenset(
    time_zones_for_geographical_number(PhoneNumber(country_code=1, national_number=8005550100))
)
# Area codes in service that the numbering data does not know yet, with the zones of the code each one overlays.
_NEW_AREA_CODES = {
    "436": frozenset({"America/New_York"}),  # Ohio, over 440, since 2024-03-01
    "457": frozenset({"America/Chicago"}),  # Louisiana, over 318
    "621": frozenset({"America/Chicago"}),  # Houston, over 713, since 2025-01-23
    "679": frozenset({"America/Detroit"}),  # Detroit, over 313, since 2025-11-07
    "729": frozenset({"America/New_York", "America/Chicago"}),  # eastern Tennessee, over 423, since 2025-09-05
    "861": frozenset({"America/Chicago"}),  # Illinois, over 309
}


class PhoneError(ValueError):
    """The text cannot be a phone number. The message says what to do, for people."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A number that can be dialled.

    `e164` has no extension; `raw` is what was written. `region` is the country by ISO code ("001": none in particular;
    the main country of the calling code when the number belongs to no plan). `line_type` is in plain words, "unknown"
    for a number that is possible but not valid.
    """

    e164: str
    raw: str
    is_valid: bool
    region: str
    line_type: str


def parse(raw: str, *, region: str) -> Phone:
    """Read a number as a person in `region` (ISO code, "US") writes it. Raises PhoneError with what to do instead.

    An extension and words after the number are dropped from `e164` and stay in `raw`.
    """
    region = region.strip().upper()
    if len(raw) > LONGEST:  # before the cache, which would keep it
        raise PhoneError(f"Phone number: this is too long to be one. {_how_to_write(region)}")
    if _UNSTORABLE.search(raw):
        raise PhoneError(f"Phone number: a character in it cannot be kept. {_how_to_write(region)}")
    return _parse(raw, region)


def is_e164(value: str) -> bool:
    """Written as we keep it: "+" and 7 to 15 digits. Says nothing about whether the number exists."""
    return _E164.fullmatch(value) is not None


def is_short_code(raw: str) -> bool:
    """Whether a sender (From) is a short code ("88202") or a name ("AMZN"): nobody to call or answer.

    For senders as the carrier names them; a person's own number in a form is read by `parse`.
    """
    return bool(_SHORT_CODE.fullmatch(raw) or _ALPHA_SENDER.fullmatch(raw))


@lru_cache(maxsize=4_096)
def pretty(e164: str, *, region: str = "US") -> str:
    """For reading: "(555) 123-4567" where the calling code is the region's own, else "+44 20 7946 0018".

    What is not E.164, such as a short code, is shown as it is.
    """
    number = _read(e164)
    if number is None:
        return e164
    at_home = number.country_code == phonenumbers.country_code_for_region(region)
    style = PhoneNumberFormat.NATIONAL if at_home else PhoneNumberFormat.INTERNATIONAL
    return phonenumbers.format_number(number, style)


def redact(e164: str) -> str:
    """For logs: "+1******4567". Anything that is not E.164 becomes stars altogether."""
    if not is_e164(e164):
        return "****"
    code = next((n for n in (1, 2, 3) if int(e164[1 : 1 + n]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 0)
    national = e164[1 + code :]
    shown = min(4, len(national) // 2)
    return f"{e164[: 1 + code]}{'*' * (len(national) - shown)}{national[-shown:]}"


@lru_cache(maxsize=16_384)
def zones(e164: str) -> frozenset[str]:
    """IANA time zones the number may be in, by its leading digits. Empty when the number does not say.

    It does not for toll-free and other placeless numbers, for numbers of no known plan, and for what is not E.164.
    The area code is a good guess at where a phone is, and only a guess: people move and keep their number.
    """
    if _NORTH_AMERICAN.fullmatch(e164) and e164[2:5] in _NEW_AREA_CODES:
        return _NEW_AREA_CODES[e164[2:5]]
    number = _read(e164)
    if number is None or _line_type(number) in _PLACELESS:
        return frozenset()
    found = frozenset(time_zones_for_geographical_number(number))
    return frozenset() if found == _ALL_OF_NORTH_AMERICA else found - {"Etc/Unknown"}


@lru_cache(maxsize=16_384)
def _parse(raw: str, region: str) -> Phone:
    # Every inbound text brings E.164, so the common case skips the reading of people's handwriting.
    number = _read(raw) or _handwritten(raw, region)
    if number is None:
        raise _not_a_number(raw, region)
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
        raise PhoneError(f"Phone number: '{_shown(raw)}' has no area code. {_how_to_write(region)}")
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    # Some plans know numbers of three digits and of seventeen; neither reaches a person from abroad.
    if reason != ValidationResult.IS_POSSIBLE or not is_e164(e164):
        raise _not_a_number(raw, region)
    line_type = _line_type(number)
    return Phone(
        e164=e164,
        raw=raw,
        is_valid=line_type != _UNKNOWN_LINE,
        region=phonenumbers.region_code_for_number(number)
        or phonenumbers.region_code_for_country_code(number.country_code or 0),
        line_type=line_type,
    )


def _read(e164: str) -> PhoneNumber | None:
    if _NORTH_AMERICAN.fullmatch(e164):
        return PhoneNumber(country_code=1, national_number=int(e164[2:]))
    return _try(e164, None) if is_e164(e164) else None


def _handwritten(raw: str, region: str) -> PhoneNumber | None:
    """Letters can be part of a number (1-800-FLOWERS); when that makes nonsense, they are words after it."""
    number = _try(raw, region)
    if number is None or not phonenumbers.is_possible_number(number):
        number = _try(_WORDS_AFTER.sub("", raw), region) or number
    return number


def _try(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException:
        return None


def _line_type(number: PhoneNumber) -> str:
    return _LINE_TYPES.get(phonenumbers.number_type(number), _UNKNOWN_LINE)


def _not_a_number(raw: str, region: str) -> PhoneError:
    shown = _shown(raw)
    said = f"'{shown}' is not a phone number we can reach" if shown else "nothing is written here"
    return PhoneError(f"Phone number: {said}. {_how_to_write(region)}")


def _how_to_write(region: str) -> str:
    if region == "US":
        return "Write it like (555) 123-4567 or +15551234567."
    example = phonenumbers.example_number(region)
    if example is None:
        return "Write it with its country code, like +15551234567."
    at_home = phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL)
    return f"Write it like {at_home} or {phonenumbers.format_number(example, PhoneNumberFormat.E164)}."


def _shown(raw: str) -> str:
    """Safe to repeat in a message or a log line: printable and short."""
    line = "".join(char if char.isprintable() else " " for char in raw[:LONGEST]).strip()
    return line if len(line) <= 30 else f"{line[:27]}..."
