"""Which service somebody means, from free text or from a field that should name one.

Words are compared, never letters: "ac" is in "my ac died" but not in "vacuum", "contact" or "hvac". Case, accents,
punctuation and a plural "s" do not matter, so "A/C", "a.c." and "AC" are one word, and "water heaters" is
"water heater". Only the business's own list counts: a word nobody has put in it matches nothing.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service as the business lists it: its name, and other words customers use for it."""

    id: UUID
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A service found in a text."""

    service: ServiceEntry
    phrase: str
    """The name or alias that found it, as the business wrote it."""
    strength: tuple[int, bool]
    """How many words of the text it covers, and whether it is the name: a longer phrase is stronger, and of two as
    long a name is stronger than an alias."""


def match(text: str, services: Sequence[ServiceEntry]) -> list[Match]:
    """Find the service a text speaks of: one match, or none, or several equally strong ones and the caller asks.

    Several come in the order of the list. "Tankless water heater" is the tankless service, not also "water heater".
    """
    words = _words(text)
    best = [found for service in services if (found := _strongest(service, words))]
    strongest = max((found.strength for found in best), default=None)
    return [found for found in best if found.strength == strongest]


def exact(text: str, services: Sequence[ServiceEntry]) -> ServiceEntry | None:
    """The service a whole field names ("ac repair", "A/C  Repair", "acrepair"): by name, else by alias.

    None when nothing in the list is called that, or when two services share the alias.
    """
    wanted = _squeezed(text)
    if not wanted:
        return None
    for service in services:
        if _squeezed(service.name) == wanted:
            return service
    by_alias = [service for service in services if wanted in map(_squeezed, service.aliases)]
    return by_alias[0] if len(by_alias) == 1 else None


def _strongest(service: ServiceEntry, words: list[str]) -> Match | None:
    found = [
        Match(service=service, phrase=phrase, strength=(len(wanted), is_name))
        for phrase, is_name in _phrases(service)
        if _stands_in(wanted := _words(phrase), words)
    ]
    return max(found, key=lambda one: one.strength, default=None)


def _phrases(service: ServiceEntry) -> Iterator[tuple[str, bool]]:
    yield service.name, True
    for alias in service.aliases:
        yield alias, False


def _stands_in(wanted: list[str], words: list[str]) -> bool:
    length = len(wanted)
    return length > 0 and any(words[start : start + length] == wanted for start in range(len(words) - length + 1))


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[^\W_]+", _plain(text))]


def _squeezed(text: str) -> str:
    return "".join(re.findall(r"[^\W_]+", _plain(text)))


def _plain(text: str) -> str:
    """Lower case without accents or possessives, and with initials joined: "A/C" and "a.c." are "ac"."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = re.sub(r"['’](?:s\b)?", "", plain)
    return re.sub(r"\b[^\W\d_](?:[./&][^\W\d_])+\b", lambda initials: re.sub(r"\W", "", initials[0]), plain)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
