"""The marketplace of the demo: a shelf of believable leads, three buyers, and seven weeks of trade.

Deterministic and relative to today. Told once, by the very services that do it in earnest, each at its own moment.
"""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from crm.models import Business, User
from crm.scoping import only
from crm.services import Refused, add_business
from marketplace.allocation import Criterion
from marketplace.columns import SOURCE
from marketplace.enums import BuyerStatus, ExportProfile, GoneBecause, ReturnReason, Terms
from marketplace.models import Buyer, Return, Sale
from marketplace.services import (
    books,
    exports,
    ingest,
    inventory,
    invoices,
    landing,
    prices,
    purchases,
    recalls,
    returns,
)
from marketplace.services.purchases import Short

BUYER: Final = "harbor"  # its owner can log in
_WALLET: Final = "summit"
_NEW: Final = "keystone"
LEADS: Final = 3_600
_BEGAN: Final = timedelta(days=50)

# State, area codes (555-0100 to 555-0199 of each belong to nobody), cities with their county and ZIP.
_PLACES: Final = (
    ("LA", ("225", "318", "337", "504", "985"), (
        ("Shreveport", "Caddo", "71101"), ("Baton Rouge", "East Baton Rouge", "70801"), ("Lafayette", "Lafayette", "70501"),
        ("New Orleans", "Orleans", "70112"), ("Crowley", "Acadia", "70526"), ("Monroe", "Ouachita", "71201"),
    )),
    ("TX", ("210", "214", "281", "361", "409", "432", "512", "713", "806", "817", "903", "915"), (
        ("Austin", "Travis", "78701"), ("Houston", "Harris", "77002"), ("San Antonio", "Bexar", "78205"),
        ("Lubbock", "Lubbock", "79401"), ("Tyler", "Smith", "75702"),
    )),
    ("FL", ("239", "305", "321", "352", "386", "407", "561", "727", "772", "813", "850", "904"), (
        ("Tampa", "Hillsborough", "33602"), ("Orlando", "Orange", "32801"), ("Ocala", "Marion", "34471"),
        ("Jacksonville", "Duval", "32202"),
    )),
    ("GA", ("229", "404", "478", "706", "770", "912"), (
        ("Macon", "Bibb", "31201"), ("Savannah", "Chatham", "31401"), ("Athens", "Clarke", "30601"),
    )),
    ("MS", ("228", "601", "662"), (("Jackson", "Hinds", "39201"), ("Tupelo", "Lee", "38804"))),
)  # fmt: skip
_FIRST: Final = (
    "James Mary Robert Patricia Michael Linda David Barbara William Susan Richard Jessica Joseph Karen Thomas Sarah Charles"
    " Nancy Daniel Lisa Matthew Betty Anthony Sandra Mark Ashley Donald Kimberly Steven Emily Paul Donna Andrew Michelle"
)
_LAST: Final = (
    "Broussard Hebert Landry Fontenot Guidry Thibodeaux Boudreaux Martinez Garcia Nguyen Johnson Williams Walker Hall Young"
    " King Wright Hill Scott Green Adams Baker Nelson Carter Mitchell Perez Roberts Turner Phillips Campbell Parker Evans"
)
_STREETS: Final = (
    "Oak Street|Magnolia Avenue|Parish Road|Pecan Lane|Bayou Drive|Church Street|Jefferson Highway|Live Oak Court"
)
_LENDERS: Final = "First Gulf Bank|Pelican Credit Union|Lone Star Home Loans|Southern Mutual|Peachtree Mortgage"
_SOURCES: Final = "Direct Mail|Radio|Television|Referral"


@dataclass(frozen=True)
class DemoBuyer:
    slug: str
    name: str
    contact: str
    zone: str


BUYERS: Final = (
    DemoBuyer(BUYER, "Harbor Home Protection", "Hannah Brooks", "America/Chicago"),
    DemoBuyer(_WALLET, "Summit Senior Benefits", "Miguel Santos", "America/New_York"),
    DemoBuyer(_NEW, "Keystone Final Expense", "Priya Desai", "America/New_York"),
)


