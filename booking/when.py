"""A person's words for a time, read as a wish. A wish is never a booking: it narrows which free slots are offered.

English and Spanish, by rules, so that "tues after 3" works with no language model. Understanding nothing is better than
understanding something else: a text with no time in it, or one that only says when they can *not*, or when it broke, is
None, and the caller asks.

How doubtful words are read
    * An hour without am or pm is taken as business people mean it: 1-6 in the afternoon, 7-11 in the morning, 12 noon;
      with "tonight" or "evening", 5-11 are pm.
    * A bare 1, 2 or 3 is an answer to a menu, not a time; a bare 4 to 12 is a time. A number followed by a thing
      ("my 2 units", "at 12 Oak St") is not.
    * "Tuesday" said on a Tuesday is today while the named time is still ahead, or, with no time named, until the day
      is over at 17:00; after that it is next week's. "Next Tuesday" is the one of the next calendar week, Monday first.
    * "Today" stays today even when the time has passed: no slot will be found, and the caller can say why.
    * 11/24 is month/day; 24/11 can only be day/month. A date up to 90 days back stays in the past, an older one is next
      year's. "The 24th" is the next one to come.
    * A time window is for the *start* of the visit. "After 3" includes 3:00; "before noon" and "by noon" do not include
      12:00; "around 10" is 9:00 to 11:00. Morning is 6:00 to 12:00, afternoon until 17:00, evening from then on.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY_IS_OVER: Final = time(17, 0)
AROUND: Final = 60  # minutes either side of "around 10"
NEARBY: Final = 120  # minutes either side, when the exact time asked for is taken
OPEN_ENDED: Final = timedelta(days=13)  # "after Tuesday" means the two weeks from then
LONGEST: Final = 1600  # letters read: the longest text a carrier takes
STAYS_IN_THE_PAST: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Wanted:
    """When somebody would like to be visited. All empty means: as early as possible."""

    dates: tuple[date, date] | None = None
    """First and last local date, both included."""
    not_before: time | None = None
    """Local time; the visit starts at or after it."""
    not_after: time | None = None
    """Local time; the visit starts before it."""
    exact: time | None = None
    """Local time; the visit starts at it."""
    words: str = ""
    """What they wrote, or "asap"."""

    @property
    def has_time(self) -> bool:
        return self.not_before is not None or self.not_after is not None or self.exact is not None

    def loosened(self) -> "Wanted | None":
        """The next best wish when nothing is free: near the exact time, then any time those days, then None."""
        if self.exact is not None:
            earliest, latest = _minute(self.exact) - NEARBY, _minute(self.exact) + NEARBY
            return replace(self, exact=None, not_before=_time(max(earliest, 0)), not_after=_time(latest))
        if self.has_time and self.dates:
            return replace(self, not_before=None, not_after=None)
        return None


def read_when(text: str, *, now: datetime, zone: str) -> Wanted | None:
    """Read a wish out of free text; None when it names no time.

    `now` is aware (ValueError otherwise) and `zone` is the business's IANA name: today, tomorrow and "still ahead" are
    told by its wall clock.
    """
    if now.tzinfo is None:
        raise ValueError("Reading a time needs an aware present.")
    local = now.astimezone(ZoneInfo(zone))
    words = " ".join(text.split())[:LONGEST]
    plain = _plain(words)

    # "Move my Tuesday visit to Thursday": what counts stands behind the "to".
    if (moved := _MOVED.search(plain)) and (wish := _read(plain[moved.start("to") :], local)):
        return replace(wish, words=words)
    if wish := _read(plain, local):
        return replace(wish, words=words)
    return Wanted(words="asap") if _ASAP.search(plain) else None


def _read(plain: str, local: datetime) -> Wanted | None:
    days, rest = _read_days(plain, local.date())
    times = _read_times(rest, local)
    dates = _settle_days(days, rest, times, local) or times.dates
    if dates is None and not times.has_time:
        return None
    return replace(times, dates=dates)


# --- one spelling for all the ways of writing -------------------------------------------------------------------------

_NUMBERS: Final = {
    word: str(number)
    for words in (
        "one two three four five six seven eight nine ten eleven twelve",
        "una dos tres cuatro cinco seis siete ocho nueve diez once doce",
    )
    for number, word in enumerate(words.split(), start=1)
}
_ENGLISH: Final = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_SPANISH: Final = "una|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce"

# Read from top to bottom: each line may lean on what the lines above it have made plain.
_SPELLINGS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), spelled)
    for pattern, spelled in (
        # a greeting names no time
        (
            r"\b(?:good|have an? (?:good|great|nice|lovely)|happy) "
            r"(?:morning|afternoon|evening|night|weekend|week|\w*day)\b",
            ".",
        ),
        (r"\b(?:buenos dias|buenas tardes|buenas noches|buen dia|hasta (?:manana|luego|pronto))\b", "."),
        (r"\bb4\b", "before"),
        (r"\b24 ?/ ?7\b", ""),
        (r"\b([ap])\. ?m\b\.?", r"\1m"),
        (r"\bo ?clock\b", "oclock"),
        (r"(?<=\d) ?hrs?\b", "h"),
        # numbers in words, only where a clock is meant: "one" and "once" mean too much elsewhere
        (rf"\b(las?) ({_SPANISH})\b", lambda m: f"{m[1]} {_NUMBERS[m[2]]}"),
        (
            rf"\b(at|after|before|by|around|about|until|till|til|between|from|past|to|and) ({_ENGLISH})\b",
            lambda m: f"{m[1]} {_NUMBERS[m[2]]}",
        ),
        (
            rf"\b({_ENGLISH}) (am|pm|oclock|thirty|fifteen|forty[ -]?five|(?:in the|at) (?:morning|afternoon|night))\b",
            lambda m: f"{_NUMBERS[m[1]]} {m[2]}",
        ),
        (rf"\bin ({_ENGLISH}) (hour|day|week)", lambda m: f"in {_NUMBERS[m[1]]} {m[2]}"),
        (r"\bin an? (?:couple(?: of)?) (hour|day|week)", r"in 2 \1"),
        (r"\b(in|en) (?:an?|una?) (hour|day|week|hora|dia|semana)\b", r"\1 1 \2"),
        (r"\b(\d{1,2}) (?:thirty|y media)\b", r"\1:30"),
        (r"\b(\d{1,2}) (?:fifteen|y cuarto)\b", r"\1:15"),
        (r"\b(\d{1,2}) forty[ -]?five\b", r"\1:45"),
        (r"\bhalf past (\d{1,2})\b", r"\1:30"),
        (r"\bquarter past (\d{1,2})\b", r"\1:15"),
        (r"\bquarter (?:to|of|til|till) (\d{1,2})\b", lambda m: f"{int(m[1]) - 1 or 12}:45"),
        (r"\b(\d{1,2}) menos cuarto\b", lambda m: f"{int(m[1]) - 1 or 12}:45"),
        (r"\b(\d{1,2})([0-5]\d) ?(am|pm)\b", r"\1:\2\3"),
        (r"\b(?:noon|midday|(?:al )?mediodia)\b", "12pm"),
        # parts of the day
        (r"\b(?:por|en|de|a) la manana\b", "in the morning"),
        (r"\b(?:por|en|de|a) la tarde\b", "in the afternoon"),
        (r"\b(?:por|en|de|a) la noche\b", "in the evening"),
        (r"\b(?:tonight|tonite|this (?:evening|night)|esta noche)\b", "today evening"),
        (r"\b(?:this morning|esta manana)\b", "today morning"),
        (r"\b(?:this afternoon|esta tarde)\b", "today afternoon"),
        # "can't until 3" says from when they can
        (
            r"\b(?:not|cant|cannot|wont|nothing|busy|working|i work|at work|booked|tied up|gone|out|ocupad[oa]|trabajo"
            r"|no puedo)"
            r"(?: \w+){0,3}? (?:until|till|til|before|hasta|antes de)\b",
            "starting",
        ),
        (r"\bno (?:earlier|sooner) than\b|\bno antes de\b", "starting"),
        (r"\b(?:no|not) later than\b|\bnot after\b|\bno (?:despues|mas tarde) de\b", "by"),
        (r"\bwhy (?:not|dont we(?: do)?)\b", ""),
    )
)


def _plain(text: str) -> str:
    """Lower case, no accents, no apostrophes, one space, and the spellings above."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[’'`~^]", "", plain)
    plain = re.sub("[–—−]", "-", plain)
    plain = " ".join(plain.split())
    for pattern, spelled in _SPELLINGS:
        plain = pattern.sub(spelled, plain)
    return plain


