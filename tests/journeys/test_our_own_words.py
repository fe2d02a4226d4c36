"""Every text of ours, before a customer's name makes it longer: cheap to send, and never asking for a carrier's word."""

from __future__ import annotations

import pytest

from booking import reminders
from crm import optout, segments
from leads import wording as intake
from telephony import wording as desk

WORDS = {
    "business": "Bristol Plumbing", "service": "AC Repair", "slot": "Fri Nov 21, 11:30 AM-12:30 PM", "name": "Jane",
    "when": "November 21, 2026 at 11:30 AM", "hi": "Hi Jane, ", "phone": " (555) 201-0001", "options": "AC Repair or HVAC",
    "names": "AC Repair or HVAC", "examples": ", for example AC Repair or HVAC",
}  # fmt: skip
TEXTS = [
    (f"{source}.{lang}.{key}", text)
    for source, table in (("leads", intake._TEXTS), ("telephony", desk._TEXTS))
    for lang, texts in table.items()
    for key, text in texts.items()
] + [(f"booking.{lang}.reminder", text) for lang, text in reminders._TEXTS.items()]


@pytest.mark.parametrize("text", [text for _, text in TEXTS], ids=[name for name, _ in TEXTS])
def test_a_text_of_ours_is_plain_gsm_and_invites_no_reserved_word(text):
    said = text.format_map(WORDS)
    assert segments.count(segments.normalise(said)).encoding == "GSM-7"
    assert segments.count(segments.normalise(said)).segments <= 2
    assert optout.invites_reserved_words(said) == ()


def test_the_guard_would_notice():
    assert optout.invites_reserved_words("Reply YES to confirm or CANCEL to cancel.") == ("YES", "CANCEL")