def seed(*, now: datetime, staff: User | None, leads: int = LEADS) -> Business | None:
    """Make it, unless it is there; businesses of somebody else with a name of ours are left alone (None then, see
    `taken`). With fewer leads there are fewer orders."""
    if taken():
        return None
    there = Business.objects.filter(slug=BUYER).first()
    if there is not None:
        return there
    began = now - _BEGAN
    prices.start_prices(now=began, since=began - timedelta(days=90))
    harbor, summit, keystone = (_open(buyer, now=began) for buyer in BUYERS)
    Buyer.objects.filter(business=keystone).update(
        status=BuyerStatus.PENDING, approved_at=None, created_at=now - timedelta(days=1)
    )
    _ingest("gulf-coast-call-center.csv", list(_rows(leads, now=began)), staff=staff, now=began)
    prices.set_price(
        classification="Silver", age_bucket="MONTH_24_PLUS", price=Decimal("3.25"), now=now - timedelta(days=33),
        notes="Fewer of them come in", actor=staff,
    )  # fmt: skip
    with only(summit):
        books.set_terms(business=summit, terms=Terms.PREPAID, credit_limit=Decimal(50), actor=staff, now=began)
        books.top_up(business=summit, amount=Decimal(750), reference="wire 4471", actor=staff, now=began)
    for day in range(47, 0, -1):
        moment = (now - timedelta(days=day)).replace(hour=16, minute=(day * 17) % 60)  # a working day, in either zone
        inventory.roll_over(now=moment)
        for buyer, orders in ((harbor, _HARBOR), (summit, _SUMMIT)):
            if day in orders:
                _buy(buyer, orders[day], now=moment)
    _give_back(harbor, staff=staff, now=now)
    _call_back(harbor, now=now)
    prices.set_price(
        classification="Gold", age_bucket="MONTH_3_TO_5", price=Decimal("11.00"), now=now,
        effective_from=_next_month(now), notes="Demand for fresh ones", actor=staff,
    )  # fmt: skip
    inventory.roll_over(now=now)
    inventory.tidy_stock()
    return harbor


def taken() -> list[str]:
    """Names of ours that a business of somebody else has."""
    there = Business.objects.filter(slug__in=[buyer.slug for buyer in BUYERS]).order_by("slug")
    return [business.slug for business in there if business.owner_email != _mail(business.slug)]


def _mail(slug: str) -> str:
    return f"owner@{slug}.example"


# What was ordered how many days ago.
_HARBOR: Final = {
    46: (Criterion("Gold", "MONTH_6_TO_8", 20, "LA"),),
    39: (Criterion("Gold", "MONTH_12_TO_23", 40), Criterion("Silver", "MONTH_12_TO_23", 40)),
    25: (Criterion("Gold", "MONTH_3_TO_5", 10, "TX", "Harris"),),
    12: (Criterion("Silver", "MONTH_24_PLUS", 100),),
    6: (Criterion("Silver", "MONTH_6_TO_8", 30),),
    2: (Criterion("Gold", "MONTH_9_TO_11", 15),),
}
_SUMMIT: Final = {
    30: (Criterion("Gold", "MONTH_24_PLUS", 60, "FL"),),
    9: (Criterion("Silver", "MONTH_9_TO_11", 45, "FL"), Criterion("Silver", "MONTH_6_TO_8", 20, "GA")),
}


def _open(buyer: DemoBuyer, *, now: datetime) -> Business:
    business = add_business(
        slug=buyer.slug, name=buyer.name, zone=buyer.zone, trade="insurance", owner_name=buyer.contact,
        owner_email=_mail(buyer.slug),
    )  # fmt: skip
    Buyer.objects.create(
        business=business, status=BuyerStatus.ACTIVE, contact_name=buyer.contact, email=_mail(buyer.slug),
        email_verified_at=now, created_at=now, approved_at=now,
    )  # fmt: skip
    return business


def _ingest(name: str, rows: list[dict[str, str]], *, staff: User | None, now: datetime) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, list(SOURCE))
            out.writeheader()
            out.writerows(rows)
        run = ingest.take(run=ingest.begin(name=name, source=path, actor=staff, now=now), now=now)
        assert run is not None  # nobody else reads this folder
        ingest.work_on(run=run, clock=lambda: now, source=path)


