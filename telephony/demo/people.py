"""The customers: names one might meet, numbers nobody has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from telephony.demo.businesses import ACME, JANE_PHONE, DemoBusiness

_FIRST: Final = (
    "Maria", "Kevin", "Aisha", "Tom", "Priscilla", "Diego", "Hannah", "Marcus", "Linda", "Omar", "Beth", "Samuel",
    "Yuki", "Carla", "Derek", "Fatima", "George", "Nina", "Paul", "Rosa", "Jamal", "Ellen", "Victor", "Grace", "Ivan",
    "Teresa", "Colin", "Mei", "Frank", "Naomi", "Raj", "Sophie", "Walter", "Lena", "Hector", "Joan", "Brian", "Ingrid",
    "Curtis", "Amara", "Neil", "Paula", "Andre", "Wendy", "Luis", "Claire", "Dennis", "Tanya",
)  # fmt: skip
_LAST: Final = (
    "Lopez", "Brennan", "Hassan", "Whitaker", "Nguyen", "Romero", "Schultz", "Okafor", "Feldman", "Delgado", "Marsh",
    "Kaplan", "Tanaka", "Bianchi", "Olsen", "Rahimi", "Pruitt", "Petrov", "Sandoval", "Gallagher", "Mbeki", "Novak",
    "Castillo", "Ferris", "Haddad", "Quinn", "Larsen", "Chen", "Doyle", "Ortiz", "Patel", "Vaughn", "Becker", "Salas",
    "Mercer", "Yates", "Dunn", "Kowal", "Abbott", "Rivera", "Stone", "Moreno", "Fields", "Ng", "Carver", "Holt",
    "Ibarra",
)  # fmt: skip
REGULARS: Final = 64  # customers whose story the diary tells
WALK_INS: Final = 24  # those who turn up in the last hour, a few each day
# 555-0100 to 555-0199 belong to nobody; these five are the businesses' own.
_ENDINGS: Final = tuple(ending for ending in range(100) if ending not in (23, 24, 40, 41, 99))


@dataclass(frozen=True)
class Person:
    """A customer of one business. `phone` is E.164; the address is where the work is done, if that is at their home."""

    name: str
    phone: str
    address: str
    email: str

    @property
    def first_name(self) -> str:
        return self.name.split()[0]


def regulars(demo: DemoBusiness) -> tuple[Person, ...]:
    people = tuple(_person(demo, n) for n in range(REGULARS))
    return (JANE, *people[1:]) if demo is ACME else people


def walk_ins(demo: DemoBusiness) -> tuple[Person, ...]:
    return tuple(_person(demo, n) for n in range(REGULARS, REGULARS + WALK_INS))


def everybody(demo: DemoBusiness) -> tuple[Person, ...]:
    return regulars(demo) + walk_ins(demo)


JANE: Final = Person(
    name="Jane Doe", phone=JANE_PHONE, address="123 Maple Ave, Albany, NY 12203", email="jane.doe@example.com"
)


def _person(demo: DemoBusiness, n: int) -> Person:
    # Steps that share no factor with the lists' lengths (48 and 47), so 88 people of a business have 88 names; another
    # beginning per business, so that two businesses do not serve the same crowd.
    start = len(demo.name) * 5 + len(demo.town.name)
    first = _FIRST[(start + 11 * n) % len(_FIRST)]
    last = _LAST[(2 * start + 13 * n) % len(_LAST)]
    street = demo.town.streets[(3 * n + n // 8) % len(demo.town.streets)]
    return Person(
        name=f"{first} {last}",
        phone=f"+1{demo.town.area_code}55501{_ENDINGS[n]:02}",
        address=f"{101 + (n * 37) % 890} {street}, {demo.town.name} {demo.town.zip_code}"
        if demo.visits_at_home
        else "",
        email=f"{first}.{last}@example.com".lower() if n % 3 == 0 else "",
    )