_MOVED: Final = re.compile(
    r"\b(?:move|change|switch|push|bump|swap|resched\w*|cambiar|mover|pasar)\b.*?\b(?P<to>(?:to|para|al?)\b.*)"
)

_ASAP: Final = re.compile(
    r"\basap\b|\ba\.s\.a\.p|\b(?:as )?soon as (?:possible|you can|u can|can be)\b|\bsoonest\b|\bearliest\b"
    r"|\b(?:first|next) (?:available|opening|free|possible)\b|\bright away\b|\bimmediately\b|\bat once\b"
    r"|(?<!not )\bright now\b|(?<!not )(?<!right )(?<!until )(?<!by )(?<!for )(?<!from )(?<!just )\bnow\b"
    r"|\bany ?time\b|\bwhenever\b|\bany day\b"
    r"|\blo antes posible\b|\bcuanto antes\b|\blo mas pronto\b|\bahora\b|\bahorita\b|\binmediatamente\b"
    r"|\bcuando sea\b|\bcualquier (?:hora|dia|momento)\b"
)

# --- names ------------------------------------------------------------------------------------------------------------

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "january jan enero ene",
            "february feb febrero",
            "march mar marzo",
            "april apr abril abr",
            "may mayo",
            "june jun junio",
            "july jul julio",
            "august aug agosto ago",
            "september sept sep septiembre",
            "october oct octubre",
            "november nov noviembre",
            "december dec diciembre dic",
        ),
        start=1,
    )
    for name in names.split()
}
_WEEKDAYS: Final = {
    name: number
    for number, names in enumerate(
        (
            "monday mon lunes lun",
            "tuesday tues tue martes",
            "wednesday weds wed wensday miercoles mie",
            "thursday thurs thur thu jueves jue",
            "friday fri viernes vie",
            "saturday sat sabado sab",
            "sunday sun domingo dom",
        )
    )
    for name in names.split()
}
_MONTH: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAY: Final = "|".join(sorted(_WEEKDAYS, key=len, reverse=True))

