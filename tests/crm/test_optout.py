"""Opt-outs in the carriers' words and in people's own, and templates that would invite one by accident."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm import optout
from crm.optout import Keyword

PHRASES = (Path(__file__).parent / "data" / "optout_phrases.txt").read_text(encoding="utf-8").splitlines()
MUST_BE_CAUGHT = [line[1:] for line in PHRASES if line.startswith("+")]
MUST_NOT_BE_CAUGHT = [line[1:] for line in PHRASES if line.startswith("-")]


def is_opt_out(body: str) -> bool:
    return optout.read_keyword(body) == Keyword.STOP or optout.asks_to_stop(body) is not None


# --- what people write ------------------------------------------------------------------------------------------------


def test_the_phrase_list_is_long_and_without_repetition():
    assert len(PHRASES) == len(set(PHRASES)) >= 300
    assert len(MUST_BE_CAUGHT) >= 170
    assert len(MUST_BE_CAUGHT) + len(MUST_NOT_BE_CAUGHT) == len(PHRASES)


def test_at_least_95_of_100_ways_to_say_stop_are_understood():
    missed = [phrase for phrase in MUST_BE_CAUGHT if not is_opt_out(phrase)]
    assert len(missed) <= 0.05 * len(MUST_BE_CAUGHT), "\n".join(missed)


def test_no_talk_about_a_booking_is_taken_for_an_opt_out():
    assert [phrase for phrase in MUST_NOT_BE_CAUGHT if is_opt_out(phrase)] == []


@pytest.mark.parametrize(
    "dress", [str.upper, str.title, "  {}  ".format, "{}!!!".format, "{} 🙏".format, "“{}”".format]
)
def test_dressing_a_phrase_up_changes_nothing(dress):
    plain = [phrase for phrase in MUST_BE_CAUGHT if is_opt_out(phrase) and phrase.isascii()]
    assert [phrase for phrase in plain if not is_opt_out(dress(phrase))] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Please stop texting me. Thanks!", "stop texting"),
        ("Hi. plz STOP   textin me", "STOP   textin"),
        ("ok, take me off your list", "take me off your list"),
        ("I told you: LOSE MY NUMBER", "LOSE MY NUMBER"),
        ("Don’t text me anymore", "Don’t text me"),
        ("Por favor, no me escriban más", "no me escriban"),
        ("quítenme de su lista", "quítenme de su lista"),
        ("STOP 12345", "STOP 12345"),
        ("stop please", "stop please"),
        ("🛑", "🛑"),
        ("ＳＴＯＰ please", "ＳＴＯＰ please"),
    ],
)
def test_the_ledger_gets_the_words_as_they_were_written(body, words):
    assert optout.asks_to_stop(body) == words


@pytest.mark.parametrize(
    "reaction",
    [
        "Liked “Reply STOP to opt out”",
        'Loved "See you Tue. Text STOP to unsubscribe."',
        "Removed a heart from “Reply STOP to opt out”",
        "Reacted 😂 to “Reply STOP to opt out”",
        "👍 to “Reply STOP to opt out”",
        "Le gustó “Responde STOP para dejar de recibir mensajes”",
    ],
)
def test_a_reaction_that_quotes_our_own_footer_is_not_an_opt_out(reaction):
    assert not is_opt_out(reaction)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_an_answer_that_is_part_of_it(body):
    words = optout.asks_to_stop(body)
    assert words is None or (words and words in unicodedata.normalize("NFC", body))


# --- reserved words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "STOP",
        "STOPALL",
        "STOP ALL",
        "UNSUBSCRIBE",
        "END",
        "QUIT",
        "REVOKE",
        "OPTOUT",
        "OPT OUT",
        "CANCEL",
        "ALTO",
        "PARAR",
    ],
)
@pytest.mark.parametrize("dress", ["{}", " {}\n", "{}.", "“{}”!!", "({})", "¡{}!", "{} 👍🏽", "*{}*", "\u200b{}\ufeff"])
def test_every_stop_word_is_read_in_any_dress(word, dress):
    for body in (dress.format(word), dress.format(word.lower()), dress.format(word.title())):
        assert optout.read_keyword(body) == Keyword.STOP


@pytest.mark.parametrize(
    ("body", "keyword"),
    [
        ("Start", Keyword.START),
        ("unstop!", Keyword.START),
        ("HELP?", Keyword.HELP),
        ("info", Keyword.HELP),
        ("ＳＴＯＰ", Keyword.STOP),
        ("S.T.O.P.", Keyword.STOP),
        ("S T O P", Keyword.STOP),
        ("opt-out", Keyword.STOP),
        ("Stop-All", Keyword.STOP),
        ("🛑 stop 🛑", Keyword.STOP),
    ],
)
def test_the_words_of_the_carriers_are_read(body, keyword):
    assert optout.read_keyword(body) == keyword


@pytest.mark.parametrize(
    "body",
    ["", "   ", "🙏", "YES", "y", "1", "2", "3", "no", "stop please", "STOP 12345", "please cancel",
     "cancel my appointment", "nonstop", "the end", "helpful", "start at 9?", "st op", "information", "alto voltaje"],
)  # fmt: skip
def test_a_word_among_others_is_no_keyword(body):
    assert optout.read_keyword(body) is None


@pytest.mark.parametrize(
    ("body", "opt_out_type", "keyword"),
    [
        ("ARRET", "STOP", Keyword.STOP),
        ("Ann, please no more", "stop", Keyword.STOP),
        ("SUBSCRIBE", "START", Keyword.START),
        ("STOP", "HELP", Keyword.HELP),
        ("STOP", "", Keyword.STOP),
        ("STOP", None, Keyword.STOP),
        ("STOP", "SOMETHING NEW", Keyword.STOP),
        ("hello", "SOMETHING NEW", None),
    ],
)
def test_what_the_carrier_read_wins_over_the_text(body, opt_out_type, keyword):
    assert optout.read_keyword(body, opt_out_type=opt_out_type) == keyword


@pytest.mark.parametrize("word", ["STOP", "unsubscribe", " End ", "QUIT", "StopAll", "revoke", "OPTOUT", "cancel\n"])
def test_we_stay_silent_where_the_carrier_confirms(word):
    assert optout.carrier_confirms(word, None)


@pytest.mark.parametrize(
    "body", ["Stop.", "STOP ALL", "opt out", "ALTO", "PARAR", "stop please", "lose my number", "hello", ""]
)
def test_we_confirm_what_the_carrier_does_not_act_on(body):
    assert not optout.carrier_confirms(body, None)
    assert not optout.carrier_confirms(body, "")


def test_a_text_the_carrier_read_is_one_it_answers():
    for opt_out_type in ("STOP", "START", "HELP"):
        assert optout.carrier_confirms("anything", opt_out_type)


@pytest.mark.parametrize(
    "body", ["CANCEL", "cancel.", "“Cancel”", "please cancel", "Cancel, thanks", "ok cancel please"]
)
def test_a_bare_cancel_may_also_mean_the_appointment_and_is_an_opt_out_all_the_same(body):
    assert optout.is_bare_cancel(body)
    assert is_opt_out(body)


@pytest.mark.parametrize(
    "body", ["cancel my appointment", "cancel it", "cancel Tuesday", "cancel cancel", "canceled", "stop", ""]
)
def test_cancel_with_an_object_is_not_bare(body):
    assert not optout.is_bare_cancel(body)


# --- our own templates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("Hi {name}, reply YES to confirm.", ("YES",)),
        ("Reply Yes to keep your spot", ("YES",)),
        ("reply Y", ("YES",)),
        ("Confirm? Y/N", ("YES",)),
        ("text CANCEL", ("CANCEL",)),
        ("Text us back with the word cancel.", ("CANCEL",)),
        ("Reply 1 to confirm or CANCEL if you can't make it", ("CANCEL",)),
        ("YES to confirm, CANCEL to cancel", ("YES", "CANCEL")),
        ("Respond with ‘Yes’ to keep it or “quit” to end", ("YES", "QUIT")),
        ("Txt QUIT to quit", ("QUIT",)),
        ("Reply END to end", ("END",)),
        ("Reply STOP", ("STOP",)),
        ("Reply STOP if you want another time", ("STOP",)),
        ("Reply STOP to cancel your visit", ("STOP",)),
        ("To cancel your visit, text STOP", ("STOP",)),
        ("We stop by at 3, reply STOP if that does not suit", ("STOP",)),
        ("Reply STOP or END to opt out", ("STOP", "END")),
        ("Reply YES, yes or Y. YES to book", ("YES",)),
        ("Responda YES para confirmar", ("YES",)),
        ("Envíe CANCEL para cancelar su cita", ("CANCEL",)),
    ],
)
def test_a_template_that_invites_a_reserved_word_is_told_which(template, words):
    assert optout.invites_reserved_words(template) == words


@pytest.mark.parametrize(
    "template",
    [
        "",
        "Hi {name}, we can do Tue 3:00-4:00 PM. Reply 1 to confirm, 2 for other times, 3 if you can't make it.",
        "Reply 3 to cancel.",
        "Reply 3 to CANCEL",
        "1 for YES, 2 for NO",
        "Call or text us to cancel your appointment.",
        "We'll stop by at 3. Reply 1 if that works.",
        "Say yes to smooth skin!",
        "Yes, we work Sundays. Reply 1 to book.",
        "Your plan ends Friday. Text us to renew.",
        "Reply STOP to opt out.",
        "Reply STOP to stop texts",
        "Reply 'STOP' to unsubscribe.",
        "Reply stop to opt-out",
        "Msg & data rates may apply. Reply HELP for help, STOP to cancel.",
        "Text STOP to end, HELP for help.",
        "STOP=opt out",
        "Reply STOP at any time to opt out",
        "Text STOP to 88202 to opt out",
        "To end messages, reply STOP",
        "Opt out anytime by texting STOP",
        "Responde STOP para dejar de recibir mensajes",
    ],
)
def test_offers_of_1_2_3_and_the_legal_footer_are_fine(template):
    assert optout.invites_reserved_words(template) == ()
