"""Phone numbers as people write them, as carriers send them, and as logs may show them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm import phones
from crm.phones import Phone, PhoneError

US_HELP = "Write it like (555) 123-4567 or +15551234567."


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("(602) 555-0123", "+16025550123"),
        ("602.555.0123", "+16025550123"),
        ("1 602 555 0123", "+16025550123"),
        ("+1 602 555 0123", "+16025550123"),
        ("+16025550123", "+16025550123"),
        ("tel:+1-602-555-0123", "+16025550123"),
        ("６０２５５５０１２３", "+16025550123"),
        ("\u202a+1 (602) 555\u20110123\u202c", "+16025550123"),
        ("602-555-0123 x12", "+16025550123"),
        ("(602) 555-0123 ext. 9", "+16025550123"),
        ("+16025550123;ext=5", "+16025550123"),
        ("602-555-0123 ext abc", "+16025550123"),
        ("6025550123 (cell)", "+16025550123"),
        ("602 555 0123 Bob", "+16025550123"),
        ("6025550123 call after 5", "+16025550123"),
        ("1-800-FLOWERS", "+18003569377"),
        ("011 44 20 7946 0018", "+442079460018"),
        ("+44 20 7946 0018", "+442079460018"),
    ],
)
def test_a_number_written_by_hand_becomes_e164_and_keeps_what_was_written(written, e164):
    phone = phones.parse(written, region="US")
    assert (phone.e164, phone.raw) == (e164, written)


def test_the_region_says_how_a_local_number_is_meant():
    assert phones.parse("020 7946 0018", region="GB").e164 == "+442079460018"
    assert phones.parse("020 7946 0018", region=" gb ").region == "GB"
    assert phones.parse("(416) 555-0123", region="US").region == "CA"


def test_a_possible_number_is_accepted_and_said_to_be_not_valid():
    assert phones.parse("+15551234567", region="US") == Phone(
        e164="+15551234567", raw="+15551234567", is_valid=False, region="US", line_type="unknown"
    )


def test_a_valid_number_comes_with_its_kind_of_line():
    assert phones.parse("+18005550123", region="US").line_type == "toll-free"
    assert phones.parse("+16025550123", region="US").line_type == "landline or mobile"
    assert phones.parse("+447400123456", region="US") == Phone(
        e164="+447400123456", raw="+447400123456", is_valid=True, region="GB", line_type="mobile"
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("12", f"Phone number: '12' is not a phone number we can reach. {US_HELP}"),
        ("911", f"Phone number: '911' is not a phone number we can reach. {US_HELP}"),
        ("Bob", f"Phone number: 'Bob' is not a phone number we can reach. {US_HELP}"),
        ("+160255501234", f"Phone number: '+160255501234' is not a phone number we can reach. {US_HELP}"),
        ("+999123456789", f"Phone number: '+999123456789' is not a phone number we can reach. {US_HELP}"),
        ("+1+16025550123", f"Phone number: '+1+16025550123' is not a phone number we can reach. {US_HELP}"),
        (
            "+491234",
            f"Phone number: '+491234' is not a phone number we can reach. {US_HELP}",
        ),  # possible inside Germany
        ("555-0123", f"Phone number: '555-0123' has no area code. {US_HELP}"),
        ("", f"Phone number: nothing is written here. {US_HELP}"),
        (" \t", f"Phone number: nothing is written here. {US_HELP}"),
        ("x" * 40, f"Phone number: '{'x' * 27}...' is not a phone number we can reach. {US_HELP}"),
        ("5" * 10_000, f"Phone number: this is too long to be one. {US_HELP}"),
        ("602\x005550123", f"Phone number: a character in it cannot be kept. {US_HELP}"),
        ("+16025550123\x00", f"Phone number: a character in it cannot be kept. {US_HELP}"),
        ("+1602555012\ud83d", f"Phone number: a character in it cannot be kept. {US_HELP}"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_a_way_out(written, message):
    with pytest.raises(PhoneError) as refusal:
        phones.parse(written, region="US")
    assert str(refusal.value) == message


def test_the_way_out_is_written_as_the_region_writes_numbers():
    with pytest.raises(PhoneError, match=r"Write it like 0121 234 5678 or \+441212345678\.$"):
        phones.parse("12", region="GB")
    with pytest.raises(PhoneError, match=r"Write it with its country code, like \+15551234567\.$"):
        phones.parse("602 555 0123", region="")


def e164_or_sentence(written: str, region: str) -> str:
    try:
        return phones.parse(written, region=region).e164
    except PhoneError as refusal:
        return str(refusal)


@settings(deadline=None)
@given(
    st.one_of(st.text(max_size=80), st.text("+0123456789 ()-.xé", max_size=20)),
    st.sampled_from(["US", "GB", "DE", "MX", "", "??"]),
)
def test_whatever_is_written_is_either_e164_or_a_sentence(written, region):
    said = e164_or_sentence(written, region)
    if said.startswith("+"):
        assert phones.is_e164(said)
        assert e164_or_sentence(said, region) == said
    else:
        assert said.startswith("Phone number: ")
        assert said.isprintable()


@settings(deadline=None)
@given(st.integers(min_value=2_000_000_000, max_value=9_999_999_999))
def test_the_short_way_for_carriers_numbers_agrees_with_the_library(national):
    number = phonenumbers.parse(f"+1{national}", None)
    phone = phones.parse(f"+1{national}", region="GB")
    assert phone.e164 == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert phone.is_valid == phonenumbers.is_valid_number(number)
    assert phone.region == (phonenumbers.region_code_for_number(number) or "US")


def test_e164_is_recognised_strictly():
    assert phones.is_e164("+15551234567")
    for other in [
        "15551234567",
        "+0551234567",
        "+1555",
        "+1555123456789012",
        "+1 5551234567",
        "+15551234567\n",
        "+1-1",
        "",
    ]:
        assert not phones.is_e164(other)


@pytest.mark.parametrize("sender", ["88202", "611", "AMZN", "Ace HVAC", "BANK-24", "2FA"])
def test_short_codes_and_names_are_senders_nobody_can_call(sender):
    assert phones.is_short_code(sender)


@pytest.mark.parametrize(
    "sender", ["+15551234567", "5551234567", "12", "", "A name that is long", "whatsapp:+1555", "٣٤٥٦٧"]
)
def test_numbers_and_other_texts_are_not_short_codes(sender):
    assert not phones.is_short_code(sender)


def test_numbers_are_shown_the_way_the_reader_writes_them():
    assert phones.pretty("+15551234567") == "(555) 123-4567"
    assert phones.pretty("+14165550123") == "(416) 555-0123"
    assert phones.pretty("+442079460018") == "+44 20 7946 0018"
    assert phones.pretty("+442079460018", region="GB") == "020 7946 0018"
    assert phones.pretty("88202") == "88202"
    assert phones.pretty("") == ""


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        ("+15551234567", "+1******4567"),
        ("+442079460018", "+44******0018"),
        ("+35312345678", "+353****5678"),
        ("+2901234", "+290**34"),
        ("Ann, 602 555 0123", "****"),
        ("", "****"),
    ],
)
def test_logs_show_only_the_end_of_a_number(value, logged):
    assert phones.redact(value) == logged


@pytest.mark.parametrize(
    ("e164", "zones"),
    [
        ("+16025550123", {"America/Phoenix"}),
        ("+18085550123", {"Pacific/Honolulu"}),
        ("+19155550123", {"America/Denver"}),  # El Paso, Texas
        ("+19075550123", {"America/Adak", "America/Anchorage"}),
        ("+18765550123", {"America/Jamaica"}),
        ("+442079460018", {"Europe/London"}),
        ("+16215550123", {"America/Chicago"}),  # Houston since 2025, unknown to the data
        ("+17295550123", {"America/New_York", "America/Chicago"}),
    ],
)
def test_a_number_says_which_zones_it_may_be_in(e164, zones):
    assert phones.zones(e164) == zones


@pytest.mark.parametrize(
    "e164",
    [
        "+15551234567",
        "+18005550123",
        "+19005550123",
        "+15005550006",
        "+448001234567",
        "+80012345678",
        "+1621",
        "AMZN",
        "",
    ],
)
def test_a_number_without_a_place_has_no_zones(e164):
    assert phones.zones(e164) == frozenset()


def test_an_area_code_the_zone_data_has_not_heard_of_is_not_everywhere_at_once(monkeypatch):
    everywhere = phones.time_zones_for_geographical_number(phonenumbers.parse("+18005550100", None))
    phones.zones.cache_clear()
    monkeypatch.setattr(phones, "time_zones_for_geographical_number", lambda number: everywhere)
    found = phones.zones("+16025550199")
    phones.zones.cache_clear()
    assert len(everywhere) > 40
    assert found == frozenset()
