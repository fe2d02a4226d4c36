"""The ledger: whose word holds, and that no line is ever rewritten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from crm import consent
from crm.enums import Channel, ConsentScope, ConsentSource
from crm.models import Business, Consent
from crm.scoping import every_business
from crm.services import record_opt_out, remember_customer

PHONE = "+15551234567"


@pytest.fixture(autouse=True)
def _every_business():
    with every_business():
        yield


def agree(business: Business, now, **more) -> Consent:
    return consent.grant(business=business, phone=PHONE, source=ConsentSource.INTAKE, words="", now=now, **more)


def stop(business: Business, now, **more) -> Consent:
    return consent.revoke(business=business, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now, **more)


def opted_out(business: Business, phone: str = PHONE) -> bool | None:
    line = consent.standing(business=business, phone=phone)
    return None if line is None else consent.is_opted_out(line)


def test_a_ledger_without_a_line_says_nothing(cast):
    assert opted_out(cast.shop) is None
    assert consent.is_opted_out(None) is False


def test_the_newest_line_holds(cast, now):
    agree(cast.shop, now)
    stop(cast.shop, now + timedelta(days=1))
    assert opted_out(cast.shop) is True

    agree(cast.shop, now + timedelta(days=2))

    assert opted_out(cast.shop) is False
    assert Consent.objects.count() == 3


def test_of_two_lines_at_the_same_moment_the_later_written_one_holds(cast, now):
    agree(cast.shop, now)
    stop(cast.shop, now)

    assert opted_out(cast.shop) is True


def test_an_opt_out_holds_even_when_the_clock_of_the_line_before_was_ahead(cast, now):
    """Two machines never agree to the second on what time it is; a stop must not lose to that."""
    agree(cast.shop, now + timedelta(seconds=2))

    line = stop(cast.shop, now)

    assert opted_out(cast.shop) is True
    assert line.at == now + timedelta(seconds=2, microseconds=1)


def test_a_request_never_overrides_an_opt_out(cast, now):
    stop(cast.shop, now)

    line = consent.grant_if_silent(
        business=cast.shop, phone=PHONE, source=ConsentSource.INTAKE, words="call me", now=now + timedelta(days=30)
    )

    assert (line.action, opted_out(cast.shop), Consent.objects.count()) == ("revoke", True, 1)


def test_a_request_does_not_repeat_a_consent_that_is_there(cast, now):
    first = agree(cast.shop, now)

    again = consent.grant_if_silent(business=cast.shop, phone=PHONE, source=ConsentSource.INTAKE, words="", now=now)

    assert (again, Consent.objects.count()) == (first, 1)


def test_every_opt_out_is_a_proof_of_its_own(cast, now):
    stop(cast.shop, now)
    stop(cast.shop, now + timedelta(minutes=1))

    assert Consent.objects.count() == 2


def test_a_number_nobody_knows_is_remembered(cast, now):
    consent.revoke(business=cast.shop, phone="+15557654321", source=ConsentSource.TEXT, words="stop", now=now)

    assert opted_out(cast.shop, "+15557654321") is True


def test_alices_ledger_is_not_charlies(cast, now):
    stop(cast.shop, now)

    assert opted_out(cast.next_door) is None


def test_each_channel_is_its_own(cast, now):
    stop(cast.shop, now)

    assert consent.standing(business=cast.shop, phone=PHONE, channel=Channel.PHONE) is None


def test_a_line_keeps_who_said_what_where(cast, now):
    line = consent.grant(
        business=cast.shop, phone=PHONE, source=ConsentSource.STAFF, words="x" * 600, now=now, reference="message:" + "y" * 80,
        recorded_by=cast.bob, scope=ConsentScope.MARKETING,
    )  # fmt: skip

    kept = Consent.objects.get(pk=line.pk)
    assert (kept.words, kept.reference, kept.recorded_by, kept.scope) == (
        "x" * 500,
        ("message:" + "y" * 80)[:64],
        cast.bob,
        "marketing",
    )
    assert (kept.source, kept.at) == ("staff", now)


def test_staff_can_record_what_they_were_told(cast, now):
    customer, _ = remember_customer(business=cast.shop, phone=PHONE, name="Dana")

    record_opt_out(business=cast.shop, customer=customer, words="told me at the door", user=cast.bob, now=now)

    line = consent.standing(business=cast.shop, phone=PHONE)
    assert (line.words, line.recorded_by, opted_out(cast.shop)) == ("told me at the door", cast.bob, True)


@pytest.mark.parametrize(
    ("source", "words", "sentence"),
    [
        (ConsentSource.TEXT, "stop", "opted out on Nov 18 by text (“stop”)"),
        (
            ConsentSource.TEXT,
            "please never text me again, ever, thank you",
            "opted out on Nov 18 by text (“please never text me again, ever, thank ”)",
        ),
        (ConsentSource.CARRIER, "", "opted out on Nov 18 told by the carrier"),
        (ConsentSource.STAFF, "at the door", "opted out on Nov 18 recorded by staff (“at the door”)"),
    ],
)
def test_an_opt_out_is_told_in_a_sentence(cast, now, source, words, sentence):
    line = consent.revoke(business=cast.shop, phone=PHONE, source=source, words=words, now=now)

    assert consent.opt_out_sentence(line, business=cast.shop) == sentence


def test_the_day_is_the_businesss_day(cast, now):
    line = stop(cast.shop, now.replace(hour=3))  # nine in the evening before, in Chicago

    assert consent.opt_out_sentence(line, business=cast.shop) == "opted out on Nov 17 by text (“stop”)"


# --- Append-only -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE crm_consent SET action = 'grant'",
        "UPDATE crm_consent SET words = 'never mind' WHERE phone = '+15551234567'",
        "DELETE FROM crm_consent",
    ],
)
def test_postgres_itself_refuses_to_rewrite_a_line(cast, now, sql):
    line = stop(cast.shop, now)

    with (
        pytest.raises(DatabaseError, match="The consent ledger is append-only: add a line instead"),
        transaction.atomic(),
    ):
        connection.cursor().execute(sql)

    assert Consent.objects.get(pk=line.pk).action == "revoke"


def test_the_console_cannot_rewrite_a_line_either(cast, now):
    line = stop(cast.shop, now)
    line.action = "grant"

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        line.save()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        line.delete()

    assert opted_out(cast.shop) is True
