"""The tokens keep their promise: every pair of colours that carries words or a control's edge has enough contrast."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).resolve().parents[2] / "static" / "css" / "tokens.css"
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", TOKENS.read_text())
} | {"on-solid": ("#ffffff", "#ffffff")}

SURFACES = ["surface-0", "surface-1", "surface-2", "surface-3"]
TONES = ["accent", "success", "warning", "danger"]
WORDS = (
    [(words, ground) for words in ("text", "text-muted") for ground in [*SURFACES, *(f"{tone}-tint" for tone in TONES)]]
    + [(tone, ground) for tone in TONES for ground in [*SURFACES[:3], f"{tone}-tint"]]
    + [("on-solid", f"{tone}-solid{state}") for tone in ("accent", "danger") for state in ("", "-hover")]
)
EDGES = [("border-strong", ground) for ground in SURFACES[:3]] + [
    (f"{tone}-solid", ground) for tone in ("accent", "danger") for ground in SURFACES[:2]
]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("words", "ground"), WORDS)
def test_words_can_be_read(words, ground, theme):
    assert contrast(COLOURS[words][theme], COLOURS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_edges_of_controls_can_be_seen(edge, ground, theme):
    assert contrast(COLOURS[edge][theme], COLOURS[ground][theme]) >= 3
