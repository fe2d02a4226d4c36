"""Who the three businesses are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Final

from booking.setup import ServiceDraft
from crm.models import Business

OpeningHours = tuple[int, time, time]  # weekday with Monday 0, opens, closes


@dataclass(frozen=True)
class Town:
    """Where customers live. `area_code` with 555-01xx gives numbers that belong to nobody."""

    name: str
    zip_code: str
    area_code: str
    streets: tuple[str, ...]


@dataclass(frozen=True)
class DemoBusiness:
    """The facts of one business. `pace` is how many people ask for something per day, Monday first."""

    slug: str
    name: str
    trade: str
    zone: str
    town: Town
    address: str
    number: str
    public_phone: str
    owner: str
    owner_phone: str
    staff: tuple[str, ...]
    services: tuple[ServiceDraft, ...]
    hours: tuple[OpeningHours, ...]
    pace: tuple[int, ...]
    grid_minutes: int
    travel_minutes: int = 0
    open_intake: bool = False
    private_health: bool = False
    visits_at_home: bool = True

    @property
    def domain(self) -> str:
        return f"{self.slug.removeprefix('t_')}.example"

    @property
    def owner_email(self) -> str:
        return f"owner@{self.domain}"

    @property
    def staff_email(self) -> str:
        return f"staff@{self.domain}"


def _every(days: Sequence[int], opens: int, closes: int) -> tuple[OpeningHours, ...]:
    return tuple((day, time(opens), time(closes)) for day in days)


def _priced(name: str, minutes: int, low: int, high: int, *aliases: str, note: str = "") -> ServiceDraft:
    return ServiceDraft(name, minutes, Decimal(low), Decimal(high), aliases, note)


WEEKDAYS: Final = range(5)
SATURDAY: Final = (5,)

ACME: Final = DemoBusiness(
    slug="t_acme",
    name="Acme HVAC",
    trade="heating, cooling and home repair",
    zone="America/New_York",
    town=Town(
        "Albany, NY", "12203", "518",
        ("Maple Ave", "Western Ave", "New Scotland Ave", "Madison Ave", "Pine St", "Delaware Ave", "Elk St", "Oak St"),
    ),
    address="410 Central Ave, Albany, NY 12206",
    number="+15552010001",
    public_phone="(555) 201-0001",
    owner="Dana Whitfield",
    owner_phone="+15552019001",
    staff=("Luis Ortega", "Pete Kowalski", "Renee Baptiste"),
    services=(
        _priced("AC Repair", 60, 120, 480, "ac", "a/c", "air conditioning", "air conditioner", "central air"),
        _priced("HVAC", 90, 140, 620, "furnace", "heating", "heater", "heat pump", "boiler", "thermostat"),
        _priced("Plumbing", 60, 150, 450, "plumber", "leak", "leaking", "clogged drain", "faucet"),
        _priced("Electrical", 60, 130, 400, "electrician", "outlet", "breaker", "light switch"),
        _priced("Installation", 180, 900, 6500, "install", "new unit", "mini split", note="Measuring is free."),
    ),
    hours=(*_every(WEEKDAYS, 8, 17), *_every(SATURDAY, 9, 13)),
    pace=(5, 5, 4, 4, 5, 2, 1),
    grid_minutes=30,
    travel_minutes=30,
    open_intake=True,
)  # fmt: skip

BRISTOL: Final = DemoBusiness(
    slug="bristol",
    name="Bristol Plumbing",
    trade="plumbing",
    zone="America/Chicago",
    town=Town(
        "Merriam, KS", "66203", "913",
        ("Antioch Rd", "W 61st St", "Knox Ave", "Grandview St", "Hocker Dr", "Eby Ave", "Switzer Rd", "Merriam Dr"),
    ),
    address="9000 W 62nd Ter, Merriam, KS 66202",
    number="+19135550140",
    public_phone="(913) 555-0140",
    owner="Walt Bristol",
    owner_phone="+19135550141",
    staff=("Marcus Reed", "Jo Lindqvist", "Andre Pacheco", "Sam Bristol"),
    services=(
        _priced("Tankless Water Heater", 240, 2500, 4500, "tankless", "tankless heater", "on demand water heater"),
        _priced("Water Heater", 120, 1500, 2800, "hot water tank", "hot water heater", "no hot water"),
        _priced("Drain and Sewer", 90, 350, 900, "drain", "sewer", "clogged", "clog", "backed up", "slow drain"),
        _priced("Sump Pump", 90, 600, 1500, "sump"),
        _priced(
            "Fixtures and Leaks", 60, 150, 450,
            "leak", "leaking", "leaky", "dripping", "faucet", "toilet", "shower", "fixture",
        ),
        _priced("Gas Line", 120, 800, 2500, "gas", "gas pipe", note="Smell gas? Leave the house and call 911 first."),
        _priced(
            "General Plumbing", 60, 200, 600, "plumber", "plumbing", "garbage disposal", "hose bib",
            note="Burst pipe or flooding: text or call at any hour, a person answers.",
        ),
    ),
    hours=_every(WEEKDAYS, 8, 17),
    pace=(6, 5, 5, 5, 5, 2, 2),
    grid_minutes=30,
    travel_minutes=30,
)  # fmt: skip

NEXTGEN: Final = DemoBusiness(
    slug="nextgen",
    name="NextGen MedSpa",
    trade="med spa",
    zone="America/New_York",
    town=Town(
        "Hatfield, MA", "01038", "413",
        ("Main St", "Elm St", "Prospect St", "School St", "Bridge St", "Maple St", "North St", "Chestnut St"),
    ),
    address="12 West St, Hatfield, MA 01038",
    number="+14135550124",
    public_phone="(413) 555-0123",
    owner="Priya Raman",
    owner_phone="+14135550199",
    staff=("Elena Duarte", "Grace Kim", "Naomi Clarke", "Tess Moreau"),
    services=(
        ServiceDraft("Laser Hair Reduction", 30, aliases=("laser hair", "laser hair removal", "hair removal")),
        ServiceDraft("Carbon Laser Facial", 45, aliases=("carbon facial", "carbon laser")),
        ServiceDraft("IPL Treatments", 45, aliases=("ipl", "photofacial")),
        ServiceDraft("Pico Laser Facial", 60, aliases=("pico", "pico laser")),
        ServiceDraft("Morpheus8 RF Microneedling", 60, aliases=("morpheus8", "morpheus", "microneedling")),
        ServiceDraft("HydraFacial", 60, aliases=("hydra facial",)),
        ServiceDraft("Glo2Facial by Geneo", 60, aliases=("glo2facial", "glo2 facial", "geneo")),
        ServiceDraft("Chemical Peels", 45, aliases=("chemical peel", "peel")),
        ServiceDraft("Dermaplane", 45, aliases=("dermaplaning",)),
        ServiceDraft("Body Scrubs", 45, aliases=("body scrub", "scrub")),
        ServiceDraft("Waxing Services", 45, aliases=("wax", "waxing", "brow wax")),
        ServiceDraft("NeveSkin Body Contouring", 30, aliases=("neveskin", "body contouring")),
        ServiceDraft(
            "Consultations", 30, Decimal(50), Decimal(50), aliases=("consultation", "consult"),
            note="The $50 fee is applied to future services.",
        ),
    ),
    hours=(*_every(WEEKDAYS, 9, 19), *_every(SATURDAY, 9, 15)),
    pace=(7, 6, 6, 6, 7, 5, 2),
    grid_minutes=15,
    private_health=True,
    visits_at_home=False,
)  # fmt: skip

DEMO: Final = (ACME, BRISTOL, NEXTGEN)
# The number everybody tries first: a customer of Acme, and by it an API client's chat finds Acme.
JANE_PHONE: Final = "+15551234567"


def is_demo(business: Business) -> bool:
    """Ours, and not somebody's own business that happens to have the name."""
    return any(business.slug == demo.slug and business.owner_email == demo.owner_email for demo in DEMO)