# --- what is said of a time, not wished -------------------------------------------------------------------------------

_FILLERS: Final = (
    r"(?: (?:do|make|it|on|the|this|at|in|for|available|free|come|be|home|there|el|la|las|los|hacerlo|up|down|all|day"
    r"|leaking|acting|early|late)| \^+)*"
)
_DISOWNED_BEFORE: Final = re.compile(
    r"\b(?:not|cant|cannot|dont|wont|isnt|never|nothing|except|besides|any(?: ?day| ?time|thing) but|busy|closed"
    r"|no puedo|excepto|menos|see (?:you|u|ya)(?: all| guys)?|nos vemos"
    r"|since|last|stopped(?: working)?|quit(?: working)?|broke|broken|died|started|went out|burst|failed|happened"
    rf"|desde|dejo de funcionar|no funciona|se rompio){_FILLERS} ?$"
)
_DISOWNED_AFTER: Final = re.compile(
    r" ?(?:at all )?(?:(?:i|we) )?(?:doesnt|does not|wont|will not|isnt|is not|is no|is bad|is out|is too|no good"
    rf"|not(?! (?:\^|today|tomorrow|(?:{_WEEKDAY})\b))|no(?= ?(?:[,.;]|but|pero|$))"
    r"|dont|do not|cant|cannot|no me|no puedo|no funciona|ago)\b"
)


def _disowned(plain: str, start: int, end: int) -> bool:
    return bool(_DISOWNED_BEFORE.search(plain[:start]) or _DISOWNED_AFTER.match(plain[end:]))


def _blank(plain: str, start: int, end: int, mark: str) -> str:
    """Cover what was read, keeping every position: `~` over a wish, `^` over what was disowned."""
    return plain[:start] + mark * (end - start) + plain[end:]


# --- days -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Days:
    """Days named at one place in the text."""

    first: date
    last: date
    is_weekday: bool = False  # "tuesday": may turn out to be next week's
    is_week: bool = False  # "next week", "weekend": another word may say which day of it
    is_exact: bool = False  # "nov 24": wins over "tuesday" beside it
    relation: str = ""  # after, from, before, by
    start: int = 0
    end: int = 0


_THING: Final = (
    r"(?! ?(?:st|street|ave|avenue|rd|road|dr|ln|floor|fl|one|time|option|choice|unit|apt|appointment|slot|opening|inch"
    r"|inches|in|ton|hp|bath|baths|cup|price|off|day|of)\b)"
)


def _calendar_day(month: int, day: int, today: date, year: int | None = None) -> _Days | None:
    for candidate in (year,) if year else (today.year, today.year + 1):
        try:
            named = date(candidate, month, day)
        except ValueError:
            continue
        if year or named >= today - STAYS_IN_THE_PAST:
            return _Days(named, named, is_exact=True)
    return None


def _read_iso(m: re.Match[str], today: date) -> _Days | None:
    return _calendar_day(int(m[2]), int(m[3]), today, int(m[1]))


def _read_slashed(m: re.Match[str], today: date) -> _Days | None:
    month, day = int(m[1]), int(m[2])
    if month > 12:
        month, day = day, month
    year = None if m[3] is None else int(m[3]) % 100 + 2000
    return _calendar_day(month, day, today, year)


