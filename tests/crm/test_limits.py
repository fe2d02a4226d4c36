"""Caps on what costs money: exact, by the business's own day, also in a crowd."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crm import limits
from crm.enums import Meter
from crm.models import Allowance, Business
from tests.conftest import NOW, open_shop
from tests.crowd import all_at_once

CENT = 10_000


@pytest.fixture
def shop(db) -> Business:
    return open_shop(
        "alice", name="Alice Plumbing", number="+15552000001", sms_daily_cap_cents=3, llm_daily_cap_cents=1
    )


def spent(business: Business) -> list[tuple[str, str, int]]:
    return [
        (row.meter, str(row.day), row.spent_micros)
        for row in Allowance.objects.filter(business=business).order_by("day", "meter")
    ]


def test_the_cap_is_reached_exactly_and_not_passed(shop):
    def buy(micros: int) -> bool:
        return limits.spend(business=shop, meter=Meter.SMS, micros=micros, now=NOW)

    assert [buy(2 * CENT), buy(CENT + 1), buy(CENT), buy(1), buy(0)] == [True, False, True, False, True]
    assert spent(shop) == [("sms", "2026-11-18", 3 * CENT)]


def test_more_than_the_whole_cap_takes_nothing(shop):
    assert limits.spend(business=shop, meter=Meter.SMS, micros=3 * CENT + 1, now=NOW) is False
    assert spent(shop) == []


def test_meters_and_businesses_have_caps_of_their_own(shop):
    other = open_shop("charlie", name="Charlie Cooling", number="+15552000002", sms_daily_cap_cents=3)
    assert limits.spend(business=shop, meter=Meter.SMS, micros=3 * CENT, now=NOW) is True
    assert limits.spend(business=shop, meter=Meter.LLM, micros=CENT, now=NOW) is True
    assert limits.spend(business=shop, meter=Meter.LLM, micros=1, now=NOW) is False
    assert limits.spend(business=other, meter=Meter.SMS, micros=3 * CENT, now=NOW) is True


def test_an_alert_is_booked_over_the_cap(shop):
    limits.spend(business=shop, meter=Meter.SMS, micros=3 * CENT, now=NOW)
    assert limits.spend(business=shop, meter=Meter.SMS, micros=CENT, now=NOW, capped=False) is True
    assert limits.spend(business=shop, meter=Meter.SMS, micros=1, now=NOW) is False
    assert spent(shop) == [("sms", "2026-11-18", 4 * CENT)]


def test_the_day_is_the_one_on_the_businesss_own_calendar(shop):
    late = datetime(2026, 11, 19, 5, 59, tzinfo=UTC)  # 11:59 pm in Chicago
    assert limits.spend(business=shop, meter=Meter.SMS, micros=3 * CENT, now=late) is True
    assert limits.spend(business=shop, meter=Meter.SMS, micros=1, now=late) is False
    assert limits.spend(business=shop, meter=Meter.SMS, micros=1, now=late + timedelta(minutes=1)) is True
    assert spent(shop) == [("sms", "2026-11-18", 3 * CENT), ("sms", "2026-11-19", 1)]


def test_what_was_not_used_is_given_back_and_never_more(shop):
    limits.spend(business=shop, meter=Meter.SMS, micros=3 * CENT, now=NOW)
    limits.give_back(business=shop, meter=Meter.SMS, micros=CENT, now=NOW)
    assert limits.spend(business=shop, meter=Meter.SMS, micros=CENT, now=NOW) is True
    limits.give_back(business=shop, meter=Meter.SMS, micros=99 * CENT, now=NOW)
    assert spent(shop) == [("sms", "2026-11-18", 0)]


def test_ten_workers_cannot_overspend_together(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", sms_daily_cap_cents=3)
    bought = all_at_once([lambda: limits.spend(business=shop, meter=Meter.SMS, micros=CENT, now=NOW)] * 10)
    assert sorted(bought) == [False] * 7 + [True] * 3
    assert spent(shop) == [("sms", "2026-11-18", 3 * CENT)]
