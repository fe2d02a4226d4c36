"""Who does something to a lead, as it is written down: a person, a program with a key, or Frontdesk itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crm.models import ApiKey, User


@dataclass(frozen=True)
class By:
    """`text` is kept also when the account or the key is gone."""

    text: str
    user: User | None = None


FRONTDESK: Final = By("Frontdesk")


def person(user: User) -> By:
    return By(user.get_full_name()[:120], user)


def program(key: ApiKey) -> By:
    return By(f"API key {key.label or key.prefix}"[:120])