def _read_month(m: re.Match[str], today: date) -> _Days | None:
    month, year = _MONTHS[m["month"]], int(m["year"]) if m["year"] else None
    named = _calendar_day(month, int(m["day"]), today, year)
    to = m.groupdict().get("to")
    if named and to:
        until = _calendar_day(month, int(to), today, named.first.year)
        if until and until.last > named.first:
            return replace(named, last=until.last)
    return named


def _read_ordinal(m: re.Match[str], today: date) -> _Days | None:
    named = _next_of_month(int(m["day"]), today)
    return _Days(named, named, is_exact=True) if named else None


def _next_of_month(day: int, today: date) -> date | None:
    """The next 24th to come; a month without a 31st is passed over."""
    for months in range(3):
        year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
        try:
            named = date(year, month + 1, day)
        except ValueError:
            continue
        if named >= today:
            return named
    return None


def _read_weekday(m: re.Match[str], today: date) -> _Days | None:
    weekday = _WEEKDAYS[m["day"]]
    if m["day"] in {"sun", "sat", "wed"} and not _is_a_day(m):
        return None
    if m["next"] or m["after"]:
        named = _monday(today) + timedelta(days=7 + weekday)
        return _Days(named, named)
    named = today + timedelta(days=(weekday - today.weekday()) % 7)
    if m["of_month"]:  # "friday 27" is a date when the 27th is a Friday, and otherwise nothing we should guess at
        of_month = _next_of_month(int(m["of_month"]), today)
        return _Days(of_month, of_month, is_exact=True) if of_month and of_month.weekday() == weekday else None
    if m["week_from"]:
        named += timedelta(days=7)
        return _Days(named, named)
    return _Days(named, named, is_weekday=True)


def _is_a_day(m: re.Match[str]) -> bool:
    """Whether "sun", "sat" and "wed" stand where a day would: "on sun", "sat at 3", but not "the sun is hot"."""
    before, after = m.string[: m.start("day")], m.string[m.end("day") :]
    return bool(
        re.search(
            r"(?:^|[,.;!?~(/-]|\b(?:on|this|next|coming|for|by|or|and|to|thru|through|before|after|until|till|til|about"
            r"|from|starting|either|maybe|do))\s*$",
            before,
        )
        or re.match(r"\s*(?:[,~/]|morning|afternoon|evening|night|at \d|\d|or|am|pm|after \d|before \d|next)", after)
    )


def _read_shifted(m: re.Match[str], today: date) -> _Days | None:
    length = 7 if m["unit"] in {"week", "semana"} else 1
    named = today + timedelta(days=int(m["count"]) * length)
    return _Days(named, named)


def _relative(reader: Callable[[date], tuple[date, date]], *, is_week: bool = False) -> "_DayReader":
    def read(_: re.Match[str], today: date) -> _Days:
        first, last = reader(today)
        return _Days(first, last, is_week=is_week)

    return read


def _monday(today: date) -> date:
    return today - timedelta(days=today.weekday())


def _in(days: int) -> Callable[[date], tuple[date, date]]:
    return lambda today: (today + timedelta(days=days), today + timedelta(days=days))


def _of_week(weeks: int, first: int, last: int) -> Callable[[date], tuple[date, date]]:
    """Days of this (0) or next (1) calendar week, without those that are over."""

    def read(today: date) -> tuple[date, date]:
        monday = _monday(today) + timedelta(days=7 * weeks)
        end = monday + timedelta(days=last)
        return min(max(monday + timedelta(days=first), today), end), end

    return read


def _next_month(today: date) -> tuple[date, date]:
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


_DayReader = Callable[[re.Match[str], date], _Days | None]
_TOMORROW: Final = r"tom+or+ow|tomoro|tmrw|tmrow|tmr|tmw|2mor+ow?|manana"
_ORDINAL: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)"

