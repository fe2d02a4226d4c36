"""Which service a customer means."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking.catalogue import ServiceEntry, exact, match

AC = ServiceEntry(UUID(int=1), "AC Repair", ("AC", "air conditioning", "air conditioner", "aire acondicionado"))
PLUMBING = ServiceEntry(UUID(int=2), "Plumbing", ("plumber", "leak", "drain"))
ELECTRICAL = ServiceEntry(UUID(int=3), "Electrical", ("electrician", "outlet"))
HVAC = ServiceEntry(UUID(int=4), "HVAC", ("heating",))
INSTALLATION = ServiceEntry(UUID(int=5), "Installation", ("install", "instalación"))
HEATER = ServiceEntry(UUID(int=6), "Water Heater", ("hot water",))
TANKLESS = ServiceEntry(UUID(int=7), "Tankless Water Heater")
LIST = (AC, PLUMBING, ELECTRICAL, HVAC, INSTALLATION, HEATER, TANKLESS)


def names(text: str) -> list[str]:
    return [found.service.name for found in match(text, LIST)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("need ac repair asap", ["AC Repair"]),
        ("AC REPAIR", ["AC Repair"]),
        ("ac repairs?", ["AC Repair"]),
        ("my AC died", ["AC Repair"]),
        ("AC!", ["AC Repair"]),
        ("a/c not cooling", ["AC Repair"]),
        ("A.C. is leaking air", ["AC Repair"]),
        ("the ac's broken", ["AC Repair"]),
        ("air conditioning", ["AC Repair"]),
        ("Air-Conditioning is out", ["AC Repair"]),
        ("two air conditioners", ["AC Repair"]),
        ("mi aire acondicionado no enfría", ["AC Repair"]),
        ("plumbing leak asap", ["Plumbing"]),
        ("there are leaks everywhere", ["Plumbing"]),
        ("need an electrician", ["Electrical"]),
        ("hvac tune-up", ["HVAC"]),
        ("H.V.A.C. check", ["HVAC"]),
        ("la instalacion de ayer", ["Installation"]),
        ("LA INSTALACIÓN", ["Installation"]),
        ("water heaters", ["Water Heater"]),
        ("tankless water heater broke", ["Tankless Water Heater"]),
        ("ac repair by the hvac people", ["AC Repair"]),
        ("the outlet near the drain of my ac repair job", ["AC Repair"]),
    ],
)
def test_a_text_names_a_service(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello there",
        "vacuum cleaner",
        "please contact me",
        "my account number",
        "back yard",
        "acrobat",
        "a c",
        "air is conditioning my mood",
        "conditioning air",
        "electric car",
        "plum",
        "water the heater",
        "🔥🔥🔥",
    ],
)
def test_letters_inside_other_words_name_nothing(text: str) -> None:
    assert names(text) == []


def test_hvac_is_not_ac_repair() -> None:
    assert match("hvac", (AC,)) == []
    assert exact("hvac", (AC,)) is None


def test_two_services_named_equally_well_are_both_returned_so_we_can_ask() -> None:
    assert names("plumbing and electrical work") == ["Plumbing", "Electrical"]
    assert names("electrical, then plumbing") == ["Plumbing", "Electrical"]
    assert names("a plumber or an electrician") == ["Plumbing", "Electrical"]


def test_a_shared_alias_returns_both_services() -> None:
    repair = ServiceEntry(UUID(int=8), "Furnace Repair", ("furnace",))
    check = ServiceEntry(UUID(int=9), "Furnace Check", ("furnace",))
    assert [found.service for found in match("my furnace is cold", (repair, check))] == [repair, check]
    assert [found.service for found in match("a furnace check please", (repair, check))] == [check]


def test_of_two_phrases_as_long_the_name_beats_the_alias() -> None:
    assert names("heating and plumbing") == ["Plumbing"]
    cooling = ServiceEntry(UUID(int=8), "Cooling", ("plumbing",))
    assert [found.service for found in match("plumbing", (cooling, PLUMBING))] == [PLUMBING]


def test_a_longer_alias_beats_a_shorter_name() -> None:
    assert names("plumbing for my hot water") == ["Water Heater"]


def test_a_match_says_what_found_it() -> None:
    (found,) = match("MY A/C DIED", LIST)
    assert (found.service, found.phrase, found.strength) == (AC, "AC", (1, False))


def test_a_service_is_returned_once_by_its_strongest_phrase() -> None:
    (found,) = match("ac repair for the ac, the air conditioning", LIST)
    assert (found.phrase, found.strength) == ("AC Repair", (2, True))


def test_the_end_of_a_word_in_double_s_is_no_plural() -> None:
    glass = ServiceEntry(UUID(int=8), "Glass")
    assert [found.service for found in match("broken glass", (glass,))] == [glass]
    assert match("glas", (glass,)) == []
    gas = ServiceEntry(UUID(int=9), "Gas")
    assert match("ga", (gas,)) == []


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("AC Repair", AC),
        ("ac repair", AC),
        ("  Ac   REPAIR ", AC),
        ("acrepair", AC),
        ("A/C repair", AC),
        ("ac", AC),
        ("Air Conditioning", AC),
        ("plumbing", PLUMBING),
        ("installation", INSTALLATION),
        ("Instalación", INSTALLATION),
        ("HVAC", HVAC),
        ("need ac repair asap", None),
        ("general_plumbing", None),
        ("repair", None),
        ("", None),
        (" - ", None),
    ],
)
def test_a_field_names_a_service_by_its_whole_name_or_alias(text: str, service: ServiceEntry | None) -> None:
    assert exact(text, LIST) == service


def test_a_service_that_is_not_in_the_list_is_not_known() -> None:
    assert exact("installation", (AC, PLUMBING)) is None
    assert match("installation", (AC, PLUMBING)) == []
    assert exact("AC Repair", ()) is None


def test_a_field_with_an_alias_of_two_services_is_not_decided() -> None:
    other = ServiceEntry(UUID(int=8), "Drain Cleaning", ("drain",))
    assert exact("drain", (PLUMBING, other)) is None
    assert exact("drain cleaning", (PLUMBING, other)) == other


def test_a_name_decides_a_field_that_is_also_someone_elses_alias() -> None:
    cooling = ServiceEntry(UUID(int=8), "Cooling", ("plumbing",))
    assert exact("Plumbing", (cooling, PLUMBING)) == PLUMBING


def test_an_alias_of_punctuation_only_matches_nothing() -> None:
    odd = ServiceEntry(UUID(int=8), "Odd Jobs", ("", "--"))
    assert match("anything -- at all", (odd,)) == []
    assert exact("--", (odd,)) is None


@given(st.text(max_size=80), st.sampled_from(LIST), st.text(max_size=80))
def test_a_name_standing_between_other_words_is_found_or_outdone(
    before: str, service: ServiceEntry, after: str
) -> None:
    found = match(f"{before} , {service.name} , {after}", LIST)
    strengths = {one.strength for one in found}
    assert len(strengths) == 1
    assert strengths.pop() >= (len(service.name.split()), True)
    assert len({one.service.id for one in found}) == len(found)


@given(st.sampled_from(LIST), st.sampled_from(" \t-_/"))
def test_a_name_is_recognised_however_it_is_cased_and_spaced(service: ServiceEntry, gap: str) -> None:
    for written in (service.name.upper(), service.name.lower(), gap + service.name.replace(" ", gap) + gap):
        assert exact(written, LIST) == service
