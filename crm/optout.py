"""Reading an opt-out, and keeping our own texts from inviting one by accident.

Two readings, in the order the router asks them: `read_keyword` knows the exact words carriers reserve, `asks_to_stop`
knows how people say it ("take me off your list"). The law counts any reasonable way of saying stop (47 CFR
64.1200(a)(10)), so a doubtful text is an opt-out, while talk about a booking ("can you stop by?") never is.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Keyword(StrEnum):
    STOP = "STOP"
    START = "START"
    HELP = "HELP"


_KEYWORDS = {
    word: keyword
    for keyword, words in {
        Keyword.STOP: "stop, stopall, stop all, unsubscribe, end, quit, revoke, optout, opt out, cancel, alto, parar",
        Keyword.START: "start, unstop",
        Keyword.HELP: "help, info",
    }.items()
    for word in words.split(", ")
}
# Twilio's default list for long codes; it answers these itself and only when the word stands alone.
_CARRIER_STOPS = frozenset({"stop", "unsubscribe", "end", "quit", "stopall", "revoke", "optout", "cancel"})
_POLITE = frozenset({"please", "thanks", "thank", "you", "ok", "okay", "hi", "hello"})


def read_keyword(body: str, *, opt_out_type: str | None = None) -> Keyword | None:
    """The reserved word a text consists of, whatever its case, width, punctuation, quotes and emoji; else None.

    Twilio's `OptOutType` (STOP, START, HELP), when it is one, wins over the text: it knows the words we were not told.
    """
    told = (opt_out_type or "").strip().upper()
    if told in Keyword.__members__:
        return Keyword[told]
    tokens = (token[0] for token in _TOKEN.finditer(unicodedata.normalize("NFC", body)))
    words = [_fold(token) for token in tokens if token not in _SIGNS]
    spelled = len(words) > 1 and all(len(word) == 1 for word in words)  # S.T.O.P
    return _KEYWORDS.get(("" if spelled else " ").join(words))


def carrier_confirms(body: str, opt_out_type: str | None = None) -> bool:
    """Whether the carrier itself answers this text, so that we stay silent.

    Strict on purpose: it answers a bare "stop" but not "stop please", and a confirmation of ours that was not needed is
    refused by the carrier, while one that is missing leaves the person without an answer.
    """
    return (opt_out_type or "").strip().upper() in Keyword.__members__ or body.strip().casefold() in _CARRIER_STOPS


def is_bare_cancel(body: str) -> bool:
    """CANCEL with nothing else but politeness. It is an opt-out, and may also mean an appointment; do both."""
    words = [word for word in _Reading(body).text.split() if word != "."]
    return words.count("cancel") == 1 and _POLITE.issuperset(word for word in words if word != "cancel")


def asks_to_stop(body: str) -> str | None:
    """The words with which a person asks us in plain language to stop texting, as they wrote them; None if they do not.

    For the ledger. Reads English and Spanish. A reaction that quotes our own text back ('Liked "... STOP ..."') is not
    theirs and asks for nothing.
    """
    if is_reaction(body):
        return None
    reading = _Reading(body)
    for rule in _RULES:
        for match in rule.matches(reading.text):
            return reading.as_written(match)
    return None


def is_reaction(body: str) -> bool:
    """Whether a phone turned a thumb or a heart on a text of ours into words: 'Liked "…"'. The quoted part is ours."""
    return _TAPBACK.match(body) is not None


def invites_reserved_words(template: str) -> tuple[str, ...]:
    """Words a template offers as an answer although carriers act on them: YES (or Y), STOP, CANCEL, END, QUIT.

    A template that has any is refused when saved. STOP is allowed where it is said to end the texts ("Reply STOP to opt
    out"), and nowhere else. In the order they appear.
    """
    found: dict[str, None] = {}
    for sentence in _SENTENCE_END.split(unicodedata.normalize("NFKC", template).translate(_STRAIGHT_QUOTES)):
        for match in _RESERVED.finditer(sentence):
            word = match["word"].upper()
            before = sentence[max(0, match.start() - 160) : match.start()]
            after = sentence[match.end() : match.end() + 160]
            stands_out = match["word"].isupper() or bool(match["quote"])
            invited = _ASKED_FOR_THIS.search(before) or (stands_out and (_ASKED.search(before) or _MEANS.match(after)))
            ends_texts = word == "STOP" and (_ENDS_TEXTS.match(after) or _TO_END_TEXTS.search(before))
            if invited and not ends_texts and not _MEANING.search(before):
                found["YES" if word == "Y" else word] = None
    return tuple(found)


# ---- templates -------------------------------------------------------------------------------------------------------

_STRAIGHT_QUOTES = str.maketrans("‘’“”«»", '\'\'""""')
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_RESERVED = re.compile(r"(?P<quote>['\"]?)\b(?P<word>yes|y|stop|cancel|end|quit)\b['\")]*", re.I)
_ANSWER = (
    r"\b(reply|replying|text|texting|txt|respond|responding|answer|send|type|return|message"
    r"|respond[ae]|contest[ae]|env[ií][ae]|escrib[ae]|mand[ae])\b"
)
# An asking somewhere before: "Reply 1 to confirm or CANCEL".
_ASKED = re.compile(rf"{_ANSWER}|\b(write|say|enter|press)\b", re.I)
# An asking right before, where the word counts in any case: "reply yes", "text us back with the word yes".
_ASKED_FOR_THIS = re.compile(
    rf"{_ANSWER}(\s+(with|back|us|me|just|simply|only|either|the\s+word|an?|simple|quick|in|con|la\s+palabra"
    rf"|un))*[\s:(]*$",
    re.I,
)
# No asking at all, but a meaning given: "YES to confirm", "CANCEL = can't make it", "Y/N".
_MEANS = re.compile(r"\s*(=|/|:|->|\b(to|if|para|si|or\s+(no|n))\b)", re.I)
# The other way round it is only a meaning: "1 for YES", "3 to CANCEL".
_MEANING = re.compile(r"(\b(to|for|para|means|is)|=)\s*$", re.I)
# "STOP to opt out", "STOP to cancel", "to end texts, reply STOP"; but not "STOP to cancel your visit".
_NO_MORE_TEXTS = (
    r"(opt(ing)?[\s-]?out|unsubscrib(e|ing)|unsub|no longer (receive|get)|dejar de recibir|no recibir|darse de baja"
    r"|(stop|end|quit|cancel|cancelar|parar)(?=[\s,]*($|[;)&+|/]|(or|and|anytime|at any time|help|just|simply"
    r"|reply|text|txt|send|y|o)\b|((receiving|getting|these|the|our|all|future|further|any|more|los|las|estos|de) )*"
    r"(sms|texts?|texting|messages|messaging|msgs|alerts|notifications|promos|promotions|updates|reminders|subscription"
    r"|mensajes|textos|suscripci[oó]n)\b)))\b"
)
_ENDS_TEXTS = re.compile(
    r"(\s+(at any ?time|anytime|now|to [0-9]{3,6}))*"
    rf"\s*(=|:|-|\bto\b|\b2\b|\bpara\b|\bif you('d| would)? (want|like|wish) to\b)\s*{_NO_MORE_TEXTS}",
    re.I,
)
_TO_END_TEXTS = re.compile(
    rf"{_NO_MORE_TEXTS}[^;]{{0,40}}?\b(reply|replying|text|texting|txt|send|sending|responda|responde|envíe"
    rf"|envía)\s*$",
    re.I,
)

# ---- how people write ------------------------------------------------------------------------------------------------

_STOP_SIGN = "\N{OCTAGONAL SIGN}"
_SIGNS = frozenset({_STOP_SIGN, "#"})
_TOKEN = re.compile(rf"[^\W_]+(['’‘`´ʼ][^\W_]+)*|{'|'.join(_SIGNS)}")
_BREAK = re.compile(r"[.!?;:,\n\r()\[\]\"“”«»…|¿¡—–]|\s-+\s")
_APOSTROPHES = re.compile(r"['’‘`´ʼ]")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")  # stoooop
_TAPBACK = re.compile(
    r"\s*(liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted .{1,12} to|removed an? .{1,20} from"
    r"|le (gustó|encantó)|me (gustó|encantó)|[^\w\s]{1,8}\s*to)\s*[“\"«].*[”\"»]\s*$",
    re.I | re.S,
)
_SPELLINGS = {
    "you": "u yall yu",
    "your": "ur yr yur yalls",
    "please": "plz pls plse plase pleas pleae plez pleese plis kindly",
    "text": "txt tex tx texr",
    "texts": "txts texs",
    "texting": "txting textin txtin texing textng textig texitng",
    "message": "msg mssg mesage messege messge",
    "messages": "msgs mssgs mesages messeges messges",
    "messaging": "msging messagin msgin",
    "stop": f"stp sotp stpo stopp stahp stpp {_STOP_SIGN}",
    "dont": "dnt dontt",
    "do not": "donot",
    "no more": "nomore",
    "anymore": "nymore anymor",
    "remove": "remov remve rmv",
    "take": "tke tk takes",
    "with": "w wit",
    "again": "agian agn",
    "number": "# num nbr numbr numer",
    "calling": "callin",
    "sending": "sendin",
    "bothering": "botherin",
    "fuck": "fck fuk",
    "alone": "alown alon",
    "opt out": "optout",
    "opt me out": "optmeout",
}
_SPELLED = {typed: meant for meant, variants in _SPELLINGS.items() for typed in variants.split()}
_SWEARING = frozenset(
    ["fucking", "fuckin", "fkn", "fking", "fn", "effing", "damn", "dam", "damned", "goddamn", "bloody", "freaking"]
    + ["freakin", "frickin", "friggin", "motherfucking"]
)


def _fold(token: str) -> str:
    """One word without case, width, accents, apostrophes: "DON’T" is dont, "Quítame" is quitame."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", token) if not unicodedata.combining(c))
    return _APOSTROPHES.sub("", plain).casefold()


class _Reading:
    """A text as the rules see it: plain words in the usual spelling, " . " where a clause ends, and at both ends."""

    def __init__(self, body: str) -> None:
        self._body = unicodedata.normalize("NFC", body)
        self._starts: list[int] = []  # where each word begins in `text` ...
        self._spans: list[tuple[int, int]] = []  # ... and where it was written in the body
        parts, length, end = ["."], 1, 0
        for token in _TOKEN.finditer(self._body):
            if _BREAK.search(self._body, end, token.start()) and parts[-1] != ".":
                parts.append(".")
                length += 2
            end = token.end()
            word = _DRAWN_OUT.sub(r"\1", _fold(token[0]))
            word = _SPELLED.get(word, word)
            if word in _SWEARING or not word:
                continue
            self._starts.append(length + 1)
            self._spans.append(token.span())
            parts.append(word)
            length += 1 + len(word)
        if parts[-1] != ".":
            parts.append(".")
        self.text = " ".join(parts)

    def as_written(self, match: re.Match[str]) -> str:
        first = bisect_right(self._starts, match.start())  # a rule may begin with the "." before its first word
        first = first if match[0].startswith(".") else first - 1
        last = bisect_right(self._starts, match.end() - 1) - 1
        return self._body[self._spans[first][0] : self._spans[last][1]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One way to say it. `unless` must not stand right before it; `calls` marks one that is only about calls."""

    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None = None
    calls: bool = False

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        for match in self.pattern.finditer(text):
            before = text[max(0, match.start() - 60) : match.start()]
            if self.unless is not None and self.unless.search(before):
                continue
            if self.calls and _RATHER_TEXT.search(text):
                continue
            yield match


# "stop calling, text me instead" takes back calls and asks for texts.
_RATHER_TEXT = re.compile(
    r"\b(text|message|sms)(ing)? ((me|us) )?(instead|is (better|fine|best|ok|easier)|only|works|please)|\. text \."
    r"|\b(just|only|rather|can you|please|prefer( a)?|but) (send (me )?a )?(text|message)s?\b"
    r"|\b(by|via|over) text\b"
)

# ---- the ways to say it ----------------------------------------------------------------------------------------------
# Every pattern runs over a `_Reading`: folded words in the usual spelling, one space apart, " . " between clauses.


def _one_of(words: str) -> str:
    """A pattern for any of these words or phrases, separated by commas."""
    return f"({'|'.join(word.strip() for word in words.split(','))})"


def _up_to(most: int, words: str) -> str:
    """A pattern for up to `most` of these words, each with the space after it."""
    return f"({_one_of(words)} ){{0,{most}}}"


def _before(*patterns: str) -> re.Pattern[str]:
    """What may stand right before a match and change its meaning."""
    return re.compile(rf"\b({'|'.join(patterns)}) $")


def _rule(pattern: str, *, unless: re.Pattern[str] | None = None, calls: bool = False) -> _Rule:
    return _Rule(re.compile(pattern), unless, calls)


_START, _END = r"(?<=\. )", r"(?= \.)"  # of a clause

# "please don't stop texting me", "did you lose my number?", "my last plumber quit calling me", "I'll stop texting now"
_DENIED_BY = (
    r"((?<!why )dont|do not|didnt|did not|(?<!you )never|(?<!will )(?<!you )not|no need to|have you|did (you|they|i|it)"
    r"|(was|am|were) i)( (to|want|wanna|ever|please|just|mean|meant|trying|need|have|get|got|you|ask|asked|be"
    r"|accidentally)){0,3}"
    r"|(he|she|they|who|phone|plumber|guy|tech|technician|company|contractor|person)"
    r"( (just|has|had))?"
)
_MYSELF = "(?<!do )(?<!can )i|ill|i will|we will|i would|id"
_HAVING = "have|had|has|got|get|getting|see|saw|received|there are|theres|there were|still|is|was|why|how come"
_DENIED = _before(_DENIED_BY)
_DENIED_OR_HAD = _before(_DENIED_BY, _MYSELF, _HAVING)
_HAD = _before(_HAVING)
_TOLD_OF_SOMEBODY = _before(
    r"(why|if|he|she|they|we|i|it|who|you|phone|tech|plumber|guy|unless)( (just|also|usually|still))?"
)
_ASKED_WHEN = _before(r"(did|do|does|when|got)( \w+){0,2}")
_GAVE_IT = _before(
    r"(gave|give|put|typed|entered|wrote|listed|texted|dialed|called|sent|billed|charged|hired|had|has|if|is it|is this"
    r"|did i|di|puse|escribi|marque|dimos|mi)( \w+){0,3}"
)
# "the leak won't stop", "the last stop", "can you make it stop", "I texted stop"
_SOMETHING_ELSE_STOPS = _before(
    "wont|not|to|never|cant|cannot|doesnt|didnt|dont|does|did|do|it|them|will|would|can|could|should|must|might|may",
    "main|bus|truck|last|next|full|pit|the|an?|one|quick|first|second|non|another|every|final|just|rest|your|my|our",
    "i|we|you|they|he|she|said|texted|typed|pressed|reply|replied|word|wrote|sent",
    r"angle|supply|corner|curb|valve|e|water|leak\w*|drip\w*|noise|beeping|alarm|door|gas|emergency|pump|toilet|fan|tub"
    r"|gutter|flush|bleeding|pain",
)

_POLITELY = _one_of(", ".join(sorted(_POLITE)))
_ONLY_WORD = _one_of(
    "stop, stopall, unsubscribe, opt out, revoke, halt, cease, desist, alto, basta, detente,(?<!no )(pare|paren|parar)"
)
_AROUND_IT = _one_of(
    "please, it, this, that, all, now, already, again, ok, okay, thanks, thank, you, hi, hello, hey, i, me, said,"
    "just, no,"
    "yes, the, omg, lol, wtf, ffs, ugh, fuck, hell, man, dude, bro, sir, maam, guys, bot, robot, beg, begging,"
    "immediately,"
    r"right, asap, seriously, por, favor, ya, gracias, lo, \d+"
)
_STOP = r"\b" + _one_of(
    "stop, quit, cease, halt, discontinue, desist, no more, no further, knock off, knock it off, cut out, cut it out,"
    "lay off"
)
_FILL = _up_to(
    5,
    "it, with, by, me, us, my, our, all, of, the, your, these, those, this, that, any, more, further, future, such, so,"
    "many, sending, getting, receiving, trying to, stupid, annoying, automated, auto, dumb, constant, endless, daily,"
    "crazy,"
    "unwanted, unsolicited, please, always, random",
)
_TEXTS = (
    r"(text(s|ing|ings)?|messag(es?|ing)|sms|mms|communicat\w+|correspondence|contact(ing|s)?|spam(s|ming)?"
    r"|notifications?|alerts?|promo(s|tions?|tional)?|ads?|advert\w*|solicit\w*|marketing|blasts?|offers?|newsletters?"
    r"|coupons?|emails?|emailing|reminders|updates)\b"
)
_PESTERING = (
    r"(bother(ing)?|bugging|harr?ass\w*|pester\w*|hounding|stalking|annoying|disturbing|notifying|reaching out"
    r"|(?<=trying to )(reach|sell|get) (me|us|a hold|ahold|hold)|hitting? (me|us|my)|hittin (me|us|my)"
    r"|blowing (up )?(my|me|our)|writing (me|us))\b"
)
_STUFF = _one_of(
    "anything, everything, stuff, crap, shit, bs, junk, garbage, trash, things?, nonsense, these, this, those, it"
)
_DONT = r"\b(dont|do not|never|please no) " + _up_to(3, "you, ever, please, even, dare, want, need, like, try, to")
_FAMILY = "my " + _one_of(
    "phone, number, cell, line, wife, husband, mom, mother, dad, father, son, daughter, kids?, family, parents, work,"
    "job,"
    "house, home"
)
_US = rf"(me|us|it|here|this|{_FAMILY}|our \w+)"
_OUR_NUMBER = (
    r"(me|us|(all )?(of )?(my|our|her|his|their) ((phone|cell|mobile|home|work|contact|personal|telephone) )?"
    r"(number|name|info|information|phone|cell|contact info|contact|details|data|records?)"
    r"|(this|the|that) ((phone|cell|mobile) )?number|this phone|number"
    r"|my (wife|husband|mom|mother|dad|father|son|daughter)s?( number)?)( and ((my|our|the) )?(number|name|info"
    r"|phone))?"
)
_DIARY = (
    r"(schedule|calendar|appointments?|appt|bookings?|waitlist|wait list|waiting list|standby|cancellation|mon(day)?s?"
    r"|tue\w*|wed\w*|thu\w*|fri(day)?s?|sat(urday)?s?|sun(day)?s?|today\w*|tomorrow\w*|jobs?|work order|route|morning"
    r"|afternoon|slot|visit|account|invoice|bill|quote|estimate|policy|lease|\d\w*)\b"
)
_NOT_FROM_THE_DIARY = (
    rf"\b(?! (from|off|on|for|at|out)( of)?( (the|your|my|our|a|this|that|next|all))?( \w+)?? {_DIARY})"
)
_YOUR_LIST = (
    rf"(?! (\w+ )?(waiting|wait|guest|parts|{_DIARY}))( \w+){{0,2}}?"
    r" (lists?|system|database|records|contacts|group|thread|chat|texts?|messages|texting( \w+)?|phone ?book|campaign"
    r"|mailing|everything)\b"
)
_OF_YOUR = r"( (of|from|your|the|this|that|these|those|all|any|my)){0,3}"
_WITH_A_THREAT = (
    r"( \.)?( (and|or|then))? (i|ill|im|we|well|were|my)( (will|am|are|going to|gonna|be))*"
    r" (sue|suing|report|block|file|filing|press|seek|take legal|lawyer|attorney"
    r"|(call|contact|get)(ing|ting)? ((a|my|the) )?(lawyer|attorney|cops|police|fcc))"
)
# "don't text me before 8" asks for another hour, not for silence.
_BUT_NOT_AT_AN_HOUR = (
    r"(?! (before|until|till|while|during|between|unless(?! i)|if|when|right now|at night|at \d+|after (?!today|this"
    r"|that)"
    r"|in the|on (mon|tue|wed|thu|fri|sat|sun|week)|the|a|an|pics?|pictures|photos|\d+)\b)(?! \w+ (before|after"
    r"|until) \d)"
)

_ENGLISH = (
    # The word itself: alone, repeated, with politeness or a code around it; as a clause of its own; at either end.
    _rule(rf"^\. (({_AROUND_IT}|\.) )*{_ONLY_WORD}( ({_AROUND_IT}|{_ONLY_WORD}|\.))* \.$"),
    _rule(rf"^\. (({_POLITELY}|\.) )*(cancel|end|quit)( ({_POLITELY}|\.))* \.$"),
    _rule(r"^\. s t o p( .*)? \.$|^\. s \. t \. o \. p \.$"),
    _rule(
        rf"{_START}{_up_to(3, 'please, just, ok, now, and, so, hey, no')}{_ONLY_WORD}"
        rf"( (please|now|all|already|immediately|thanks|thank you|por favor))*{_END}"
    ),
    _rule(rf"\b(please|just) stop( (now|immediately|thanks|thank you))*{_END}", unless=_DENIED),
    _rule(rf"\bstop{_END}", unless=_SOMETHING_ELSE_STOPS),
    _rule(rf"\bi (already )?(said|say) (to )?stop{_END}"),
    _rule(rf"\b(told|asked|begged) ((you|guys|people|all|already|before|to|repeatedly) )*stop{_END}"),
    _rule(
        r"^\. ((please|ok|omg|hey) )*stop (i|im|you|youre|your|who|whoever|we|wrong|never|dont|do not|or|bitch|why"
        r"|sir|maam"
        r"|my (name|phone|number)|bro|dude|man|remove|take me|leave|thank)\b"
    ),
    _rule(r"^\. ((hi|hello|hey|yo) )*(can|could|would|will) you ((please|just|all|guys) )*stop( (please|now))* \.$"),
    _rule(r"^\. (please no more|no more please|no more of (this|these|that)( please)?) \.$"),
    _rule(r"^\. (please )?turn (these|them|this) off( please)? \.$"),
    _rule(rf"^\. enough( (already|please|now))* \.$|{_START}(please )?quit it{_END}"),
    # Stop doing it.
    _rule(rf"{_STOP} {_FILL}({_TEXTS}|{_PESTERING})(?! and driv)", unless=_DENIED_OR_HAD),
    _rule(rf"\b(enough|done|fed up|sick|tired|annoyed) (with|of|by) {_FILL}{_TEXTS}|\benough (texts|messages|spam)\b"),
    _rule(r"\b(stop|quit|end) (all )?(this|the|your) (nonsense|crap|shit|bs|garbage|madness|harr?assment)\b"),
    _rule(r"\b(dont|do not) keep (texting|messaging|contacting|bothering)\b|\byou(re| are| keep) spamming\b"),
    _rule(rf"{_STOP} {_FILL}(calls|calling)\b", unless=_DENIED_OR_HAD, calls=True),
    _rule(
        rf"\b(stop|quit|cease) (sending|receiving|getting) "
        rf"{_up_to(6, 'me, us, to, all, your, any, more, of, number, please, this, these, those, that')}"
        rf"(me|us|that|them|{_STUFF})( (from|you|please|now|again|anymore|to|me))*{_END}",
        unless=_DENIED,
    ),
    _rule(
        rf"\b(cancel|end|turn off|shut off|switch off|disable|suspend|deactivate|kill) {_FILL}"
        r"(text\w*|messag\w+|sms|notifications|alerts|promo\w*|marketing|subscription|spam|communications?|contact)\b"
        r"(?! (on|in|from|for) (the|my|our) (?!phone|cell|number))",
        unless=_DENIED,
    ),
    _rule(
        r"\b(texts|texting|messages|messaging|spam|notifications|promos|promotions)"
        r"( (need|needs|must|should|have|has|got|gotta|better|to|please|just|all|now)){0,4} stop\b"
        r"(?! (by|in|over|at|coming|working))",
        unless=_ASKED_WHEN,
    ),
    _rule(rf"\b(if|wish|until) (you|you guys) (stopped|quit|would stop) {_FILL}({_TEXTS}|{_PESTERING})"),
    # Do not do it.
    _rule(
        rf"{_DONT}(text|message|sms|contact|dm|reach out to|communicate with|solicit|spam|hit (me|us) up)"
        rf"( or (call|text|email|message|contact))?( {_US}\b|{_END}"
        r"|(?= (again|anymore|any further|further|ever|please|just|call|instead|thanks"
        r"|thank)\b))" + _BUT_NOT_AT_AN_HOUR,
        unless=_TOLD_OF_SOMEBODY,
    ),
    _rule(
        rf"\b(not|never) (to )?(ever )?(text|contact|message|bother) (me|us|this (number"
        rf"|phone))\b{_BUT_NOT_AT_AN_HOUR}",
        unless=_TOLD_OF_SOMEBODY,
    ),
    _rule(r"\bi (dont|do not) (text|do texts?|do texting|accept texts|read texts)(?= \.| please| call| just)"),
    _rule(
        r"\b(told|asked|ask|asking|said|warned|begged|tell)( (you|guys|people|all)){0,2} (not to|to not"
        r"|to never) (ever )?"
        r"(text|contact|message|bother)\b"
    ),
    _rule(r"\b(better|must|may|should|shall|can) not (ever )?(text|contact|message|bother) (me|us|this)\b"),
    _rule(
        r"\b(prefer|rather|appreciate it if|like it if|wish) you (didnt|did not|wouldnt|would not|not|dont|do not)"
        r" (text|message|contact)\b"
    ),
    _rule(
        r"\b(prefer|rather|like) (not to|not|no) "
        + _up_to(5, "be, get, getting, receive, receiving, any, more, your, these, further, have, to, hear")
        + r"(texts|texted|texting|messages|messaged|contacted|contact|sms|from you)\b"
    ),
    _rule(r"\bonly (contact |reach )?me (by|via|through|with) (e ?mail|phone|calls?|mail)\b"),
    _rule(
        rf"{_DONT}(call|ring|phone) ((or|and|nor) (text|message)\w*|this (number|phone)|({_US} )?(again|anymore"
        rf"|ever))\b",
        unless=_TOLD_OF_SOMEBODY,
        calls=True,
    ),
    _rule(r"^\. (please )*(do not|dont) call( (me|us|here))?( (please|thanks|thank you))* \.$"),
    _rule(
        rf"{_DONT}send "
        + _up_to(6, "me, us, to, any, more, your, these, this, those, that, further, other, of, anymore, out, number")
        + rf"({_TEXTS}|({_STUFF}|more|anymore|nothing)( (else|again|ever|please|to|me|from|you)){{0,3}}{_END})",
        unless=_TOLD_OF_SOMEBODY,
    ),
    _rule(
        rf"{_DONT}((bother|bug|harr?ass|pester|annoy|stalk) {_US}\b|write (me|us|here) (again|anymore|ever)\b"
        r"|use (this|my) (\w+ )?number(?! (before|after|until|during|at|between|on)\b))",
        unless=_TOLD_OF_SOMEBODY,
    ),
    _rule(
        r"\bno (texts|texting|text messages|messages|messaging|sms|soliciting|solicitations?|spam|marketing|promos?|ads"
        rf"|advertising)({_END}|(?= (please|to this|here|at this|ever|anymore|allowed|thanks|thank|for me|or)\b))",
        unless=_HAD,
    ),
    _rule(
        rf"\b((if|next time) you (ever )?(text|contact|message|call|bother) {_US} (again|anymore|one more time)"
        rf"|(text|contact|message|call) {_US} (again|one more time) (and|or)){_WITH_A_THREAT}"
    ),
    _rule(r"\b(sue|suing|report|reporting)( \w+){0,3} if you (\w+ )?(text|contact|message|bother)\b"),
    # Take me off.
    _rule(
        r"\b(remove|delete|erase|unlist|purge|scrub|deregister|unregister|exclude|clear|get rid of) "
        + _OUR_NUMBER
        + _NOT_FROM_THE_DIARY,
        unless=_DENIED,
    ),
    _rule(rf"\b(remove|delete|unlist) from{_OF_YOUR}{_YOUR_LIST}", unless=_DENIED),
    _rule(r"^\. (please )?(remove|delete)( please)? \.$"),
    _rule(
        rf"\b(take|get|drop|pull|scratch|strike|cross|want|kick|wipe|let) {_OUR_NUMBER} (off|out"
        rf"|from){_OF_YOUR}{_YOUR_LIST}",
        unless=_DENIED,
    ),
    _rule(rf"\b(take|get|drop|pull) {_OUR_NUMBER} off(?= (\.|please|thanks|thank|now|already))", unless=_DENIED),
    _rule(rf"{_START}(please )?((take|get) )?off ((of|the|your|this) )*list( please)?{_END}"),
    _rule(rf"\b(want|get|be|need) off( of)? (your|this|the|that|these){_YOUR_LIST}", unless=_DENIED),
    _rule(
        r"\b(want|need|like|asked|ask|wish|demand|request|requested|how (do|can) i|(can|could|may) (i|we))"
        r"( (to|be|get|multiple|many|several|times|already|before|again|you)){0,5} (removed|deleted|taken (off|out))"
        rf"(?= (\.|please|thanks|already|now|from (your|this|all|the)|of your|your|this|the)( |$))(?!( from)? (your"
        rf"|this"
        rf"|the) (\w+ )?{_DIARY})",
        unless=_DENIED,
    ),
    _rule(
        rf"\b(be|get|got|getting|am|is|are|been) (removed|taken|deleted|dropped) (off|out|from){_OF_YOUR}{_YOUR_LIST}",
        unless=_DENIED,
    ),
    _rule(
        r"\b(lose|forget|burn|trash|toss|ditch|shred) (my|this|our) (phone |cell )?(number|info|contact|digits)\b",
        unless=_DENIED,
    ),
    _rule(r"\b(do not|dont|no) (call|contact|text|solicit\w*)( or \w+)? (list|registry)\b|\bdnc\b"),
    # Go away.
    _rule(rf"{_START}(please )?get (off|out) (of )?my (phone|cell|line)\b"),
    _rule(rf"\bleave (me|us|{_FAMILY})( (the )?(fuck|hell|heck|tf))? (alone\b|be\b(?! \w)|in peace\b)"),
    _rule(
        rf"{_START}{_up_to(3, 'please, just, now, ok')}(go away|get lost|buzz off|bugger off|back off|kick rocks"
        rf"|get bent"
        rf"|take a hike|shut up|shut the fuck up|screw off|stfu|gtfo|bug off)( (please|now|bot|robot|already))*{_END}"
    ),
    _rule(r"\b((fuck|piss|eff|sod) of+|f off)\b"),
    # I do not want it.
    _rule(
        r"\b(dont|do not|no longer|never|didnt|did not) ((ever|really|even|actually) )?(want|wish|need|care|like"
        r"|desire) "
        + _up_to(
            7,
            "to, any, more, your, these, those, this, be, get, getting, receive, receiving, keep, such, of, you,"
            "being, for,"
            "anymore, further, future, unsolicited, from, see, kind, type, all, stupid, here, hear, anything,"
            "promotional,"
            "text",
        )
        + r"(texts|texting|texted|messages|messaged|messaging|sms|contacted|contacting|notifications|alerts|reminders"
        r"|spam"
        r"|promos|promotions|marketing|solicit\w*|hear from you|part of this|(on|part of) (your|this|the"
        r"|any) (\w+ )?list"
        r"|you (to )?(text|texting|contact|message|messaging|contacting|bothering))\b"
    ),
    _rule(r"\bnever (\w+ )?hear from you\w*( \w+)? again\b"),
    _rule(r"\bno longer (receive|get) (these |your |any )?(texts|messages|sms)\b"),
    _rule(
        _START
        + _up_to(
            5, "no, nope, sorry, hi, hey, hello, i, im, am, we, are, were, thanks, thank, you, but, really, just, still"
        )
        + r"((not|never|no longer|aint) interested|(have )?(no|zero) interest)"
        r"( (at all|at this time|anymore|thanks|thank you|please|sorry|remove|stop|in ((this|these|your|any|that) )?"
        r"(texts?|texting|text messages|messages|offers?|services?|promo\w*|marketing|spam|deals?|business"
        r"|sales)))*" + _END
    ),
    # I take it back; I never gave it.
    _rule(r"\bunsu[bs]\w*|\bun subscri\w*|\bunenroll\b", unless=_DENIED),
    _rule(
        r"\bopt(ing|ed)? ((me|us|my|this|our|number|phone|cell) ){0,3}out\b(?! of (?!((the|your|these|this|all|any) )*"
        r"(text|sms|messag|list|it\b|this|these|marketing|promo|notif|alert|receiv|getting|everything|communic"
        r"|all\b)))",
        unless=_DENIED,
    ),
    _rule(r"\b(revok|withdraw|rescind)(e|ing)? ((my|all|any|our|prior|the) )*(consent|permission|authorization)\b"),
    _rule(r"\b(consent|permission) (is )?(hereby )?(revoked|withdrawn|rescinded)\b"),
    _rule(
        r"\b(dont|do not|never|didnt|did not|no) "
        + _up_to(5, "have, had, got, gave, give, given, you, anyone, my, any, our")
        + r"(consent|permission|authorization)\b"
        r"(?= \.| to (text|contact|message|send|be (texted|contacted)|(have|use) my number)| for (this|these|texts))"
    ),
    _rule(
        r"\b(dont|do not|never|didnt|did not) (consent|agree|authorize)d? to "
        + _up_to(5, "these, this, be, being, get, getting, receive, receiving, any, your, such, more")
        + r"(texts?|texted|texting|messages|contacted|messaged|sms|calls|spam)\b"
    ),
    _rule(
        r"\b(never|didnt|did not|havent|have not) (ever )?(subscribed?\b|opt(ed)? in\b"
        r"|sign(ed)? up( (for|to)( (this|these|it|that|any|your|receive|get|be))*)?"
        r"(?= (\.|(texts?|texting|messages?|of|spam|marketing|contacted|texted)\b))"
        r"|(ask|request)(ed)? ((for|these|your|any|to|be|this|of) )+(texts?|texted|messages?|contacted|spam|sms)"
        rf"|(ask for|asked for|request|requested) (this|these|it){_END})"
    ),
    # Not the person.
    _rule(
        r"\bwrong (number|person)\b(?! (on|in|at|for (the|my|our)|came|showed|called|arrived)\b)(?!.* meant (for"
        r"|to)\b)",
        unless=_GAVE_IT,
    ),
    _rule(rf"\b(not|isnt|no longer|aint) (his|her|their|\w\w+s) (phone|number|cell)( (number|anymore))*{_END}"),
    _rule(r"\b(no one|no body|nobody)( \w+){0,2} (by that name\b|named \w+(?= (\.|here|at|lives|in|on|with)))"),
    # Enough is enough.
    _rule(rf"\breport(ing|ed)? (you|this (number|text|message)|your number)\b|{_START}reported{_END}", unless=_DENIED),
    _rule(r"\breport(ed|ing)? (\w+ ){0,4}(spam|fcc|ftc|authorities|junk)\b|\btcpa\b|\bfcc\b|\battorney general\b"),
    _rule(
        rf"{_START}(?!is ){_up_to(5, 'this, these, its, it, you, youre, all, texts, messages, is, are, just, a')}"
        rf"(spam|scam)(mers?)?{_END}",
        unless=_DENIED,
    ),
    _rule(r"\b(this is|youre|you are|your|considered|its) harr?ass\w*|\bcease and desist\b"),
    _rule(
        rf"\bblock(ing)? (you(?! in)|this number|your number|this contact)\b|{_START}(you are |youre )blocked{_END}"
        r"|^\. block(ing|ed)? \.$|\b(this|your) number (will be|is|has been) blocked\b|\bblock(ed)? and reported\b"
        r"|\bblock (me|my number)\b(?! (out|off|in|a|from|for)\b)",
        unless=_before(r"(car|truck|van|it|is|my \w+|that)( is)?"),
    ),
)

_MENSAJES = r"(mensajes?|textos?|sms|publicidad|promociones|spam|notificaciones)\b"
_ESCRIBAN = r"(escrib(a|as|an)|texte(e|es|en)|contact(e|es|en)|molest(e|es|en))\b"  # as asked for, not as told of
_MANDEN = r"(mand|envi)(e|es|en)\b"
_OTRA_VEZ = r"(vuelvan? a |vuelvas a )?"
_SI = _before("si|porque|por que|que")

_SPANISH = (
    # Deja de escribirme.
    _rule(
        r"\b(dej(a|an|e|en|ar)|par(a|e|en|ar)|basta|eviten?|evite) de"
        r" (escrib|mand|envi|molest|text|contact|llam|fastidi|jod|acos|ching|freg)\w+",
        unless=_before("no"),
    ),
    _rule(rf"{_START}(no ching(ue|ues|uen)\b|para( (ya|por favor))+{_END})|\bbasta de {_MENSAJES}"),
    _rule(
        r"\b((cancel|anul|deteng|suspend|par|elimin)\w+|alto a|alto con|par\w+ con) "
        + _up_to(3, "la, las, el, los, mi, mis, sus, tus, esta, estos, estas, de, todos")
        + r"(mensajes|textos|suscripcion|sms|notificaciones|promociones|publicidad)\b",
        unless=_before("no|para|por"),
    ),
    # No me escriban más.
    _rule(rf"\b(no|ni) me {_ESCRIBAN}(?! (antes|hasta|despues|entre|cuando))", unless=_SI),
    _rule(r"\bno ((me|nos) )?(vuelvan?|vuelvas) a (escribir|contactar|molestar|textear)"),
    _rule(r"\bno (volver a )?(escribir|contactar|molestar|textear)(me|nos)\b"),
    _rule(
        rf"\bno me {_OTRA_VEZ}({_MANDEN}|mandar|enviar)"
        rf"( (mas|nada|ya|ningun|otros?|otras?|estos|esos|sus|tus|este|ese|tantos))*( ({_MENSAJES}|nada|mas)|{_END})",
        unless=_SI,
    ),
    _rule(
        rf"\bno (me )?{_OTRA_VEZ}({_MANDEN}|(mandar|enviar)(me|nos)?) (mas |nada de )?({_MENSAJES}|mas\b|nada\b)",
        unless=_SI,
    ),
    _rule(r"\bno escrib(a|as|an) mas\b", unless=_SI),
    _rule(rf"\bya no ({_ESCRIBAN}|{_MANDEN}){_END}|{_START}no escrib(a|as|an){_END}"),
    _rule(rf"{_START}(por favor )?no molest(e|en|es|ar)( mas)?( por favor)?{_END}"),
    _rule(r"\bno me (vuelvan? a )?llam(e|es|en|ar) (mas|nunca|otra vez)\b(?! tarde)", unless=_SI),
    _rule(rf"\bya no me llam(e|es|en){_END}(?!.* (mensaje|texto|escrib\w*)\b)"),
    # No quiero mensajes.
    _rule(
        r"\bno (mas|quiero|queremos|deseo|necesito|acepto|autorizo|autorice) "
        + _up_to(
            4, "mas, recibir, que, me, sus, tus, estos, esos, los, las, ningun, de, ver, tener, manden, envien,otros"
        )
        + rf"({_MENSAJES}|{_ESCRIBAN}|((?<=manden )|(?<=envien ))nada\b)"
    ),
    _rule(r"\bno quiero saber (nada )?(mas )?de (ustedes|usted|ti)\b"),
    _rule(r"\b(retiro|revoco|quito) (mi|el) (consentimiento|permiso)\b"),
    _rule(
        rf"{_START}((no|gracias|hola|pero|ya|lo siento) )*no ((me|nos) interesa|(estoy|estamos) interesad[oa]s?)"
        rf"( (gracias|nada|por favor|ya))*{_END}"
    ),
    # Quíteme de la lista; deme de baja.
    _rule(
        r"\b(quit|sac|saqu|elimin|borr|remuev|retir|desinscrib|desuscrib)(a|e|en|ar|an)(me|nos)"
        rf"({_END}| (por favor|ya|gracias)\b| de (aqui|esto)\b"
        r"| de ((la|las|su|sus|tu|tus|esta|esa|todas|el|este) ){0,3}"
        r"(listas?(?! de espera)|sistema|base|contactos|mensajes|grupo)\b)"
    ),
    _rule(
        r"\bme (pueden? )?(quit|borr|elimin|saqu|sac|remuev)\w{1,4} de ((la|su|tu|esta|sus|tus) )+"
        r"(listas?(?! de espera)|sistema|base|contactos)\b"
    ),
    _rule(
        r"\b(quit|elimin|borr|remuev|olvid|pierd|sac|saqu)(a|e|en|ar|an|uen) (mi|mis|este|ese)"
        r" (numero|telefono|celular|contacto|nombre|datos)\b(?! de (la|mi) (cita|agenda))"
    ),
    _rule(r"\b(da|de|den|dar)(me|nos|se) de baja\b|\b(me|nos) (\w+ )?(da|dan|de|den|dar) de baja\b"),
    _rule(r"^\. ((por favor|quiero|la) )*baja \.$|\b(desuscri|desinscri)\w+"),
    _rule(rf"\bdej(a|e|en|ar)(me|nos) (en paz|tranquil[oa])\b|\bya dej(a|e|en)(me|nos){_END}"),
    _rule(r"^\. bloquead[oa]s? \.$|\b(los|las|lo|la|te) voy a bloquear\b|\bbloquear este numero\b"),
    # No soy yo.
    _rule(
        r"\b(numero|persona) equivocad[oa]\b|\bequivoc\w+ de (numero|persona)\b|\bnumero incorrecto\b"
        r"|\bno es (el|su) (numero|telefono) de\b|\bya no es (el|su|mi) (numero|telefono)\b",
        unless=_GAVE_IT,
    ),
    _rule(
        r"\bno soy esa persona\b|\besa persona no vive\b|\bno conozco a (esa persona|ese senor|esa senora)\b"
        r"|\bnadie con ese nombre\b"
    ),
)
_RULES = _ENGLISH + _SPANISH
