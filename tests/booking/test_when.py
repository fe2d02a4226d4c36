"""A person's words for a time. The present is Friday, November 20, 2026, 10:00 in New York."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booking.when import Wanted, read_when

NEW_YORK = "America/New_York"
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
FRI, SAT, SUN, MON, TUE, WED, THU = (date(2026, 11, 20) + timedelta(days=n) for n in range(7))
WEEK = timedelta(days=7)


def read(text: str, now: datetime = NOW, zone: str = NEW_YORK) -> Wanted | None:
    return read_when(text, now=now, zone=zone)


def on(
    first: date | None = None,
    last: date | None = None,
    *,
    after: str = "",
    before: str = "",
    exactly: str = "",
) -> Wanted:
    """What is wished, without the words it was said in."""
    return Wanted(
        dates=(first, last or first) if first else None,
        not_before=time.fromisoformat(after) if after else None,
        not_after=time.fromisoformat(before) if before else None,
        exact=time.fromisoformat(exactly) if exactly else None,
    )


DAYS = [
    ("today", on(FRI)),
    ("Today please!", on(FRI)),
    ("later today", on(FRI)),
    ("tomorrow", on(SAT)),
    ("tmrw", on(SAT)),
    ("tomorow", on(SAT)),
    ("tommorrow works", on(SAT)),
    ("tomorrow's fine", on(SAT)),
    ("day after tomorrow", on(SUN)),
    ("the day after tomorrow", on(SUN)),
    ("today or tomorrow", on(FRI, SAT)),
    ("tues", on(TUE)),
    ("Tuesday", on(TUE)),
    ("thurs", on(THU)),
    ("on wed", on(WED)),
    ("sat", on(SAT)),
    ("how about wed", on(WED)),
    ("what do you have on tuesday?", on(TUE)),
    ("yes tuesday works", on(TUE)),
    ("no tuesday is better", on(TUE)),
    ("no, tuesday", on(TUE)),
    ("what about thursday instead", on(THU)),
    ("next tuesday", on(TUE)),
    ("next friday", on(FRI + WEEK)),
    ("next sunday", on(SUN + WEEK)),
    ("tuesday next week", on(TUE)),
    ("saturday next week", on(SAT + WEEK)),
    ("next week, thursday or friday", on(THU, FRI + WEEK)),
    ("this fri", on(FRI)),
    ("this coming tuesday", on(TUE)),
    ("mondays work best", on(MON)),
    ("a week from tuesday", on(TUE + WEEK)),
    ("a week from today", on(FRI + WEEK)),
    ("next week", on(MON, SUN + WEEK)),
    ("early next week", on(MON, WED)),
    ("this week", on(FRI, SUN)),
    ("end of the week", on(FRI)),
    ("weekend", on(SAT, SUN)),
    ("this weekend", on(SAT, SUN)),
    ("next weekend", on(SAT + WEEK, SUN + WEEK)),
    ("this weekend, sunday", on(SUN)),
    ("next month", on(date(2026, 12, 1), date(2026, 12, 31))),
    ("tuesday or wednesday", on(TUE, WED)),
    ("mon, tues or wed", on(MON, WED)),
    ("monday or friday", on(MON)),
    ("mon-wed", on(MON, WED)),
    ("from tuesday to thursday", on(TUE, THU)),
    ("between monday and wednesday", on(MON, WED)),
    ("friday through monday", on(FRI, MON)),
    ("by tuesday", on(FRI, TUE)),
    ("before tuesday", on(FRI, MON)),
    ("before friday", on(FRI, THU)),
    ("after tuesday", on(WED, TUE + timedelta(days=13))),
    ("starting monday", on(MON, MON + timedelta(days=13))),
    ("can't until tuesday", on(TUE, TUE + timedelta(days=13))),
    ("in 3 days", on(MON)),
    ("in two weeks", on(FRI + 2 * WEEK)),
    ("2 weeks from now", on(FRI + 2 * WEEK)),
    ("nov 24", on(TUE)),
    ("November 24th", on(TUE)),
    ("24 nov", on(TUE)),
    ("the 24th of november", on(TUE)),
    ("nov 24-26", on(TUE, THU)),
    ("between nov 24 and nov 26", on(TUE, THU)),
    ("tuesday nov 24", on(TUE)),
    ("tuesday the 24th", on(TUE)),
    ("tuesday 24", on(TUE)),
    ("24th", on(TUE)),
    ("the 5th", on(date(2026, 12, 5))),
    ("the 31st", on(date(2026, 12, 31))),
    ("after the 24th", on(WED, TUE + timedelta(days=13))),
    ("11/24", on(TUE)),
    ("11/24/26", on(TUE)),
    ("11/24/2026", on(TUE)),
    ("24/11", on(TUE)),
    ("2026-11-24", on(TUE)),
    ("Dec 3, 2026", on(date(2026, 12, 3))),
    ("jan 5", on(date(2027, 1, 5))),
    ("nov 19", on(date(2026, 11, 19))),
    ("may 3", on(date(2027, 5, 3))),
    ("feb 29 2028", on(date(2028, 2, 29))),
]

TIMES = [
    ("3pm", on(exactly="15:00")),
    ("3 PM", on(exactly="15:00")),
    ("3 p.m.", on(exactly="15:00")),
    ("3p", on(exactly="15:00")),
    ("330pm", on(exactly="15:30")),
    ("at 1030am", on(exactly="10:30")),
    ("at 3:30", on(exactly="15:30")),
    ("@3", on(exactly="15:00")),
    ("at 3 please", on(exactly="15:00")),
    ("can you do 3?", on(exactly="15:00")),
    ("how about 3", on(exactly="15:00")),
    ("at three", on(exactly="15:00")),
    ("half past 3", on(exactly="15:30")),
    ("quarter to 4 pm", on(exactly="15:45")),
    ("three thirty pm", on(exactly="15:30")),
    ("3 o'clock", on(exactly="15:00")),
    ("15:00", on(exactly="15:00")),
    ("10", on(exactly="10:00")),
    ("10 works", on(exactly="10:00")),
    ("7:30", on(exactly="07:30")),
    ("6:30", on(exactly="18:30")),
    ("at 11", on(exactly="11:00")),
    ("at 12", on(exactly="12:00")),
    ("noon", on(exactly="12:00")),
    ("12am", on(exactly="00:00")),
    ("12:30am", on(exactly="00:30")),
    ("3 in the afternoon", on(exactly="15:00")),
    ("8 in the evening", on(exactly="20:00")),
    ("5 in the morning", on(exactly="05:00")),
    ("after 3", on(after="15:00")),
    ("anytime after 3", on(after="15:00")),
    ("3 or later", on(after="15:00")),
    ("after 5pm on weekdays", on(after="17:00")),
    ("not before 10", on(after="10:00")),
    ("no earlier than 10", on(after="10:00")),
    ("busy until 3", on(after="15:00")),
    ("i work until 5", on(after="17:00")),
    ("before noon", on(before="12:00")),
    ("before 9", on(before="09:00")),
    ("b4 noon", on(before="12:00")),
    ("by 4", on(before="16:00")),
    ("until 6", on(before="18:00")),
    ("no later than 4pm", on(before="16:00")),
    ("5pm or earlier", on(before="17:00")),
    ("after 2 and before 5", on(after="14:00", before="17:00")),
    ("before 10 or after 4", on(after="16:00")),
    ("between 2 and 4", on(after="14:00", before="16:00")),
    ("from 8 to 10", on(after="08:00", before="10:00")),
    ("2-4pm", on(after="14:00", before="16:00")),
    ("10-2", on(after="10:00", before="14:00")),
    ("9 - 5", on(after="09:00", before="17:00")),
    ("11-1pm", on(after="11:00", before="13:00")),
    ("between 9 and 11am", on(after="09:00", before="11:00")),
    ("10am-2", on(after="10:00", before="14:00")),
    ("5-7", on(after="17:00", before="19:00")),
    ("9pm-11", on(after="21:00", before="23:00")),
    ("between 10 and noon", on(after="10:00", before="12:00")),
    ("around 10", on(after="09:00", before="11:00")),
    ("about 2", on(after="13:00", before="15:00")),
    ("3ish", on(after="14:00", before="16:00")),
    ("around noon", on(after="11:00", before="13:00")),
    ("morning", on(after="06:00", before="12:00")),
    ("mornings are best", on(after="06:00", before="12:00")),
    ("first thing", on(after="06:00", before="12:00")),
    ("afternoon", on(after="12:00", before="17:00")),
    ("early afternoon", on(after="12:00", before="15:00")),
    ("late afternoon", on(after="15:00", before="18:00")),
    ("evening", on(after="17:00")),
    ("morning or afternoon", on(after="06:00", before="17:00")),
    ("lunch", on(after="12:00", before="14:00")),
    ("before lunch", on(before="12:00")),
    ("after lunch", on(after="13:00")),
    ("after work", on(after="17:00")),
]

BOTH = [
    ("tonight", on(FRI, after="17:00")),
    ("tonight at 8", on(FRI, exactly="20:00")),
    ("8 tonight", on(FRI, exactly="20:00")),
    ("this afternoon", on(FRI, after="12:00", before="17:00")),
    ("today at 8am", on(FRI, exactly="08:00")),
    ("tomorrow morning", on(SAT, after="06:00", before="12:00")),
    ("first thing tomorrow", on(SAT, after="06:00", before="12:00")),
    ("tomorrow at 3", on(SAT, exactly="15:00")),
    ("tomorrow 3", on(SAT, exactly="15:00")),
    ("3 tomorrow", on(SAT, exactly="15:00")),
    ("tomorrow at 7", on(SAT, exactly="07:00")),
    ("tomorrow evening at 7", on(SAT, exactly="19:00")),
    ("tomorrow morning at 6", on(SAT, exactly="06:00")),
    ("tomorrow afternoon after 3", on(SAT, after="15:00", before="17:00")),
    ("tomorrow morning or after 3", on(SAT, after="15:00")),
    ("tues after 3", on(TUE, after="15:00")),
    ("tues 3", on(TUE, exactly="15:00")),
    ("tue, 2p", on(TUE, exactly="14:00")),
    ("tuesday at 10:15", on(TUE, exactly="10:15")),
    ("at 3 on tuesday", on(TUE, exactly="15:00")),
    ("tuesday am", on(TUE, after="06:00", before="12:00")),
    ("wednesday 11/25 between 1-3", on(WED, after="13:00", before="15:00")),
    ("nov 24 3pm", on(TUE, exactly="15:00")),
    ("nov 24 in the morning", on(TUE, after="06:00", before="12:00")),
    ("Tue Nov 24, 7:00-8:00 AM", on(TUE, after="07:00", before="08:00")),
    ("the 24th at 3", on(TUE, exactly="15:00")),
    ("today asap", on(FRI)),
    ("in 2 hours", on(FRI, after="12:00")),
    ("in an hour", on(FRI, after="11:00")),
    ("in 30 minutes", on(FRI, after="10:30")),
    ("my ac is not working can you come tomorrow at 3", on(SAT, exactly="15:00")),
    ("i have 2 units and need service tomorrow at 9", on(SAT, exactly="09:00")),
    ("it broke this morning, can you come today", on(FRI)),
    ("can't do tuesday, wednesday after 2 works", on(WED, after="14:00")),
    ("tuesday no, wednesday yes", on(WED)),
    ("tomorrow not today", on(SAT)),
    ("good morning, can you come tuesday?", on(TUE)),
    ("happy friday! monday at 9?", on(MON, exactly="09:00")),
    ("move my tuesday appointment to thursday", on(THU)),
    ("reschedule to tuesday 2 to 4", on(TUE, after="14:00", before="16:00")),
    ("need to change my 3pm to 4pm", on(exactly="16:00")),
    ("why don't we do tuesday", on(TUE)),
]

SPANISH = [
    ("hoy", on(FRI)),
    ("hoy a las 4", on(FRI, exactly="16:00")),
    ("mañana", on(SAT)),
    ("MAÑANA", on(SAT)),
    ("manana", on(SAT)),
    ("mañana por la tarde", on(SAT, after="12:00", before="17:00")),
    ("mañana por la mañana", on(SAT, after="06:00", before="12:00")),
    ("en la mañana", on(after="06:00", before="12:00")),
    ("mañana a las 10", on(SAT, exactly="10:00")),
    ("mañana a las 8 de la noche", on(SAT, exactly="20:00")),
    ("pasado mañana a las 10", on(SUN, exactly="10:00")),
    ("esta tarde", on(FRI, after="12:00", before="17:00")),
    ("esta noche", on(FRI, after="17:00")),
    ("el martes", on(TUE)),
    ("el próximo viernes", on(FRI + WEEK)),
    ("el viernes que viene", on(FRI + WEEK)),
    ("sábado por la mañana", on(SAT, after="06:00", before="12:00")),
    ("miércoles a la una", on(WED, exactly="13:00")),
    ("el lunes o el martes", on(MON, TUE)),
    ("de lunes a miércoles", on(MON, WED)),
    ("la próxima semana", on(MON, SUN + WEEK)),
    ("la semana que viene", on(MON, SUN + WEEK)),
    ("el fin de semana", on(SAT, SUN)),
    ("el 24 de noviembre a las 15:00", on(TUE, exactly="15:00")),
    ("mar 24 nov", on(TUE)),
    ("el 24", on(TUE)),
    ("a las 3", on(exactly="15:00")),
    ("a las 3 y media", on(exactly="15:30")),
    ("a las cuatro menos cuarto", on(exactly="15:45")),
    ("a las 3 de la tarde", on(exactly="15:00")),
    ("después de las 3", on(after="15:00")),
    ("antes de las 12", on(before="12:00")),
    ("antes del mediodía", on(before="12:00")),
    ("al mediodía", on(exactly="12:00")),
    ("entre las 2 y las 4", on(after="14:00", before="16:00")),
    ("de 2 a 4", on(after="14:00", before="16:00")),
    ("como a las 10", on(after="09:00", before="11:00")),
    ("buenos días, ¿puede venir el martes?", on(TUE)),
    ("ocupado hasta las 3", on(after="15:00")),
]

NOTHING = [
    "",
    "   ",
    "yes",
    "no",
    "hello",
    "1",
    "2.",
    " 3 ",
    "3 works",
    "#2",
    "option 3",
    "2 please",
    "I know",
    "not now",
    "my 2 units",
    "i need 3 outlets",
    "I need 2 to 3 units",
    "it takes 2 to 3 hours",
    "2-4 days",
    "3 bedrooms 2 baths",
    "unit 4",
    "ac 3 ton",
    "the 2nd floor is leaking",
    "the 1st one",
    "1/2 inch pipe",
    "at 12 Oak St",
    "my address is 123 Main St",
    "at 5 people",
    "call 555-0100",
    "my number is 555 123 4567",
    "$50 off?",
    "100% sure",
    "24/7",
    "2/30",
    "13/13",
    "feb 30",
    "25:00",
    "99",
    "once a week",
    "good morning",
    "have a great weekend!",
    "happy friday",
    "see you tuesday at 3",
    "hasta mañana",
    "not tuesday",
    "can't today",
    "tuesday doesn't work",
    "mornings don't work",
    "el domingo no puedo",
    "nothing on sunday",
    "I'm busy tuesday",
    "next week is no good",
    "stopped working tuesday",
    "broken since yesterday",
    "leaking since 3pm",
    "it died last night",
    "no funciona desde el lunes",
    "2 days ago",
    "it leaks every night",
    "too much sun on my skin",
    "sun damage treatment",
    "we sat there and waited",
    "just wed my wife",
    "you may be right",
    "friday 26",
    "🔥",
]

EARLIEST = [
    "asap",
    "ASAP!!!",
    "a.s.a.p.",
    "need ac repair asap",
    "as soon as possible",
    "as soon as you can",
    "now",
    "right now please",
    "what's the earliest you have?",
    "first available",
    "next opening",
    "anytime",
    "any time works",
    "whenever",
    "at once",
    "lo antes posible",
    "cuanto antes",
    "ahora mismo",
    "cualquier día",
]


@pytest.mark.parametrize(("text", "wanted"), DAYS + TIMES + BOTH + SPANISH)
def test_words_become_a_wish(text: str, wanted: Wanted) -> None:
    found = read(text)
    assert found is not None
    assert (found.dates, found.not_before, found.not_after, found.exact) == (
        wanted.dates,
        wanted.not_before,
        wanted.not_after,
        wanted.exact,
    )
    assert found.words == text


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_a_time_they_can_is_no_wish(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("text", EARLIEST)
def test_as_soon_as_possible_is_a_wish_for_the_earliest(text: str) -> None:
    assert read(text) == Wanted(words="asap")


TUESDAY_AT_TWO = datetime(2026, 11, 24, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("tuesday", TUE),
        ("tuesday at 3", TUE),
        ("tuesday at 2", TUE + WEEK),
        ("tuesday at 10", TUE + WEEK),
        ("tuesday after 3", TUE),
        ("tuesday after 1", TUE),
        ("tuesday before noon", TUE + WEEK),
        ("tuesday morning", TUE + WEEK),
        ("tuesday afternoon", TUE),
        ("this tuesday evening", TUE),
        ("next tuesday", TUE + WEEK),
        ("today at 10", TUE),
    ],
)
def test_tuesday_said_on_a_tuesday_afternoon_is_today_while_its_time_is_ahead(text: str, day: date) -> None:
    found = read(text, now=TUESDAY_AT_TWO)
    assert found is not None
    assert found.dates == (day, day)


def test_tuesday_said_when_the_day_is_over_is_next_weeks() -> None:
    five = TUESDAY_AT_TWO + timedelta(hours=3)
    for text, day in (("tuesday", TUE + WEEK), ("tuesday evening", TUE), ("tuesday at 7pm", TUE), ("today", TUE)):
        found = read(text, now=five)
        assert found is not None
        assert (text, found.dates) == (text, (day, day))


def test_today_is_told_by_the_clock_of_the_business() -> None:
    late = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)  # still Friday in New York, Saturday afternoon in Tokyo
    for zone, today in ((NEW_YORK, FRI), ("Asia/Tokyo", SAT)):
        found = read("today", now=late, zone=zone)
        assert found is not None
        assert found.dates == (today, today)


def test_in_a_few_hours_may_be_tomorrow() -> None:
    late = datetime(2026, 11, 21, 3, 30, 20, tzinfo=UTC)
    assert read("in 2 hours", now=late) == Wanted(dates=(SAT, SAT), not_before=time(0, 30), words="in 2 hours")


def test_in_a_few_hours_means_real_hours_in_the_night_the_clocks_change() -> None:
    half_past_one = datetime(2027, 3, 14, 6, 30, tzinfo=UTC)
    sunday = date(2027, 3, 14)
    assert read("in 2 hours", now=half_past_one) == Wanted(
        dates=(sunday, sunday), not_before=time(4, 30), words="in 2 hours"
    )


def test_on_a_weekend_the_weekend_is_what_is_left_of_it() -> None:
    sunday = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    for text, days in (("this weekend", (SUN, SUN)), ("next week", (MON, SUN + WEEK)), ("next tuesday", (TUE, TUE))):
        found = read(text, now=sunday)
        assert found is not None
        assert found.dates == days


def test_the_words_are_kept_as_written_in_one_line() -> None:
    assert read("  Tues\n after   3 ") == Wanted(dates=(TUE, TUE), not_before=time(15), words="Tues after 3")


def test_a_present_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Reading a time needs an aware present\.$"):
        read("today", now=NOW.replace(tzinfo=None))


def test_a_wish_that_cannot_be_met_is_loosened_step_by_step() -> None:
    exact = Wanted(dates=(TUE, TUE), exact=time(15), words="tues 3")
    near = exact.loosened()
    assert near == Wanted(dates=(TUE, TUE), not_before=time(13), not_after=time(17), words="tues 3")
    any_time = near.loosened()
    assert any_time == Wanted(dates=(TUE, TUE), words="tues 3")
    assert any_time.loosened() is None
    assert Wanted(exact=time(1)).loosened() == Wanted(not_before=time(0), not_after=time(3))
    assert Wanted(exact=time(23)).loosened() == Wanted(not_before=time(21))
    assert Wanted(not_before=time(15)).loosened() is None
    assert Wanted(words="asap").loosened() is None


SAID = (
    "today", "tonight", "tomorrow", "tues", "next", "this", "fri", "weekend", "week", "month", "days", "hour",
    "nov 24", "11/24", "24th", "feb", "30", "31", "1/2", "3", "13", "99", "0", "3pm", "12am", "am", "pm", "ish", "3:30",
    "00:30", "2-4", "10", "at", "after", "before", "between 2 and", "around", "by", "until", "to", "or", "-", ",", ".",
    "in 2", "ago", "from", "not", "can't", "move", "noon", "morning", "evening", "lunch", "asap", "now", "sun", "may",
    "mañana", "por la tarde", "el martes", "después de las", "una", "+", "~", "^", "@",
)  # fmt: skip


@settings(deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from(SAID), max_size=9).map(" ".join)),
    st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
def test_whatever_is_written_a_wish_is_always_in_order(text: str, now: datetime) -> None:
    found = read(text, now=now)
    if found is None:
        return
    if found.dates:
        assert found.dates[0] <= found.dates[1]
    if found.not_before is not None and found.not_after is not None:
        assert found.not_before < found.not_after
    if found.exact is not None:
        assert (found.not_before, found.not_after) == (None, None)
    if not found.dates and not found.has_time:
        assert found == Wanted(words="asap")