# The order matters: "day after tomorrow" before "tomorrow", "nov 24" before "the 24th".
_DAY_READERS: Final[tuple[tuple[re.Pattern[str], _DayReader], ...]] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r"\b(20\d\d)-(\d{1,2})-(\d{1,2})\b", _read_iso),
        (rf"(?<![\d/$])(\d{{1,2}})/(\d{{1,2}})(?:/((?:20)?\d\d))?(?![\d/]){_THING}", _read_slashed),
        (
            rf"\b(?P<month>{_MONTH})\.? (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?!\d|:| ?[ap]m\b)"
            rf"(?! (?:de )?(?:{_MONTH})\b)"  # "mar 24 nov" is a Tuesday in November
            r"(?: ?(?:-|to|through|thru) ?(?P<to>\d{1,2})(?:st|nd|rd|th)?(?!\d|:| ?[ap]m\b))?"
            r"(?:,? (?P<year>20\d\d))?\b",
            _read_month,
        ),
        (
            # "at 3 may work": a bare number before "may" is no date
            rf"\b(?P<day>\d{{1,2}})(?:(?:st|nd|rd|th)? (?:of|de) |(?:st|nd|rd|th) | (?!may\b))(?P<month>{_MONTH})\b"
            r"(?:,? (?:de )?(?P<year>20\d\d))?",
            _read_month,
        ),
        (rf"\b(?:the )?day after (?:{_TOMORROW})\b|\bpasado manana\b", _relative(_in(2))),
        (rf"\b(?:an? )?week from (?:{_TOMORROW})\b", _relative(_in(8))),
        (r"\b(?:an? )?week from today\b", _relative(_in(7))),
        (
            rf"(?P<week_from>\b(?:an? )?week from )?(?P<next>\bnext |\bproximo )?(?:\bthis |\bcoming |\beste )*"
            rf"\b(?P<day>{_WEEKDAY})s?\b(?! (?:damage|spots?|burn|screen|exposure|room|porch|light|shade))"
            r"(?P<after> (?:proximo|que viene)\b)?"
            r"(?: (?P<of_month>1[3-9]|2\d|3[01])(?!\d|:|/|st|nd|rd|th| ?[ap]m\b))?",
            _read_weekday,
        ),
        (r"\b(?:in|en|dentro de) (?P<count>\d{1,2}) (?P<unit>day|week|dia|semana)s?\b", _read_shifted),
        (r"\b(?P<count>\d{1,2}) (?P<unit>day|week)s? from (?:now|today)\b", _read_shifted),
        (r"\bearly next week\b", _relative(_of_week(1, 0, 2), is_week=True)),
        (r"\b(?:late|later|end of) next week\b", _relative(_of_week(1, 3, 6), is_week=True)),
        (r"\bnext weekend\b|\bel proximo fin de semana\b", _relative(_of_week(1, 5, 6), is_week=True)),
        (r"\b(?:this |the |on the |el |este )?(?:weekend|fin de semana)\b", _relative(_of_week(0, 5, 6), is_week=True)),
        (
            r"\b(?:next week|(?:la )?(?:proxima semana|semana que viene|semana proxima))\b",
            _relative(_of_week(1, 0, 6), is_week=True),
        ),
        (r"\bend of (?:the |this )?week\b", _relative(_of_week(0, 3, 4), is_week=True)),
        (r"\b(?:this week|esta semana)\b", _relative(_of_week(0, 0, 6), is_week=True)),
        (r"\b(?:next month|(?:el )?(?:proximo mes|mes que viene))\b", _relative(_next_month, is_week=True)),
        (r"\b(?:todays?|2day|hoy)\b", _relative(_in(0))),
        (rf"\b(?:{_TOMORROW})s?\b", _relative(_in(1))),
        (rf"\b(?:the )?{_ORDINAL}\b{_THING}", _read_ordinal),
        (rf"\b(?:el|dia) (?P<day>\d{{1,2}})\b(?!:){_THING}", _read_ordinal),
    )
)

_RELATION: Final = re.compile(
    r"\b(?:(?P<after>after|later than|despues del?)|(?P<from>starting|from|beginning|desde|a partir del?)"
    r"|(?P<before>before|antes del?)|(?P<by>by|until|till|til|hasta)) (?:on |the |el )?$"
)
_TO: Final = re.compile(r" ?(?:-|to|through|thru|until|till|til|hasta|a|al) ?(?:the |el )?")
_AND: Final = re.compile(r" ?(?:and|y) ?(?:the |el )?")
_OR: Final = re.compile(r" ?(?:or|o|and|y|,|/|&|, ?(?:or|and|y|o)) ?(?:on |the |el )?")
_BETWEEN: Final = re.compile(r"\b(?:between|entre) (?:the |el )?$")


def _read_days(plain: str, today: date) -> tuple[list[_Days], str]:
    """Every mention of days, in the order of the text, and the text with them covered."""
    named: list[_Days] = []
    for pattern, reader in _DAY_READERS:
        for m in pattern.finditer(plain):
            if not (days := reader(m, today)):
                continue
            relation = _RELATION.search(plain[: m.start()])
            start = relation.start() if relation else m.start()
            if _disowned(plain, start, m.end()):
                plain = _blank(plain, start, m.end(), "^")
                continue
            if relation:
                days = replace(days, relation=str(relation.lastgroup))
            named.append(replace(days, start=m.start(), end=m.end()))
            plain = _blank(plain, m.start(), m.end(), "~")
    return sorted(named, key=lambda days: days.start), plain


