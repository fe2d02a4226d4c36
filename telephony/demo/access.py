"""Who may look at the demo: accounts with random passwords, and keys for programs.

The passwords stand in `demo_login.txt` in the data folder, readable by its owner only, so that every start can say how
to log in. Keys are shown once, when they are made.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.auth.hashers import make_password

from crm.api_keys import issue_key
from crm.enums import KeyKind, Role
from crm.models import ApiKey, Business, Membership, User
from crm.services import add_member
from marketplace import demo as marketplace
from telephony.demo.businesses import DEMO, DemoBusiness

STAFF_EMAIL: Final = "staff@frontdesk.example"
HELPERS: Final = {"t_acme": "Robin Ames", "bristol": "Kelly Bristol", "nextgen": "Mia Torres"}
_KEYS: Final = (KeyKind.API, KeyKind.OWNER, KeyKind.WIDGET)
_HEADING: Final = (
    "# How to log in to the demo. Passwords are random, made for this installation; delete this file for new ones.\n"
)


@dataclass(frozen=True)
class Account:
    email: str
    name: str
    what: str
    is_platform_staff: bool = False


@dataclass(frozen=True)
class ShownKey:
    business: str
    kind: str
    secret: str


def accounts() -> list[Account]:
    """Everybody who can log in."""
    people = []
    for demo in DEMO:
        people.append(Account(demo.owner_email, demo.owner, f"{demo.name}, owner"))
        people.append(Account(demo.staff_email, HELPERS[demo.slug], f"{demo.name}, staff"))
    buyer = marketplace.BUYERS[0]
    people.append(Account(f"owner@{buyer.slug}.example", buyer.contact, f"{buyer.name}, buys leads"))
    return [*people, Account(STAFF_EMAIL, "Frontdesk Staff", "platform staff: /admin/", is_platform_staff=True)]


def login_file() -> Path:
    return Path(settings.DATA_DIR) / "demo_login.txt"


def open_accounts() -> Mapping[str, str]:
    """Make the accounts that are missing; answer with the passwords by e-mail address. An account whose password is not
    in the file, because the file or the database is new, gets a new one."""
    passwords = _read()
    there = {user.email: user for user in User.objects.filter(email__in=[account.email for account in accounts()])}
    missing = [one for one in accounts() if one.email not in there or one.email not in passwords]
    if not missing:
        return passwords
    fresh = {account.email: _password() for account in missing}
    with ThreadPoolExecutor() as pool:  # slow on purpose, each; together no slower than one
        hashes = dict(zip(fresh, pool.map(make_password, fresh.values()), strict=True))
    for account in missing:
        user = there.get(account.email) or User(email=account.email, name=account.name)
        user.is_staff = user.is_superuser = account.is_platform_staff
        user.password = hashes[account.email]
        user.save()
    passwords |= fresh
    _write(passwords)
    return passwords


def join(business: Business, demo: DemoBusiness) -> tuple[User, User]:
    """Owner and helper of one business, as its members. Needs `open_accounts` first."""
    owner = User.objects.get(email=demo.owner_email)
    helper = User.objects.get(email=demo.staff_email)
    for user, role in ((owner, Role.OWNER), (helper, Role.STAFF)):
        if not Membership.objects.filter(business=business, user=user).exists():
            add_member(business=business, user=user, role=role)
    return owner, helper


def join_buyer(business: Business) -> None:
    """The owner of the demo's buyer of leads, as its member."""
    owner = User.objects.get(email=business.owner_email)
    if not Membership.objects.filter(business=business, user=owner).exists():
        add_member(business=business, user=owner, role=Role.OWNER)


def new_keys(business: Business, *, now: datetime) -> list[ShownKey]:
    """One key of each kind, unless the business has keys already; then nothing."""
    if ApiKey.objects.filter(business=business).exists():
        return []
    return [
        ShownKey(
            business=business.name, kind=str(kind.label),
            secret=issue_key(business=business, kind=kind, now=now, label="Demo", actor_text="seed_demo").secret,
        )
        for kind in _KEYS
    ]  # fmt: skip


def _read() -> dict[str, str]:
    try:
        lines = login_file().read_text().splitlines()
    except FileNotFoundError:
        return {}
    words = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {email: password for email, password, *_ in words}


def _write(passwords: Mapping[str, str]) -> None:
    known = {account.email: account.what for account in accounts()}
    lines = [f"{email:<26} {passwords[email]}   {what}" for email, what in known.items()]
    handle = os.open(login_file(), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(_HEADING + "\n".join(lines) + "\n")


def _password() -> str:
    """Four groups of two syllables: easy to read out and type, and one of 10^15."""
    syllables = [secrets.choice("bdfghjkmnprstvz") + secrets.choice("aeiou") for _ in range(8)]
    return "-".join(a + b for a, b in zip(syllables[::2], syllables[1::2], strict=True))
