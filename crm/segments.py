"""What a text costs: which alphabet it needs and how many parts it goes out in.

A text written only in the GSM-7 alphabet fits 160 units in one part; a longer one travels in parts of 153, because each
part then carries a header. One character outside that alphabet moves the whole text to UCS-2: 70 units, or parts of 67.
A character of two units (an extension character of GSM-7, an emoji in UCS-2) is never cut in half by the end of a part.

Source: 3GPP TS 23.038 (alphabets) and 23.040 (concatenation).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

GSM7_SINGLE, GSM7_PART = 160, 153
UCS2_SINGLE, UCS2_PART = 70, 67

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("^{}\\[~]|€\f")  # sent as an escape and a second code, so two units each
_GSM7 = _BASIC | _EXTENSION

_TWINS: dict[str, str] = {
    "'": "‘’‚‛′‵`´ʹʻʼʽ‹›❛❜",
    '"': "“”„‟″‶«»〝〞❝❞",
    "-": "‐‑‒–—―−⁃⸺⸻﹘﹣•",
    "..": "‥",
    "...": "…",
    "/": "⁄∕",
    "~": "∼˜",
    "!!": "‼",
    # One no-break space, pasted from a word processor, would turn an SMS into UCS-2 and double its price.
    " ": "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u0085\u2028\u2029",
    # Nothing to see: soft hyphen, zero-width space, word joiner, byte order mark, and the direction marks that wrap a
    # phone number copied from a contact. The joiner inside an emoji (U+200D) is not among them.
    "": "\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}
_NORMAL = {ord(twin): plain for plain, twins in _TWINS.items() for twin in twins}
_NORMAL |= {0xFF01 + i: chr(0x21 + i) for i in range(0x5E) if chr(0x21 + i) != "`"}  # full-width letters and signs
_NORMAL[0xFF40] = "'"


@dataclass(frozen=True, slots=True)
class SegmentCount:
    """What a text takes. Units are septets in GSM-7 and 16-bit code units in UCS-2.

    `units` is what the characters take themselves; a unit left empty so that a character is not cut is not counted.
    `remaining` is how many units still fit in the last part; `culprits` are the characters that force UCS-2, each once,
    in the order they appear.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int
    remaining: int
    culprits: tuple[str, ...] = ()


def normalise(text: str) -> str:
    """The same words with look-alikes swapped for their GSM-7 twins: curly quotes, dashes, ellipsis, odd spaces.

    Everything else stays, emoji and accented letters too, composed (NFC). Doing it twice changes nothing more.
    """
    # The last NFC joins an accent to its letter when an invisible character stood between them.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).translate(_NORMAL))


def count(text: str) -> SegmentCount:
    """Count `text` exactly as it stands; the sending door counts `normalise(text)`. No text is no segment."""
    if _GSM7.issuperset(text):
        doubles = sum(map(text.count, _EXTENSION))
        return _count("GSM-7", len(text) + doubles, (1 + (char in _EXTENSION) for char in text))
    culprits = tuple(dict.fromkeys(char for char in text if char not in _GSM7))
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    return _count("UCS-2", units, (1 + (char > "\uffff") for char in text), culprits)


def _count(
    encoding: Literal["GSM-7", "UCS-2"], units: int, costs: Iterable[int], culprits: tuple[str, ...] = ()
) -> SegmentCount:
    single, part = (GSM7_SINGLE, GSM7_PART) if encoding == "GSM-7" else (UCS2_SINGLE, UCS2_PART)
    if units <= single:
        return SegmentCount(encoding, units, min(units, 1), single - units, culprits)
    parts, used = 1, 0
    for cost in costs:
        if used + cost > part:
            parts, used = parts + 1, 0
        used += cost
    return SegmentCount(encoding, units, parts, part - used, culprits)
