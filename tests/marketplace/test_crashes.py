"""The power goes out after any statement, and kill -9 comes at any moment: what was begun happened or it did not, and what
goes on in stretches is right when it has been run again. And everybody at once does not end in a deadlock.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from django.db import connection, transaction

from crm import consent
from crm.enums import ConsentSource
from crm.models import Business
from crm.scoping import every_business, only
from crm.services import Refused, add_business
from marketplace import queries
from marketplace.allocation import Criterion
from marketplace.enums import AgeBucket, GoneBecause, ReturnReason, Terms
from marketplace.models import AgedLead, GonePerson, IngestProblem, IngestRun, InventoryItem, PricingRule, Return, Sale
from marketplace.pricing import NoPrice
from marketplace.services import (
    books,
    ingest,
    inventory,
    invoices,
    known,
    landing,
    prices,
    purchases,
    recalls,
    returns,
    withdrawals,
)  # fmt: skip
from marketplace.services.purchases import CannotBuy, NotForSale, Short
from tests.conftest import NOW
from tests.crowd import all_at_once
from tests.marketplace.lead_files import ROW, a_row, csv_bytes
from tests.marketplace.stock import a_buyer, a_lead, a_phone, an_item, items, start_prices
from tests.marketplace.truths import AT_THE_PRICE, NOBODY_GONE, everything, untruths

TOMORROW: Final = NOW + timedelta(days=1)
GOLD: Final = Criterion("Gold", "MONTH_6_TO_8", 2)
ERASED: Final = "+13185550141"  # in a row that could not be read, too


class PowerCut(BaseException):
    """Nobody catches this by mistake."""


@contextmanager
def the_end_after(statement: int, end: Callable[[], None]) -> Iterator[None]:
    """`end` comes when that many statements have been carried out. Those that only open or close a stretch of a
    transaction are not counted: the last of them is the commit, after which nothing is cut off any more."""
    done = count(1)

    def run(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, parameters, many, context)
        if not sql.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO")) and next(done) == statement:
            end()
        return result

    with connection.execute_wrapper(run):
        yield


def is_cut_off(work: Callable[[], object], *, after: int) -> bool:
    """Power is back, and the database has forgotten what was not committed. False: it came to its end before."""

    def cut() -> None:
        raise PowerCut

    try:
        with the_end_after(after, cut):
            work()
    except PowerCut:
        return True
    return False


def is_killed(work: Callable[[], object], *, after: int) -> bool:
    """The same with a process of its own, that kills itself with -9. False: it lived."""
    child = os.fork()
    if child == 0:
        _live_or_die(work, after=after)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        _until_nobody_is_connected()
        return True
    assert os.WEXITSTATUS(status) == 0, "it broke down, see above"
    return False


def _live_or_die(work: Callable[[], object], *, after: int) -> None:
    try:
        parents, connection.connection = connection.connection, None  # not ours: neither to use nor to close
        assert parents is not None
        with the_end_after(after, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _until_nobody_is_connected() -> None:
    """The server ends the sessions of the dead, a moment later."""
    for _ in range(500):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.01)
    raise AssertionError("A dead process is still connected.")


# --- What happens, or does not ------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """Something for every verb to work on."""

    shop: Business
    next_door: Business
    quote: UUID
    sold: list[Sale]
    waiting: Return
    hopeless: Return  # there is no other lead of its kind
    planned: PricingRule
    withdrawn: AgedLead
    gone: InventoryItem  # sold to the neighbour


@pytest.fixture
def stage(db: None) -> Iterator[Stage]:
    with every_business():
        yield set_up()


def set_up() -> Stage:
    shop, next_door = (add_business(slug=slug, name=slug, zone="America/Chicago") for slug in ("alice", "charlie"))
    start_prices()
    a_buyer(shop, return_percent=100, webhook_url="https://crm.example.com/recalls")
    a_buyer(next_door)
    first, second, third, rare = an_item(phone=ERASED), *items(2), an_item(state="TX", county="Travis")
    bought = buy_items(shop, first, second, third, rare)
    items(6)
    (gone,) = items(1)
    buy_items(next_door, gone)
    with only(shop):
        quote = purchases.quote_criteria(business=shop, criteria=[GOLD], now=NOW).pk
        sales = Sale.objects.in_bulk(bought.sale_ids)
        sold = [sales[pk] for pk in bought.sale_ids]
        waiting, hopeless = (
            returns.ask(business=shop, sale_id=sale.pk, reason=ReturnReason.OTHER, note="", by="", now=NOW)
            for sale in (sold[1], sold[3])
        )
    planned = prices.set_price(
        classification="Gold",
        age_bucket="MONTH_6_TO_8",
        price=Decimal(9),
        now=NOW,
        effective_from=NOW + timedelta(days=9),
    )
    withdrawn = an_item().lead
    withdrawals.withdraw(lead_id=withdrawn.pk, reason="A complaint", actor=None, now=NOW)
    known.upload(business=shop, file=io.BytesIO(b"+15045550199\n"), name="ours.csv", actor=None, now=NOW)
    run = IngestRun.objects.create(name="before.csv", size=1, created_at=NOW)
    IngestProblem.objects.create(run=run, row_number=2, kind="failed", problem="?", row={"Borrower Phone": ERASED})
    return Stage(shop, next_door, quote, sold, waiting, hopeless, planned, withdrawn, gone)


def buy_items(business: Business, *chosen: InventoryItem) -> purchases.Bought:
    with only(business):
        return purchases.buy_items(business=business, item_ids=[item.pk for item in chosen], by="", now=NOW)


def give_back(stage: Stage, sale: Sale, reason: ReturnReason) -> Return:
    with only(stage.shop):
        return returns.ask(business=stage.shop, sale_id=sale.pk, reason=reason, note="", by="", now=NOW)


def accept(row: Return) -> Return:
    return returns.accept(
        row=Return.objects.select_related("business").get(pk=row.pk), actor=None, decision="", now=NOW
    )


def buy_criteria(stage: Stage) -> object:
    with only(stage.shop):
        wanted = [GOLD, Criterion("Gold", "MONTH_6_TO_8", 1, "LA", "Caddo")]
        return purchases.buy_by_criteria(business=stage.shop, criteria=wanted, by="", now=NOW)


def buy_quote(stage: Stage) -> object:
    with only(stage.shop):
        return purchases.buy_quote(business=stage.shop, quote_id=stage.quote, by="", now=NOW)


WHOLE: Final[dict[str, Callable[[Stage], object]]] = {
    "an order by criteria": buy_criteria,
    "an order of items, one of them replaced": lambda stage: buy_items(
        stage.shop, stage.gone, InventoryItem.objects.filter(sold_at=None, closed_at=None).latest("pk")
    ),
    "a quote is bought": buy_quote,
    "a return is asked for": lambda stage: give_back(stage, stage.sold[0], ReturnReason.OTHER),
    "a return that our own records prove": lambda stage: give_back(stage, stage.sold[2], ReturnReason.INVALID_NUMBER),
    "a return is accepted and replaced": lambda stage: accept(stage.waiting),
    "a return is accepted and credited": lambda stage: accept(stage.hopeless),
    "a return is declined": lambda stage: returns.decline(row=stage.waiting, actor=None, decision="No.", now=NOW),
    "somebody opts out": lambda stage: recalls.forget(
        phone=ERASED, because=GoneBecause.OPTED_OUT, told_by="A letter", now=NOW
    ),
    "somebody is erased": lambda stage: recalls.forget(
        phone=ERASED, because=GoneBecause.ERASED, told_by="A letter", now=NOW
    ),
    "a top-up": lambda stage: books.top_up(
        business=stage.shop, amount=Decimal(50), reference="wire 1", actor=None, now=NOW
    ),
    "terms change": lambda stage: books.set_terms(
        business=stage.shop, terms=Terms.PREPAID, credit_limit=Decimal(500), actor=None, now=NOW
    ),
    "a price is set": lambda stage: prices.set_price(
        classification="Gold", age_bucket="MONTH_6_TO_8", price=Decimal(7), now=NOW + timedelta(seconds=1)
    ),
    "a planned price is taken back": lambda stage: prices.take_back(rule=stage.planned, actor=None, now=NOW),
    "a list is uploaded": lambda stage: known.upload(
        business=stage.shop, file=io.BytesIO(b"+15045550191\n+15045550192\n"), name="x.csv", actor=None, now=NOW
    ),
    "lists are cleared": lambda stage: known.forget_uploads(business=stage.shop, actor=None, now=NOW),
    "a lead is withdrawn": lambda stage: withdrawals.withdraw(
        lead_id=InventoryItem.objects.filter(sold_at=None, closed_at=None).latest("pk").lead_id, reason="A complaint",
        actor=None, now=NOW,
    ),
    "a lead is put back": lambda stage: withdrawals.put_back(
        lead_id=stage.withdrawn.pk, reason="Settled", actor=None, now=NOW
    ),
    "an invoice is issued": lambda stage: invoices.issue(business=stage.shop, until=TOMORROW, now=TOMORROW),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE)
def test_it_happens_whole_or_not_at_all_whenever_the_power_goes(stage: Stage, what: str) -> None:
    assert untruths() == []
    before = everything()
    for statement in count(1):
        if not is_cut_off(lambda: WHOLE[what](stage), after=statement):
            break
        assert everything() == before, f"something is left of {what}, cut off after statement {statement}"
    assert statement > 2
    assert everything() != before
    assert untruths() == []


# --- What goes on where it was --------------------------------------------------------------------------------------------

ROWS: Final = [
    *(a_row(number, borrower_phone=a_phone(), call_in_phone_number="", call_in_date="04-01-2026 10:00:00") for number in range(7)),
    ROW | {"Call In Date": ""},
    a_row(3, borrower_phone=ERASED),
    a_row(8, borrower_phone=a_phone(), borrower_age=""),
]  # fmt: skip


def load(path: Path, clock: Iterator[datetime]) -> None:
    """Read the file on, as whoever finds it left behind does."""
    moment = next(clock)
    if IngestRun.objects.filter(name="leads.csv", status="done").exists():
        return
    run = ingest.take(run=ingest.begin(name="leads.csv", source=path, actor=None, now=moment), now=moment)
    assert run is not None
    ingest.work_on(run=run, clock=lambda: moment, source=path, stretch=3)


def minutes() -> Iterator[datetime]:
    """One and a half at a time: long enough for a dead reader to be given up."""
    return (NOW + timedelta(seconds=90 * number) for number in count())


def roll(_stage: Stage, _path: Path, _clock: Iterator[datetime]) -> None:
    inventory.roll_over(now=NOW + timedelta(days=70))  # from 6 to 8 months to 9 to 11


GOES_ON: Final[dict[str, Callable[[Stage, Path, Iterator[datetime]], object]]] = {
    "a file is read": lambda _stage, path, clock: load(path, clock),
    "the shelf rolls over": roll,
    "the marketplace hears of opt-outs": lambda *_: recalls.hear_opt_outs(now=NOW),
    "the daily look": lambda *_: recalls.look_again(now=NOW),
    "bought leads land in Leads": lambda *_: landing.land_due(now=NOW),
    "invoices are issued": lambda *_: invoices.issue_due(now=NOW + timedelta(days=40)),
}


STRIDE: Final = {"bought leads land in Leads": 4, "the daily look": 2}  # of so many statements, not every one


def outcome() -> dict[str, Counter[Any]]:
    """What it came to, without ids and moments."""
    told = {
        "shelf": "SELECT l.phone, i.age_bucket, i.closed_because, i.sold_at FROM marketplace_inventoryitem i"
        " JOIN marketplace_agedlead l ON l.id = i.lead_id",
        "leads": "SELECT mortgage_id, phone, classification, called_in_at FROM marketplace_agedlead",
        "files": "SELECT name, status, total_rows, done_rows, successful, known, blocked, failed, skipped, gold, silver"
        " FROM marketplace_ingestrun",
        "problems": "SELECT row_number, problem FROM marketplace_ingestproblem",
        "rolled": "SELECT until FROM marketplace_rolledover",
        "gone": "SELECT mark, because FROM marketplace_goneperson",
        "told": "SELECT n.sale_id, r.because FROM marketplace_recallnotice n JOIN marketplace_recall r ON r.id = n.recall_id",
        "messages": "SELECT event FROM marketplace_webhookdelivery",
        "landed": "SELECT event_id, cost FROM leads_lead",
        "orders": "SELECT id, landed_at FROM marketplace_purchase",
        "customers": "SELECT business_id, phone FROM crm_customer",
        "stories": "SELECT text FROM crm_activity",
        "invoices": "SELECT i.business_id, i.until, l.entry_id, l.amount FROM marketplace_invoice i"
        " JOIN marketplace_invoiceline l ON l.invoice_id = i.id",
    }
    found = {}
    with connection.cursor() as cursor:
        for name, sql in told.items():
            cursor.execute(sql)
            found[name] = Counter(cursor.fetchall())
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "leads.csv").write_bytes(csv_bytes(ROWS))
    return tmp_path / "leads.csv"


@pytest.mark.parametrize("what", GOES_ON)
def test_cut_off_anywhere_and_run_again_it_comes_to_the_same(stage: Stage, path: Path, what: str) -> None:
    heard, phone = stage.next_door, stage.sold[1].lead.phone
    consent.revoke(business=heard, phone=phone, source=ConsentSource.TEXT, words="stop", now=NOW)
    if what == "the daily look":
        recalls.forget(phone=ERASED, because=GoneBecause.ERASED, told_by="A letter", now=NOW)
        an_item(a_lead(phone=ERASED))  # it was on its way in while their person went
    if what == "bought leads land in Leads":  # but for one whose person has gone, twice over
        for because in GoneBecause:
            recalls.forget(phone=ERASED, because=because, told_by="A letter", now=NOW)

    def work(clock: Iterator[datetime]) -> Callable[[], object]:
        return lambda: GOES_ON[what](stage, path, clock)

    before = outcome()
    with forgotten():
        work(minutes())()
        whole = outcome()
        assert whole != before
        assert untruths() == []
    for statement in count(1, STRIDE.get(what, 1)):
        with forgotten():
            clock = minutes()
            if not is_cut_off(work(clock), after=statement):
                break
            work(clock)()
            assert outcome() == whole, f"{what} was cut off after statement {statement}"
            assert untruths() == []
    assert statement > 3


@contextmanager
def forgotten() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# --- kill -9 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def committed(transactional_db: None) -> Iterator[Stage]:
    with every_business():
        yield set_up()


@pytest.mark.parametrize("what", ["an order by criteria", "a return is accepted and replaced", "somebody is erased"])
def test_killed_in_the_middle_nothing_is_left_of_it(committed: Stage, what: str) -> None:
    before = everything()
    for statement in count(1):
        if not is_killed(lambda: WHOLE[what](committed), after=statement):
            break
        assert everything() == before, f"something is left of {what}, killed after statement {statement}"
    assert statement > 5
    assert everything() != before
    assert untruths() == []


def test_a_file_is_read_to_its_end_however_often_its_reader_is_killed(committed: Stage, path: Path) -> None:
    with forgotten():
        load(path, minutes())
        whole = outcome()
    for statement, moment in enumerate(minutes(), start=1):
        if not is_killed(partial(load, path, iter([moment])), after=statement):
            break
        assert untruths() == []
    assert statement > 10
    assert outcome() == whole
    assert untruths() == []


def test_the_shelf_rolls_over_however_often_it_is_killed(committed: Stage) -> None:
    later = NOW + timedelta(days=70)
    with forgotten():
        inventory.roll_over(now=later)
        whole = outcome()
    for statement in count(1):
        if not is_killed(lambda: inventory.roll_over(now=later), after=statement):
            break
        assert untruths() == []
    assert statement > 5
    assert outcome() == whole
    assert untruths() == []


# --- One in the middle of another ---------------------------------------------------------------------------------------


@contextmanager
def once(part: str, then: Callable[[], None]) -> Iterator[None]:
    """`then` comes after the first statement of ours with this in it."""
    to_do = [then]

    def run(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, parameters, many, context)
        if part in sql and to_do:
            to_do.pop()()
        return result

    with connection.execute_wrapper(run):
        yield


def elsewhere(call: Callable[[], object]) -> None:
    """On another connection, to its end."""
    all_at_once([call])


@pytest.fixture
def shop(transactional_db: None) -> Business:
    start_prices()
    business = add_business(slug="alice", name="Alice Plumbing", zone="America/Chicago")
    a_buyer(business)
    return business


def buy_one(business: Business) -> None:
    with only(business):
        wanted = [Criterion("Gold", "MONTH_6_TO_8", 1)]
        purchases.buy_by_criteria(business=business, criteria=wanted, by="", now=NOW)


@pytest.mark.parametrize("because", GoneBecause)
def test_who_buys_somebody_while_they_are_forgotten_is_told_on_the_next_day_at_the_latest(
    shop: Business, because: GoneBecause
) -> None:
    """The roll-over had looked before, and put the lead on the shelf when the forgetting had passed it by."""
    lead = a_lead()
    picked, may_go_on = threading.Event(), threading.Event()

    def buy_slowly() -> None:
        def hold() -> None:
            picked.set()
            may_go_on.wait(timeout=10)

        try:
            with once("SKIP LOCKED", hold):
                buy_one(shop)
        finally:
            connection.close()

    buying = threading.Thread(target=buy_slowly)

    def roll_over_and_begin_to_buy() -> None:
        elsewhere(lambda: inventory.roll_over(now=NOW))
        buying.start()
        assert picked.wait(timeout=10)

    with once('INSERT INTO "marketplace_recall"', roll_over_and_begin_to_buy):
        recalls.forget(phone=lead.phone, because=because, told_by="A letter", now=NOW)
    may_go_on.set()
    buying.join()
    with every_business():
        assert Sale.objects.count() == 1
        recalls.look_again(now=NOW + timedelta(hours=9))
    assert untruths() == []


@pytest.mark.parametrize("because", GoneBecause)
def test_whoever_is_left_on_the_shelf_by_such_a_moment_is_not_sold(shop: Business, because: GoneBecause) -> None:
    item = an_item()
    recalls.forget(phone=item.lead.phone, because=because, told_by="A letter", now=NOW)
    InventoryItem.objects.update(closed_at=None, closed_because="")
    with pytest.raises(Short):
        buy_one(shop)
    with pytest.raises(CannotBuy):
        buy_items(shop, item)
    with only(shop):
        assert queries.browse(shop, queries.Filter(), now=NOW, limit=10).items == []
        with pytest.raises(NotForSale):
            purchases.quote_items(business=shop, item_ids=[item.pk], now=NOW)


def test_somebody_listed_while_they_are_bought_stays_known_when_the_list_is_cleared(shop: Business) -> None:
    phone = a_phone()
    an_item(phone=phone)

    def upload() -> None:
        known.upload(business=shop, file=io.BytesIO(phone.encode()), name="ours.csv", actor=None, now=NOW)

    with once("SKIP LOCKED", lambda: elsewhere(upload)):
        buy_one(shop)
    known.forget_uploads(business=shop, actor=None, now=NOW)
    an_item(phone=phone)
    with pytest.raises(Short):
        buy_one(shop)
    assert untruths() == []


@pytest.mark.django_db(transaction=True)
def test_the_first_person_to_go_is_no_sign_of_another_key() -> None:
    def somebody_goes() -> None:
        recalls.forget(phone=ERASED, because=GoneBecause.OPTED_OUT, told_by="A letter", now=NOW)

    with once("marketplace_goneperson", lambda: elsewhere(somebody_goes)):
        assert recalls.marks_are_ours()
    assert GonePerson.objects.count() == 2  # they, and the canary


# --- Everybody at once --------------------------------------------------------------------------------------------------

RUSH: Final = 4.0  # seconds
CALLERS: Final = 6
# What they do, and how often.
BUSY: Final = {
    "order": 5, "order_items": 5, "buy_a_quote": 3, "give_back": 3, "decide": 2, "forget": 1, "stop": 1, "hear": 1,
    "roll_over": 3, "tidy": 1, "set_price": 1, "upload": 1, "clear": 1, "withdraw": 2, "load": 2, "pay": 1, "land": 1,
}  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_everybody_at_once_ends_in_no_deadlock_and_every_promise_is_kept(tmp_path: Path) -> None:
    """A month passes every second, so that leads grow older under everybody's hands."""
    start_prices()
    shops = [add_business(slug=f"b{number}", name=f"Buyer {number}", zone="America/Chicago") for number in range(3)]
    for shop in shops:
        a_buyer(shop, return_percent=100, return_days=200)
    people = [a_phone() for _ in range(250)]
    leads = [a_lead(phone=phone, days=days) for phone, days in zip(people * 2, range(80, 980, 2), strict=False)]
    inventory.roll_over(now=NOW)
    began = time.monotonic()
    callers = [
        Caller(random.Random(number), shops, people, leads, tmp_path / f"{number}.csv", began)
        for number in range(CALLERS)
    ]
    happened = sum(all_at_once([caller.go for caller in callers]), Counter())
    assert [verb for verb in ("order", "order_items", "roll_over") if not happened[verb]] == []
    later = NOW + timedelta(days=400)
    with every_business():
        # The clocks of callers differ by a little, so that a price may come a moment late.
        assert untruths(but=(AT_THE_PRICE, NOBODY_GONE)) == []
        recalls.look_again(now=later)
    inventory.roll_over(now=later, whole=True)
    assert untruths(but=(AT_THE_PRICE,)) == []


