"""One business sees nothing of another: the alarm that rings when a query forgets to say whose rows it wants."""

from __future__ import annotations

import functools

import pytest
from django_scopes import ScopeError

from crm.keys import uuid7
from crm.models import Business
from crm.scoping import every_business, only
from tests.conftest import open_shop
from tests.furnish import Furnished, belongs_to_a_business, our_models

# Tables with a business that can be read without naming it first, each for its reason.
WITHOUT_ALARM = {
    "booking.SchedulingRules": "one row per business, its key",
    "crm.Allowance": "only ever reached by business and day",
    "crm.ApiKey": "looked up by its prefix, and tells the business",
    "crm.AuditEvent": "staff only",
    "crm.IdempotencyKey": "also of callers without a business",
    "crm.Membership": "looked up by person, and tells the businesses",
    "crm.PhoneNumber": "looked up by the number that was called, and tells the business",
    "crm.SecurityEvent": "staff only",
    "leads.PipelineSettings": "one row per business, its key",
    "marketplace.Buyer": "one row per business, its key",
    "telephony.InboundEvent": "looked up by the carrier's id of the letter",
    "telephony.TwilioAccount": "looked up by the carrier's account",
}
BEHIND_THE_ALARM = [m for m in our_models() if belongs_to_a_business(m) and m._meta.label not in WITHOUT_ALARM]


@pytest.fixture
def two(db) -> tuple[Furnished, Furnished]:
    """Alice's shop and Charlie's, with one row of everything."""
    shops = (
        Furnished(open_shop("alice", name="Alice Plumbing", number="+15552000001")),
        Furnished(open_shop("charlie", name="Charlie Cooling", number="+15552000002")),
    )
    for shop in shops:
        for model in BEHIND_THE_ALARM:
            shop.row(model)
    return shops


def test_reading_without_saying_whose_rows_rings_the_alarm(db):
    """A new table with a business belongs behind the alarm, or on the list above with its reason."""
    assert len(BEHIND_THE_ALARM) >= 16
    for model in BEHIND_THE_ALARM:
        rows, nobody = model.objects, Business(pk=uuid7())
        for read in (
            rows.all,
            rows.count,
            rows.first,
            rows.exists,
            rows.values,
            rows.exclude,
            rows.order_by,
            rows.in_bulk,
            functools.partial(rows.for_business, nobody),
            functools.partial(rows.filter, business=nobody),
            functools.partial(rows.get, pk=nobody.pk),
            functools.partial(rows.update, business=nobody),
        ):
            with pytest.raises(ScopeError):
                read()


def test_inside_a_business_only_its_rows_are_there(two):
    alice, charlie = two
    for shop, other in ((alice, charlie), (charlie, alice)):
        with only(shop.business):
            for model in BEHIND_THE_ALARM:
                assert set(model.objects.values_list("business_id", flat=True)) == {shop.business.pk}
                assert model.objects.filter(pk=other.row(model).pk).first() is None
                assert model.objects.for_business(other.business).count() == 0
    with every_business():
        for model in BEHIND_THE_ALARM:
            assert set(model.objects.values_list("business_id", flat=True)) == {alice.business.pk, charlie.business.pk}


def test_the_list_of_tables_without_alarm_is_true(db):
    models = {model._meta.label: model for model in our_models() if belongs_to_a_business(model)}
    assert set(WITHOUT_ALARM) - set(models) == set()
    for label in WITHOUT_ALARM:
        assert models[label].objects.count() >= 0


def test_keys_of_rows_sort_by_age_and_tell_a_neighbour_nothing():
    keys = [uuid7() for _ in range(1_000)]
    assert keys == sorted(keys)
    assert {key.version for key in keys} == {7}
    assert len({key.int & (2**62 - 1) for key in keys}) == 1_000
