"""The carriers. Everything above speaks of texts, sids and these errors; what a carrier calls them stays in here."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.conf import settings

from crm.enums import MessageStatus
from crm.models import Message


class SendingFailed(Exception):
    """The carrier did not take a text. `code` is its own error code, the text a sentence for people."""

    def __init__(self, sentence: str, *, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class Permanent(SendingFailed):
    """Trying again cannot help."""


class OptedOut(Permanent):
    """The carrier knows that this number opted out, and we did not."""


class Transient(SendingFailed):
    """Certainly not taken; try again later."""


class Uncertain(SendingFailed):
    """Nobody knows whether it was taken: the answer was lost. Ask before trying again."""


@dataclass(frozen=True)
class CarrierText:
    """A text as the carrier has it."""

    sid: str
    status: MessageStatus
    error_code: str
    created_at: datetime


class Gateway(Protocol):
    def send(self, message: Message, *, status_callback: str) -> CarrierText:
        """Hand over a text. Raises one of the errors above."""

    def find(self, message: Message, *, since: datetime) -> list[CarrierText]:
        """The texts with this message's numbers and words that the carrier took since then, oldest first.
        Raises Transient when it cannot be asked."""


@functools.cache
def gateway() -> Gateway:
    """The carrier of this installation (CARRIER)."""
    if settings.CARRIER == "twilio":
        from telephony.gateways.twilio import TwilioGateway  # noqa: PLC0415 - the SDK is slow to import

        return TwilioGateway()
    from telephony.gateways.simulated import SimulatedGateway  # noqa: PLC0415 - one carrier is enough

    return SimulatedGateway()