def _rows(count: int, *, now: datetime) -> Iterator[dict[str, str]]:
    """Leads of three years, more of the younger ones; a few rows as real files have them: without a date, or with one
    that is none."""
    dice = random.Random(20_251)  # noqa: S311 - the same leads on every machine
    numbers = [
        (place, code, ending)
        for place in _PLACES
        for code in place[1]
        for ending in range(100)
    ]  # fmt: skip
    dice.shuffle(numbers)
    for n, ((state, _, cities), code, ending) in enumerate(numbers[:count]):
        city, county, zip_code = dice.choice(cities)
        first, last = dice.choice(_FIRST.split()), dice.choice(_LAST.split())
        called = now - timedelta(days=20 + 1_050 * dice.random() ** 1.4, seconds=dice.randrange(86_400))
        row = {
            "Mortage ID": f"GC-{40_000 + n}", "Campaign ID": f"LP-{dice.randint(3, 9)}", "Type": "Refinance",
            "Call In Date": f"{called:%m-%d-%Y %H:%M:%S}", "Status": "Callback", "Full Name": f"{first} {last}",
            "First Name": first, "Last Name": last, "Address": f"{dice.randint(100, 9_800)} {_one(dice, _STREETS)}",
            "City": city, "County": county, "State": state, "Zip": zip_code,
            "Mortgage Amount": f"${dice.randrange(60, 420) * 1_000:,}", "Lender": _one(dice, _LENDERS),
            "Sale Date": f"{called - timedelta(days=dice.randint(10, 60)):%m-%d-%Y}", "Agent ID": f"A{dice.randint(11, 48)}",
            "Call In Phone Number": f"{code}55501{ending:02}", "Source": _one(dice, _SOURCES),
        }  # fmt: skip
        if dice.random() < 0.3:
            row["Co-Borrower Name"] = f"{dice.choice(_FIRST.split())} {last}"
        if dice.random() < 0.52:
            row |= {
                "Borrower Age": str(dice.randint(31, 74)), "Borrower Medical Issues": dice.choice(["No", "No", "Yes"]),
                "Borrower Tobacco Use": dice.choice(["No", "No", "Yes"]),
                "Co-Borrower ?": "Yes" if "Co-Borrower Name" in row else "No",
                "Borrower Phone": f"({code}) 555-01{ending:02}",
            }  # fmt: skip
        if n % 601 == 300:
            row["Call In Date"] = "" if n % 2 else f"{called:%Y-%m-%d}"
        yield row


def _buy(business: Business, criteria: tuple[Criterion, ...], *, now: datetime) -> None:
    with only(business):
        try:
            bought = purchases.buy_by_criteria(business=business, criteria=criteria, by=business.owner_name, now=now)
        except Short:  # the dice gave too few of a kind; the demo goes on without this order
            return
        export = exports.ready_or_build(
            business=business,
            purchase=bought.purchase,
            profile=ExportProfile.CSV,
            by=business.owner_name,
            now=now,
        )
        exports.opened(export=export, by=business.owner_name, request_sender="", now=now).close()
    landing.land_due(now=now)


def _give_back(business: Business, *, staff: User | None, now: datetime) -> None:
    """One accepted, one declined, one that waits for staff."""
    with only(business):
        sales = list(Sale.objects.filter(sold_at__gt=now - timedelta(days=9)).order_by("pk")[:3])
        notes = (
            (ReturnReason.WRONG_PERSON, "A tire shop answers. Twice."),
            (ReturnReason.OTHER, "Not interested."),
            (ReturnReason.WRONG_PERSON, "Her nephew has the number now."),
        )
        rows = []
        for sale, (reason, note) in zip(sales, notes, strict=False):
            try:
                rows.append(_ask(business, sale, reason, note, now=now - timedelta(hours=20)))
            except Refused:
                continue
        if len(rows) > 1:
            returns.accept(
                row=rows[0], actor=staff, decision="Thank you for telling us.", now=now - timedelta(hours=17)
            )
            decision = "Being told no is part of aged leads; the number and the person are right."
            returns.decline(row=rows[1], actor=staff, decision=decision, now=now - timedelta(hours=16))
        invoices.issue(business=business, until=now - timedelta(days=20), now=now - timedelta(days=19))


def _ask(business: Business, sale: Sale, reason: ReturnReason, note: str, *, now: datetime) -> Return:
    return returns.ask(business=business, sale_id=sale.pk, reason=reason, note=note, by=business.owner_name, now=now)


def _call_back(business: Business, *, now: datetime) -> None:
    """Somebody who was sold asked not to be contacted again, yesterday evening."""
    with only(business):
        sale = Sale.objects.select_related("lead").order_by("pk").first()
    if sale is not None:
        recalls.forget(
            phone=sale.lead.phone or sale.lead.other_phone, because=GoneBecause.OPTED_OUT, told_by="Phone call",
            now=now - timedelta(hours=14),
        )  # fmt: skip


def _next_month(now: datetime) -> datetime:
    return (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def _one(dice: random.Random, words: str) -> str:
    return dice.choice(words.split("|"))