def _settle_days(named: list[_Days], plain: str, times: Wanted, local: datetime) -> tuple[date, date] | None:
    """What several mentions mean together: a range, two days in a row, or one day said twice."""
    today = local.date()
    if weeks := [days for days in named if days.is_week]:
        inside = [_within(days, weeks[0]) for days in named if not days.is_week]
        named = [days for days in inside if days] or weeks[:1]
    if not named:
        return None

    if not weeks:
        named = [_next_weeks(days) if days.is_weekday and _is_over(days, times, local) else days for days in named]
    settled = named[0]
    for days in named[1:]:
        between = plain[settled.end : days.start]
        if _TO.fullmatch(between) or (_AND.fullmatch(between) and _BETWEEN.search(plain[: settled.start])):
            last = days.last if days.last >= settled.first else days.last + timedelta(days=7)
            settled = replace(settled, last=last, end=days.end, relation="")
        elif _OR.fullmatch(between):
            if days.first == settled.last + timedelta(days=1):
                settled = replace(settled, last=days.last, end=days.end)
        elif days.is_exact and not settled.is_exact:
            settled = days

    first, last = settled.first, settled.last
    if settled.relation == "after":
        return last + timedelta(days=1), last + OPEN_ENDED
    if settled.relation == "from":
        return first, first + OPEN_ENDED
    if settled.relation == "before" and first > today:
        return today, first - timedelta(days=1)
    if settled.relation == "by" and last >= today:
        return today, last
    return first, max(first, last)


def _within(days: _Days, week: _Days) -> _Days | None:
    """The weekday inside the named week; a day outside it is no part of the wish."""
    for shift in (0, 7, 14):
        day = days.first + timedelta(days=shift)
        if week.first <= day <= week.last:
            return replace(days, first=day, last=day, is_weekday=False)
        if not days.is_weekday:
            break
    return None


def _next_weeks(days: _Days) -> _Days:
    return replace(days, first=days.first + timedelta(days=7), last=days.last + timedelta(days=7))


def _is_over(days: _Days, times: Wanted, local: datetime) -> bool:
    """Whether a weekday that is today has nothing left of what was asked for."""
    if days.first != local.date() or days.relation:
        return days.first == local.date() and days.relation == "before"
    clock = local.time()
    if times.exact is not None:
        return times.exact <= clock
    if times.not_after is not None:
        return times.not_after <= clock
    return clock >= DAY_IS_OVER and (times.not_before is None or times.not_before < DAY_IS_OVER)


# --- times of day -----------------------------------------------------------------------------------------------------


def _clock(tag: str = "") -> str:
    return rf"(?P<h{tag}>\d{{1,2}})(?::(?P<m{tag}>[0-5]\d))? ?(?P<half{tag}>[ap]m\b|(?<=\d)[ap]\b)?"


_LEAD: Final = r"(?<![\w:/.$#^-])"
_LAS: Final = r"(?:las? )?"
_HALVES: Final = re.compile(r"(\d{1,2}(?::\d\d)?) ?(?:in the|at) (morning|afternoon|evening|night)\b")
_IN_A_WHILE: Final = re.compile(
    r"\b(?:in|en|dentro de) (?P<count>\d{1,2}) ?(?P<unit>hour|h|hora|minute|min|minuto)s?\b"
)
_RANGE: Final = re.compile(
    rf"(?:\b(?P<lead>between|from|entre|desde|de) )?{_LAS}{_LEAD}{_clock('1')}"
    rf"(?P<joint> ?(?:-|to|and|until|till|til|y|a|hasta) ?){_LAS}{_clock('2')}(?![\w:/%])"
)
_AFTER: Final = re.compile(
    rf"\b(?:after|past|from|starting(?: at)?|later than|despues del?|a partir de|desde) {_LAS}{_clock()}(?![\w:/%])"
    rf"|{_LEAD}{_clock('2')} ?(?:\+"
    r"|(?:or later|or after|onwards?|and (?:later|after|on)|en adelante|o mas tarde|o despues)\b)(?! \d)"
)
_BEFORE: Final = re.compile(
    rf"\b(?:before|by|until|till|til|antes del?|hasta) {_LAS}{_clock()}(?![\w:/%])"
    rf"|{_LEAD}{_clock('2')} (?:or (?:earlier|before|sooner)|o antes)\b(?! \d)"
)
_AROUND: Final = re.compile(
    rf"\b(?:around|(?<!how )(?<!what )about|approx(?:imately)?|sobre|como a|a eso de|alrededor de) "
    rf"{_LAS}{_clock()}(?![\w:/%])"
    rf"|{_LEAD}{_clock('2')} ?-?ish\b"
)
_EXACT: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:\b(?:at|do|make it|how about|what about) |@ ?){_clock()}(?![\w:/%-])",
        rf"\blas? {_clock()}(?: ?horas|h)?(?![\w:/%])",
        rf"{_LEAD}{_clock()} ?oclock\b",
        rf"{_LEAD}{_clock()}(?![\w:/%-])",
    )
)