@dataclass
class Caller:
    """Somebody who does one thing after another, whatever comes to mind."""

    dice: random.Random
    shops: list[Business]
    people: list[str]
    leads: list[AgedLead]
    path: Path
    began: float

    def go(self) -> Counter[str]:
        """What was done. What is refused is none of our concern here; anything else that goes wrong is."""
        happened: Counter[str] = Counter()
        while (passed := time.monotonic() - self.began) < RUSH:
            self.now = NOW + timedelta(days=30 * passed)
            self.shop = self.dice.choice(self.shops)
            (verb,) = self.dice.choices(list(BUSY), list(BUSY.values()))
            with contextlib.suppress(Refused, CannotBuy, Short, NotForSale, NoPrice), every_business():
                getattr(self, verb)()
                happened[verb] += 1
        return happened

    def order(self) -> None:
        place = self.dice.choice([("LA", "Caddo"), ("", "")])
        wanted = [
            Criterion("Gold", self.dice.choice(AgeBucket.values), self.dice.randint(1, 12), *place)
            for _ in range(self.dice.randint(1, 2))
        ]
        with only(self.shop):
            purchases.buy_by_criteria(business=self.shop, criteria=wanted, by="", now=self.now)

    def order_items(self) -> None:
        with only(self.shop):
            purchases.buy_items(business=self.shop, item_ids=self._on_the_shelf(5), by="", now=self.now)

    def buy_a_quote(self) -> None:
        with only(self.shop):
            quote = purchases.quote_items(business=self.shop, item_ids=self._on_the_shelf(2), now=self.now)
            purchases.buy_quote(business=self.shop, quote_id=quote.pk, by="", now=self.now)

    def give_back(self) -> None:
        with only(self.shop):
            sale = Sale.objects.order_by("?").first()
            if sale:
                returns.ask(
                    business=self.shop, sale_id=sale.pk, reason=ReturnReason.OTHER, note="", by="", now=self.now
                )

    def decide(self) -> None:
        row = Return.objects.select_related("business").order_by("?").first()
        if row:
            verb = self.dice.choice([returns.accept, returns.accept, returns.decline])
            verb(row=row, actor=None, decision="Because.", now=self.now)

    def forget(self) -> None:
        recalls.forget(phone=self._person(), because=self.dice.choice(list(GoneBecause)), told_by="", now=self.now)

    def stop(self) -> None:
        with only(self.shop):
            consent.revoke(
                business=self.shop, phone=self._person(), source=ConsentSource.TEXT, words="stop", now=self.now
            )

    def hear(self) -> None:
        recalls.hear_opt_outs(now=self.now)

    def roll_over(self) -> None:
        inventory.roll_over(now=self.now, whole=self.dice.random() < 0.3)

    def tidy(self) -> None:
        inventory.tidy_stock()

    def set_price(self) -> None:
        prices.set_price(
            classification="Gold", age_bucket=self.dice.choice(AgeBucket.values), now=self.now,
            price=Decimal(self.dice.randint(1, 12)), effective_from=self.now + timedelta(days=self.dice.choice([0, 0, 3])),
        )  # fmt: skip

    def upload(self) -> None:
        file = io.BytesIO("\n".join(self.dice.sample(self.people, k=4)).encode())
        known.upload(business=self.shop, file=file, name="ours.csv", actor=None, now=self.now)

    def clear(self) -> None:
        known.forget_uploads(business=self.shop, actor=None, now=self.now)

    def withdraw(self) -> None:
        lead = self.dice.choice(self.leads).pk
        withdrawals.withdraw(lead_id=lead, reason="A complaint", actor=None, now=self.now)
        withdrawals.put_back(lead_id=lead, reason="Settled", actor=None, now=self.now)

    def load(self) -> None:
        called = self.now - timedelta(days=self.dice.randint(60, 900))
        rows = [
            a_row(self.dice.randrange(10**9), borrower_phone=self._person(), call_in_date=f"{called:%m-%d-%Y 12:00:00}")
            for _ in range(7)
        ]
        self.path.write_bytes(csv_bytes(rows))
        run = ingest.take(
            run=ingest.begin(name=self.path.name, source=self.path, actor=None, now=self.now), now=self.now
        )
        assert run is not None
        ingest.work_on(run=run, clock=lambda: self.now, source=self.path, stretch=3)

    def pay(self) -> None:
        reference = f"wire {self.dice.randrange(10**9)}"
        books.top_up(business=self.shop, amount=Decimal(100), reference=reference, actor=None, now=self.now)

    def land(self) -> None:
        landing.land_due(now=self.now, limit=50)

    def _person(self) -> str:
        return self.dice.choice(self.people)

    def _on_the_shelf(self, most: int) -> list[UUID]:
        there = list(InventoryItem.objects.filter(sold_at=None, closed_at=None).values_list("pk", flat=True))
        return self.dice.sample(there, k=min(len(there), self.dice.randint(1, most)))
