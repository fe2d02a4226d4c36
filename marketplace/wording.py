"""How leads, places and money matters are said on a buyer's pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from crm.wording import say_list
from marketplace.allocation import Criterion
from marketplace.enums import AgeBucket, BuyerStatus, Terms
from marketplace.models import Buyer
from marketplace.pricing import say_money

STATES: Final = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "AS": "American Samoa", "CA": "California",
    "CO": "Colorado", "CT": "Connecticut", "DC": "District of Columbia", "DE": "Delaware", "FL": "Florida", "GA": "Georgia",
    "GU": "Guam", "HI": "Hawaii", "IA": "Iowa", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "KS": "Kansas",
    "KY": "Kentucky", "LA": "Louisiana", "MA": "Massachusetts", "MD": "Maryland", "ME": "Maine", "MI": "Michigan",
    "MN": "Minnesota", "MO": "Missouri", "MP": "Northern Mariana Islands", "MS": "Mississippi", "MT": "Montana",
    "NC": "North Carolina", "ND": "North Dakota", "NE": "Nebraska", "NH": "New Hampshire", "NJ": "New Jersey",
    "NM": "New Mexico", "NV": "Nevada", "NY": "New York", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon",
    "PA": "Pennsylvania", "PR": "Puerto Rico", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VA": "Virginia", "VI": "U.S. Virgin Islands", "VT": "Vermont",
    "WA": "Washington", "WI": "Wisconsin", "WV": "West Virginia", "WY": "Wyoming",
}  # fmt: skip


def say_leads(count: int) -> str:
    """“1 lead”, “1,204 leads”."""
    return "1 lead" if count == 1 else f"{count:,} leads"


def say_state(state: str) -> str:
    """“Louisiana” for LA; what stands on the shelf without being a postal code stays as it is."""
    return STATES.get(state, state)


def say_age(bucket: str) -> str:
    """“6 to 8 months”."""
    return str(AgeBucket(bucket).label)


def say_place(state: str, county: str) -> str:
    """“Caddo, Louisiana”; empty for anywhere."""
    return ", ".join(part for part in (county, say_state(state)) if part)


def say_kind(wanted: Criterion) -> str:
    """“Gold, 6 to 8 months, Caddo, Louisiana”."""
    place = say_place(wanted.state, wanted.county)
    return ", ".join(part for part in (wanted.classification, say_age(wanted.age_bucket), place) if part)


def say_wanted(wanted: Criterion) -> str:
    """“50 Gold, 6 to 8 months, Louisiana”."""
    return f"{wanted.quantity:,} {say_kind(wanted)}"


def say_span(amounts: Iterable[Decimal]) -> str:
    """“$8.00”, or “$4.50 to $8.00” when they differ."""
    lowest, *_, highest = sorted([*amounts] * 2)
    return say_money(lowest) if lowest == highest else f"{say_money(lowest)} to {say_money(highest)}"


@dataclass(frozen=True)
class Stock:
    """“324 leads in stock for you”, and “$8.00 each · 50 of them cost $400.00” or what stands in its place."""

    count: str
    cost: str = ""


def say_stock(count: int, *, is_exact: bool, prices: Sequence[Decimal], quantity: int) -> Stock:
    """`prices` are those of the kinds that match; none: nobody has said what they cost."""
    if not count:
        return Stock("Nothing in stock matches")
    found = f"{'' if is_exact else 'Up to '}{say_leads(count)} in stock for you"
    if not prices:
        return Stock(found, "without a price yet, so they cannot be bought")
    if count == 1:
        return Stock(found, say_span(prices))
    some = min(quantity, count)
    which = f"all {count:,} cost" if some == count else f"{some:,} of them cost{'s' if some == 1 else ''}"
    return Stock(found, f"{say_span(prices)} each · {which} {say_span(some * price for price in prices)}")


def say_change(before: Sequence[tuple[Criterion, Decimal]], after: Sequence[tuple[Criterion, Decimal]]) -> str:
    """What has become dearer or cheaper from one quote to the next; empty: nothing."""
    was = {(wanted.classification, wanted.age_bucket): price for wanted, price in before}
    now = {(wanted.classification, wanted.age_bucket): price for wanted, price in after}
    changed = [
        f"{classification}, {say_age(bucket)} now {say_money(price)} each instead of {say_money(old)}"
        for (classification, bucket), price in now.items()
        if (old := was.get((classification, bucket), price)) != price
    ]
    return f"Prices have changed: {say_list(changed)}." if changed else ""


@dataclass(frozen=True)
class Standing:
    """Why an account cannot buy: in a few words, and what happens next."""

    title: str
    text: str
    tone: str = "warning"


def say_standing(buyer: Buyer, *, reason: str = "") -> Standing | None:
    """None: they may buy. `reason` is what staff wrote when they suspended or closed the account."""
    because = f"{reason.strip()} " if reason.strip() else ""
    if buyer.status == BuyerStatus.CLOSED:
        text = f"{because}What you bought stays here to read. Write to us if you want to buy again."
        return Standing("This account is closed", text, "danger")
    if buyer.status == BuyerStatus.SUSPENDED:
        text = f"{because}You can look around and take what you bought; write to us to go on buying."
        return Standing("Buying is suspended", text, "danger")
    if buyer.email_verified_at is None:
        text = f"We sent a link to {buyer.email}. You can buy once it has been opened; the account page sends it again."
        return Standing("Confirm your e-mail address", text)
    if buyer.status == BuyerStatus.PENDING:
        text = "We look at every new account ourselves, and write to you when you can buy. Look around until then."
        return Standing("Your account waits for approval", text)
    return None


@dataclass(frozen=True)
class Paying:
    """How an order would be paid, and what stands on the account before and after it."""

    terms: str
    now: str
    after: str
    is_enough: bool


def say_paying(buyer: Buyer, *, cost: Decimal) -> Paying:
    """“By invoice”, “You owe $120.00”, “$520.00 with this order”."""
    if buyer.terms == Terms.PREPAID:
        left = buyer.balance + buyer.credit_limit
        credit = f", {say_money(buyer.credit_limit)} of it credit" if buyer.credit_limit else ""
        if cost > left:
            missing = f"This order costs {say_money(cost)}: top up {say_money(cost - left)} or order less."
            return Paying("From your wallet", f"{say_money(left)} can be spent{credit}.", missing, is_enough=False)
        after = f"{say_money(left - cost)} can be spent after this order."
        return Paying("From your wallet", f"{say_money(left)} can be spent{credit}.", after, is_enough=True)
    return Paying(
        "By invoice", _say_balance(buyer.balance, "now"), _say_balance(buyer.balance - cost, "with this order"), True
    )


def _say_balance(balance: Decimal, when: str) -> str:
    if balance < 0:
        return f"You owe {say_money(-balance)} {when}."
    return f"You have {say_money(balance)} to your credit {when}." if balance else f"You owe nothing {when}."