# What may follow a bare number that is a time. Anything else is a thing being counted, or a street.
_MAY_FOLLOW: Final = re.compile(
    r" ?(?:$|[,.;!?)&~+-]|(?:please|pls|plz|thanks|thank|on|or|and|if|is|works?|would|will|in the|in case|but|then|ok"
    r"|okay|sharp|that|this|next|the|to|through|because|since|when|i|im|ill|we|you|can|could|should|sounds?|good|great|fine"
    r"|best|ish|at|by|for|today|before|after|por|de|del|en|el|y|o|si|esta|morning|afternoon|evening|favor|gracias"
    r"|oclock|h)\b)"
)

# With nothing but this after it, a bare number is the whole answer.
_NOTHING_MORE: Final = re.compile(
    r"\W*(?:(?:works?|is (?:good|great|fine|ok|okay|better|best|perfect)|would (?:work|be (?:good|great|fine))|please"
    r"|pls|thanks|por favor|gracias)\W*)?"
)

_DAY_PARTS: Final[tuple[tuple[re.Pattern[str], time | None, time | None], ...]] = tuple(
    (re.compile(pattern), earliest, latest)
    for pattern, earliest, latest in (
        (r"\bbefore lunch(?: ?time)?\b|\bantes (?:de almorzar|del almuerzo|de comer)\b", None, time(12)),
        (r"\bafter lunch(?: ?time)?\b|\bdespues (?:de almorzar|del almuerzo|de comer)\b", time(13), None),
        (r"\blunch(?: ?time| hour| break)?\b|\balmuerzo\b", time(12), time(14)),
        (r"\bafter work\b|\bdespues del trabajo\b", time(17), None),
        (r"\bafter school\b|\bdespues de la escuela\b", time(15), None),
        (r"\blate(?:r in the)? morning\b|\bmid ?-?morning\b", time(10), time(12)),
        (r"\bearly afternoon\b", time(12), time(15)),
        (r"\blate afternoon\b", time(15), time(18)),
        (r"\bmornings?\b|\bfirst thing\b|(?:~ ?|\bthe )am\b|\bmananas\b|~ temprano\b", time(6), time(12)),
        (r"\bafternoons?\b|(?:~ ?|\bthe )pm\b|(?:~ |^)tardes?\b|\blas tardes\b", time(12), time(17)),
        (r"\bevenings?\b|(?:~ |\bat |\bthe )nights?\b|(?:~ |^)noche\b", time(17), None),
    )
)


def _read_times(plain: str, local: datetime) -> Wanted:
    """The times of day named in a text whose days are covered. Empty when there is none."""
    plain = _HALVES.sub(lambda m: f"{m[1]}{'am' if m[2] == 'morning' else 'pm'}", plain)
    if m := _IN_A_WHILE.search(plain):
        length = timedelta(hours=1) if m["unit"].startswith("h") else timedelta(minutes=1)
        # real hours, also in the night the clocks change
        soonest = (local.astimezone(UTC) + int(m["count"]) * length).astimezone(local.tzinfo)
        soonest = soonest.replace(second=0, microsecond=0)
        return Wanted(dates=(soonest.date(), soonest.date()), not_before=soonest.time())

    part = _read_day_part(plain)
    hint = _hint(plain)
    for m in _matches(_RANGE, plain):
        if window := _window(m, hint):
            return Wanted(not_before=window[0], not_after=window[1])

    after = _first_time(_AFTER, plain, hint)
    before = _first_time(_BEFORE, plain, hint)
    if after is not None and before is not None and after >= before:
        before = None  # "before 10 or after 4" is two windows: one of them is within the wish
    if after is not None or before is not None:
        return _narrowed(Wanted(not_before=after, not_after=before), part)
    if (about := _first_time(_AROUND, plain, hint)) is not None:
        earliest, latest = max(_minute(about) - AROUND, 0), _minute(about) + AROUND
        return Wanted(not_before=_time(earliest), not_after=_time(latest))
    if (exact := _exact(plain, hint)) is not None:
        return Wanted(exact=exact)
    return part


