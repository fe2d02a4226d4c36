"""The carrier for the tests of the switchboard: Twilio, played by a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import time_machine

from telephony.gateways import gateway
from telephony.gateways import twilio as twilio_gateway
from tests.servers.carrier import Carrier
from tests.servers.twilio_api import TwilioApi


@pytest.fixture
def twilio(settings, now: datetime) -> Iterator[TwilioApi]:
    """Twilio's API; its clock stands where the story's does."""
    with TwilioApi() as server:
        server.now = now
        settings.CARRIER = "twilio"
        settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = server.account_sid, server.token
        settings.TWILIO_API_URL = server.url
        gateway.cache_clear()
        twilio_gateway._client.cache_clear()
        yield server
    gateway.cache_clear()
    twilio_gateway._client.cache_clear()


@pytest.fixture
def carrier(twilio: TwilioApi) -> Carrier:
    """What posts to our webhooks, with the main account's token."""
    return Carrier(account_sid=twilio.account_sid, token=twilio.token)


@pytest.fixture
def clock(now: datetime) -> Iterator[time_machine.Coordinates]:
    """The wall clock, set to the story's nine o'clock and running on."""
    with time_machine.travel(now, tick=True) as coordinates:
        yield coordinates
