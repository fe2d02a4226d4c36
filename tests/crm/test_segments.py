"""Counting what a text costs, against known cases and against a slow model written another way."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm import segments
from crm.segments import SegmentCount

# 3GPP TS 23.038, row by row of the standard's table (16 columns of 8, the escape left out).
DEFAULT_TABLE = (
    "@£$¥èéùì" "òÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨ" "ΣΘΞÆæßÉ"
    " !\"#¤%&'" "()*+,-./"
    "01234567" "89:;<=>?"
    "¡ABCDEFG" "HIJKLMNO"
    "PQRSTUVW" "XYZÄÖÑÜ§"
    "¿abcdefg" "hijklmno"
    "pqrstuvw" "xyzäöñüà"
)  # fmt: skip
EXTENSION_TABLE = "\f^{}\\[~]|€"


def slow_count(text: str) -> SegmentCount:
    """Lay the characters out one by one, part by part."""
    culprits: list[str] = []
    for char in text:
        if char not in DEFAULT_TABLE and char not in EXTENSION_TABLE and char not in culprits:
            culprits.append(char)
    if culprits:
        letters = [["x"] * (len(char.encode("utf-16-be", "surrogatepass")) // 2) for char in text]
        whole, piece = 70, 67
    else:
        letters = [["esc", char] if char in EXTENSION_TABLE else [char] for char in text]
        whole, piece = 160, 153
    units = sum(len(letter) for letter in letters)
    if units <= whole:
        parts: list[list[str]] = [[unit for letter in letters for unit in letter]] if letters else []
        size = whole
    else:
        parts, size = [[]], piece
        for letter in letters:
            if len(parts[-1]) + len(letter) > size:
                parts.append([])
            parts[-1].extend(letter)
    left = size - len(parts[-1]) if parts else size
    return SegmentCount("UCS-2" if culprits else "GSM-7", units, len(parts), left, tuple(culprits))


ANY_TEXT = st.text(st.one_of(st.sampled_from(DEFAULT_TABLE + EXTENSION_TABLE), st.characters()), max_size=400)
GSM_TEXT = st.text(st.sampled_from(DEFAULT_TABLE + EXTENSION_TABLE), min_size=150, max_size=500)
EMOJI_TEXT = st.text(st.sampled_from("ab ñá\U0001f6bf\U0001f44d‍"), min_size=60, max_size=300)


@settings(deadline=None)
@given(st.one_of(ANY_TEXT, GSM_TEXT, EMOJI_TEXT))
@example("a" * 152 + "€" + "b" * 10)
@example("á" * 66 + "\U0001f44d" + "b" * 10)
def test_the_count_agrees_with_laying_the_characters_out_one_by_one(text):
    assert segments.count(text) == slow_count(text)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "parts", "remaining"),
    [
        ("", "GSM-7", 0, 0, 160),
        ("Hi", "GSM-7", 2, 1, 158),
        ("a" * 160, "GSM-7", 160, 1, 0),
        ("a" * 161, "GSM-7", 161, 2, 145),
        ("a" * 306, "GSM-7", 306, 2, 0),
        ("a" * 307, "GSM-7", 307, 3, 152),
        ("€" * 80, "GSM-7", 160, 1, 0),
        ("€" * 81, "GSM-7", 162, 2, 153 - 10),  # 76 fit in the first part, one unit stays empty
        ("a" * 152 + "€" + "a" * 7, "GSM-7", 161, 2, 153 - 9),  # the euro moves to the second part whole
        ("[{^}]~|\\\f", "GSM-7", 18, 1, 142),
        ("ñ¿¡éü", "GSM-7", 5, 1, 155),
        ("á", "UCS-2", 1, 1, 69),
        ("[á]", "UCS-2", 3, 1, 67),  # brackets cost two only in GSM-7
        ("á" * 70, "UCS-2", 70, 1, 0),
        ("á" * 71, "UCS-2", 71, 2, 63),
        ("\U0001f44d" * 35, "UCS-2", 70, 1, 0),
        ("\U0001f44d" * 36, "UCS-2", 72, 2, 67 - 6),  # 33 fit in the first part, one unit stays empty
        ("\ud83d", "UCS-2", 1, 1, 69),  # half an emoji still counts as what it is
    ],
)
def test_known_texts_take_what_the_standard_says(text, encoding, units, parts, remaining):
    found = segments.count(text)
    assert (found.encoding, found.units, found.segments, found.remaining) == (encoding, units, parts, remaining)


def test_the_characters_that_force_the_expensive_alphabet_are_named_once_in_order():
    assert segments.count("Mañana está aquí, está 👍 €5").culprits == ("á", "í", "👍")
    assert segments.count("Mañana €5").culprits == ()


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("“Don’t” – ‘ok’ — fine…", "\"Don't\" - 'ok' - fine..."),
        ("8:00\u00a0AM\u202f–\u20099:00", "8:00 AM - 9:00"),
        ("a\tb", "a b"),
        ("`code`", "'code'"),
        ("\u202a+1 (555) 123\u20114567\u202c", "+1 (555) 123-4567"),
        ("zero\u200bwidth\ufeff soft\u00adhyphen", "zerowidth softhyphen"),
        ("« Hola »", '" Hola "'),
        ("ＳＴＯＰ！", "STOP!"),
        ("line\u2028line", "line\nline"),
        ("• one", "- one"),
        ("5′ 10″", "5' 10\""),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
    ],
)
def test_look_alikes_become_their_plain_twins(written, sent):
    assert segments.normalise(written) == sent
    assert segments.count(sent).encoding == "GSM-7" or "é" in sent


@pytest.mark.parametrize(
    "text",
    ["Mañana está aquí, ¿sí?", "Thanks 👍🏽 ❤️ 👩‍🔧", "ÀÇñ €5 [a] {b}", "72°F ½ ™", "line\r\nline", "日本", ""],
)
def test_letters_and_emoji_are_left_as_they_are(text):
    assert segments.normalise(text) == text


@settings(deadline=None)
@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing_and_leaves_composed_text(text):
    once = segments.normalise(text)
    assert segments.normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


@settings(deadline=None)
@given(st.text(st.sampled_from(DEFAULT_TABLE + EXTENSION_TABLE)))
def test_what_is_already_cheap_is_not_touched(text):
    assert segments.normalise(text) == text


def test_curly_quotes_from_a_phone_no_longer_double_the_price():
    text = "Hi Ann, it’s Ace Plumbing. We can do Tue 3–4 PM – reply 1, 2 or 3. " + "Thanks for waiting. " * 4
    assert segments.count(text).segments == 3
    assert segments.count(segments.normalise(text)).segments == 1