def _exact(plain: str, hint: str) -> time | None:
    *led, anywhere = _EXACT
    for pattern in led:
        if (found := _first_time(pattern, plain, hint)) is not None:
            return found
    for m in _matches(anywhere, plain):
        bare = not m["m"] and not m["half"]
        beside_a_day = plain[: m.start()].rstrip(" ,").endswith("~") or re.match(r" ?(?:on )?~", plain[m.end() :])
        alone = int(m["h"]) > 3 and not plain[: m.start()].strip() and _NOTHING_MORE.fullmatch(plain[m.end() :])
        if (not bare or alone or beside_a_day) and (found := _time_of(m, "", hint)) is not None:
            return found
    return None


def _first_time(pattern: re.Pattern[str], plain: str, hint: str) -> time | None:
    for m in _matches(pattern, plain):
        tag = "" if m["h"] else "2"
        if (found := _time_of(m, tag, hint)) is not None:
            return found
    return None


def _matches(pattern: re.Pattern[str], plain: str) -> Iterator[re.Match[str]]:
    return (m for m in pattern.finditer(plain) if not _disowned(plain, m.start(), m.end()))


def _time_of(m: re.Match[str], tag: str, hint: str) -> time | None:
    hour, minute, half = int(m[f"h{tag}"]), m[f"m{tag}"], m[f"half{tag}"]
    if minute is None and half is None and not _MAY_FOLLOW.match(m.string[m.end(f"h{tag}") :]):
        return None
    return _told(hour, int(minute or 0), half[0] if half else "", hint)


def _told(hour: int, minute: int, half: str, hint: str) -> time | None:
    """A clock as people mean it; `half` is a, p or empty, `hint` the part of the day named elsewhere."""
    if hour > 23 or (hour == 0 and not minute and not half):
        return None
    if hour > 12:
        return time(hour, minute)
    if not half and 1 <= hour <= 11:
        afternoon = hour <= 6 and not (hint == "morning" and hour >= 5)
        half = "p" if afternoon or (hint == "evening" and hour >= 5) else "a"
    if half == "a":
        hour %= 12
    elif half == "p" and hour < 12:
        hour += 12
    return time(hour, minute)


def _window(m: re.Match[str], hint: str) -> tuple[time, time] | None:
    """From one clock to another; a half of the day said once counts for both where that makes sense."""
    bare = not (m["m1"] or m["half1"] or m["m2"] or m["half2"])
    joint = m["joint"].strip()
    if not m["lead"] and joint in {"and", "y", "a"}:
        return None
    if bare and not _MAY_FOLLOW.match(m.string[m.end("h2") :]):
        return None
    said = m["half2"][0] if m["half2"] else ""
    end = _told(int(m["h2"]), int(m["m2"] or 0), said, hint)
    own = m["half1"][0] if m["half1"] else ""
    for half in (own,) if own else (said, ""):
        start = _told(int(m["h1"]), int(m["m1"] or 0), half, hint)
        if start is None or end is None:
            return None
        if start < end:
            return start, end
        if not said and end.hour < 12 and start < (evening := end.replace(hour=end.hour + 12)):
            return start, evening
    return None


def _hint(plain: str) -> str:
    if re.search(r"\b(?:evenings?|nights?|noche)\b", plain):
        return "evening"
    return "morning" if re.search(r"\bmornings?\b", plain) else ""


def _read_day_part(plain: str) -> Wanted:
    """Morning, afternoon, lunch; several together stretch from the first to the last."""
    found: list[tuple[time | None, time | None]] = []
    for pattern, earliest, latest in _DAY_PARTS:
        for m in _matches(pattern, plain):
            found.append((earliest, latest))
            plain = _blank(plain, m.start(), m.end(), "^")
    if not found:
        return Wanted()
    earliest = None if any(start is None for start, _ in found) else min(start for start, _ in found if start)
    latest = None if any(end is None for _, end in found) else max(end for _, end in found if end)
    return Wanted(not_before=earliest, not_after=latest)


def _narrowed(times: Wanted, part: Wanted) -> Wanted:
    """ "Tomorrow afternoon after 3": both count, unless together they leave nothing."""
    earliest = max((t for t in (times.not_before, part.not_before) if t is not None), default=None)
    latest = min((t for t in (times.not_after, part.not_after) if t is not None), default=None)
    if earliest is not None and latest is not None and earliest >= latest:
        return times
    return replace(times, not_before=earliest, not_after=latest)


def _minute(moment: time) -> int:
    return moment.hour * 60 + moment.minute


def _time(minute: int) -> time | None:
    """A minute of the day as a time; None at or past midnight, where a window needs no end."""
    return time(*divmod(minute, 60)) if minute < 1440 else None
