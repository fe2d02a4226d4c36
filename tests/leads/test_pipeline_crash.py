"""The power goes out after any statement: what was begun happened or it did not. And whoever writes rows by hand, past all
services, is refused by the database itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final

import pytest
from django.db import IntegrityError, connection, transaction

from crm.models import Customer, User
from crm.scoping import every_business, only
from leads.actors import By, person
from leads.enums import ActivityKind
from leads.models import Assessment, Deal, DealOffer, Lead, LeadMerge
from leads.services import duplicates, pipeline, sales
from tests.conftest import NOW, Cast
from tests.leads.selling import a_customer, a_deal, a_lead, a_salesperson, everything, qualified, untruths

LATER: Final = NOW + timedelta(hours=1)


class PowerCut(BaseException):
    """Nobody catches this by mistake."""


@contextmanager
def cut_off_after(statement: int) -> Iterator[None]:
    """Those that only open or close a stretch of a transaction are not counted: the last of them is the commit."""
    done = count(1)

    def run(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, parameters, many, context)
        if not sql.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO")) and next(done) == statement:
            raise PowerCut
        return result

    with connection.execute_wrapper(run):
        yield


@dataclass
class Scene:
    """Something for every verb to work on."""

    by: By
    alice: User
    bob: User
    ripe: Lead  # may go to sales; somebody was to follow it up
    offered: Deal  # held out to Bob
    nearly_paid: Deal
    kept: Lead
    dropped: Lead  # with a customer of their own, a call and a task
    merge: LeadMerge


@pytest.fixture
def scene(cast: Cast) -> Iterator[Scene]:
    with only(cast.shop):
        by, shop = person(cast.alice), cast.shop
        a_salesperson(shop, cast.bob, NOW, phone="+15552009003")
        offered, nearly_paid = (a_deal(shop, by, NOW) for _ in range(2))
        for stage in ("kyc", "agreement"):
            nearly_paid = sales.move_deal(deal=nearly_paid, to=stage, by=by, now=NOW)
        ripe = qualified(shop, by, NOW)
        pipeline.follow_up(lead=ripe, title="Call again", due_at=NOW, now=NOW)
        leads = []
        for customer in (
            a_customer(shop, "Jane"),
            a_customer(shop, "Jim"),
            a_customer(shop, "June", phone=False),
            None,
        ):
            lead = a_lead(shop, by, NOW, domain="first" if customer else "", notes=f"From {customer}")
            Lead.objects.filter(pk=lead.pk).update(customer=customer)
            lead = pipeline.find_lead(business=shop, number=lead.number)
            pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="Hello", by=by, now=NOW)
            pipeline.follow_up(lead=lead, title="Call again", due_at=NOW, now=NOW)
            leads.append(lead)
        merge = duplicates.merge_leads(kept=leads[3], dropped=leads[2], user=cast.alice, now=NOW)
        yield Scene(by, cast.alice, cast.bob, ripe, offered, nearly_paid, leads[0], leads[1], merge)


WHOLE: Final[dict[str, Callable[[Scene], object]]] = {
    "a transfer": lambda scene: sales.transfer(lead=scene.ripe, by=scene.by, now=LATER),
    "a lead is lost": lambda scene: pipeline.move(lead=scene.ripe, to="lost", by=scene.by, now=LATER, why="Too far"),
    "a deal is taken": lambda scene: sales.accept(deal=scene.offered, user=scene.bob, now=LATER),
    "a deal is passed on": lambda scene: sales.decline(deal=scene.offered, user=scene.bob, now=LATER),
    "a deal is given away": lambda scene: sales.hand_to(deal=scene.offered, to=scene.alice, by=scene.by, now=LATER),
    "an offer lapses": lambda scene: sales.pass_on(now=LATER),
    "a deal is paid": lambda scene: sales.move_deal(deal=scene.nearly_paid, to="paid", by=scene.by, now=LATER),
    "two leads become one": lambda scene: duplicates.merge_leads(
        kept=scene.kept, dropped=scene.dropped, user=scene.alice, now=LATER
    ),
    "a merge is taken apart": lambda scene: duplicates.undo_lead_merge(merge=scene.merge, user=scene.alice, now=LATER),
}


@pytest.mark.parametrize("what", WHOLE)
def test_it_happens_whole_or_not_at_all_whenever_the_power_goes(scene: Scene, what: str) -> None:
    if what == "an offer lapses":  # one of them, so that it is one change
        sales.accept(deal=scene.nearly_paid, user=scene.alice, now=NOW + timedelta(minutes=20))
    assert untruths() == []
    before = everything()
    for statement in count(1):
        try:
            with cut_off_after(statement):
                WHOLE[what](scene)
        except PowerCut:
            assert everything() == before, f"something is left of {what}, cut off after statement {statement}"
        else:
            break
    assert statement > 3
    assert everything() != before
    assert untruths() == []


# --- By hand, past all services -------------------------------------------------------------------------------------------


def refused(sql: str, *parameters: Any) -> str:
    """What Postgres says to one statement and the commit after it; nothing of it stays."""
    before = everything()
    with pytest.raises(IntegrityError) as refusal:
        commit(sql, parameters)
    assert everything() == before
    return str(refusal.value).splitlines()[0]


def commit(sql: str, parameters: Sequence[Any]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_no_half_of_a_transfer_can_be_written_by_hand(scene: Scene) -> None:
    lead, sold = scene.ripe, scene.offered.lead
    to = "UPDATE leads_lead SET stage = %s WHERE id = %s"
    assert refused(to, "transferred", lead.pk) == "A transferred lead has a deal."
    for stage in ("new", "contacted", "qualified", "lost"):
        assert refused(to, stage, sold.pk) == f"A lead does not go from transferred to {stage}."
    pipeline.move(lead=lead, to="lost", by=scene.by, now=LATER)
    for stage in ("new", "contacted", "qualified", "transferred"):
        assert refused(to, stage, lead.pk) == f"A lead does not go from lost to {stage}."
    again = Deal(
        business=sold.business, lead=sold, assessment=scene.offered.assessment, stage_since=NOW, created_at=NOW
    )
    with pytest.raises(IntegrityError, match="one_deal_per_lead"), transaction.atomic():
        again.save()
    another = DealOffer(
        business=sold.business, deal=scene.offered, salesperson=DealOffer.objects.first().salesperson, offered_at=NOW,
        until=LATER,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="one_open_offer_per_deal"), transaction.atomic():
        another.save()


def test_what_was_written_down_stays_as_it_was_written(scene: Scene) -> None:
    for sql in (
        "DELETE FROM leads_stagechange", "UPDATE leads_stagechange SET by_text = 'nobody'",
        "DELETE FROM leads_assessment", "UPDATE leads_assessment SET score = 1",
    ):  # fmt: skip
        assert refused(sql).endswith(" is append-only: add a row instead.")


def test_a_deal_that_is_paid_or_lost_is_closed_and_no_other(scene: Scene) -> None:
    for sql in (
        "UPDATE leads_deal SET stage = 'paid'", "UPDATE leads_deal SET stage = 'lost'",
        "UPDATE leads_deal SET closed_at = now()",
    ):  # fmt: skip
        assert "a_deal_is_closed_when_paid_or_lost" in refused(sql)


def test_a_row_never_joins_two_businesses(scene: Scene, cast: Cast) -> None:
    with every_business():
        stranger = Customer.objects.create(business=cast.next_door, name="A neighbour's customer")
    assert "wall" in refused("UPDATE leads_lead SET customer_id = %s WHERE id = %s", stranger.pk, scene.ripe.pk)
    for sql in (
        "UPDATE leads_deal SET business_id = %s", "UPDATE leads_dealoffer SET business_id = %s",
        "UPDATE leads_leadmerge SET business_id = %s", "UPDATE leads_leadactivity SET business_id = %s",
        "UPDATE leads_salesperson SET business_id = %s",
    ):  # fmt: skip
        assert "wall" in refused(sql, cast.next_door.pk)


def test_the_score_of_an_assessment_stays_near_its_points(scene: Scene) -> None:
    made = Assessment.objects.first()
    for score, baseline in (("0.81", "0.6"), ("0.39", "0.6"), ("1.01", "1"), ("-0.01", "0")):
        made.pk, made._state.adding = None, True
        made.score, made.baseline = Decimal(score), Decimal(baseline)
        with pytest.raises(IntegrityError, match="a_score_"), transaction.atomic():
            made.save(force_insert=True)
