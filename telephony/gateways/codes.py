"""The carrier's codes and statuses, in our words. The demo carrier uses the same.

Codes: https://www.twilio.com/docs/api/errors. Statuses: https://www.twilio.com/docs/messaging/api/message-resource.
"""

from __future__ import annotations

from typing import Final

from crm.enums import MessageStatus

# What a code means to the people who read it.
SENTENCES: Final = {
    "21211": "This is not a phone number that can be reached.",
    "21214": "This is not a phone number that can be reached.",
    "21408": "Texts to this country are not switched on at the carrier.",
    "21606": "The number we send from cannot send texts.",
    "21608": "A trial account can only text numbers that were verified.",
    "21610": "This number has opted out.",
    "21612": "The carrier cannot send from our number to this one.",
    "21614": "This number cannot receive texts (it may be a landline).",
    "21617": "The message is too long.",
    "30002": "Our account at the carrier is suspended.",
    "30003": "The phone was switched off or out of reach.",
    "30004": "The carrier blocked the message.",
    "30005": "This number does not exist or is not in use.",
    "30006": "This number cannot receive texts (it may be a landline).",
    "30007": "The carrier took the message for spam.",
    "30008": "The carrier did not say why it was not delivered.",
    "30034": "Our number is not registered for business texting in the US.",
}
_STATUSES: Final = {
    "accepted": MessageStatus.SENDING,
    "scheduled": MessageStatus.SENDING,
    "queued": MessageStatus.SENDING,
    "sending": MessageStatus.SENDING,
    "sent": MessageStatus.SENT,
    "partially_delivered": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.DELIVERED,
    "undelivered": MessageStatus.FAILED,
    "failed": MessageStatus.FAILED,
    "canceled": MessageStatus.FAILED,
}


def read_status(word: str) -> MessageStatus | None:
    """Twilio's word for how far a text has come; None for one we do not know."""
    return _STATUSES.get(word.lower())


def explain(code: str) -> str:
    """A carrier's error code as a sentence."""
    return SENTENCES.get(code, f"The carrier reported error {code}." if code else "The carrier gave no reason.")
