"""Twilio's REST API, by its own SDK. Nothing outside this folder and `telephony/signatures.py` imports it."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, Final

import requests
from django.conf import settings
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from crm.enums import MessageStatus
from crm.models import Message
from crm.security import unseal
from telephony.gateways import CarrierText, OptedOut, Permanent, SendingFailed, Transient, Uncertain
from telephony.gateways.codes import explain, read_status
from telephony.models import TwilioAccount

_TIMEOUT = 10  # seconds for connecting and for reading; far below the sweep's patience
_API = "https://api.twilio.com"
_SLOW_DOWN: Final = {"20429", "21611"}  # too many requests at once; too many texts waiting for one number of ours
_TRIAL = "Sent from your Twilio trial account - "  # what Twilio puts before every text of a trial account


class _HttpClient(TwilioHttpClient):  # type: ignore[misc]
    """The SDK's own, with a time limit, and pointed elsewhere when TWILIO_API_URL says so."""

    def __init__(self) -> None:
        super().__init__(timeout=_TIMEOUT, max_retries=None)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        return super().request(method, url.replace(_API, settings.TWILIO_API_URL, 1), *args, **kwargs)


@functools.lru_cache(maxsize=256)
def _client(account_sid: str, token: str) -> Client:
    return Client(account_sid, token, http_client=_HttpClient())


class TwilioGateway:
    def send(self, message: Message, *, status_callback: str) -> CarrierText:
        arguments = {"to": message.to_number, "from_": message.from_number, "body": message.body}
        if status_callback:
            arguments["status_callback"] = status_callback
        try:
            taken = _client_for(message).messages.create(**arguments)
        except (TwilioRestException, TwilioServiceException) as error:
            raise _refused(status=error.status, code=str(error.code or "")) from error
        except requests.exceptions.ConnectTimeout as error:
            raise Transient("The carrier cannot be reached.") from error
        except requests.exceptions.ConnectionError as error:
            if _never_connected(error):
                raise Transient("The carrier cannot be reached.") from error
            raise Uncertain("The line broke before the carrier answered.") from error
        except requests.exceptions.RequestException as error:
            raise Uncertain("The carrier did not answer in time.") from error
        except ValueError as error:  # not JSON
            raise Uncertain("The carrier's answer cannot be read.") from error
        if not taken.sid:
            raise Uncertain("The carrier's answer names no message.")
        return _carrier_text(taken)

    def find(self, message: Message, *, since: datetime) -> list[CarrierText]:
        try:
            # Newest first; not filtered by date, which would leave out what Twilio has taken but not sent yet.
            listed = _client_for(message).messages.list(to=message.to_number, limit=100)
        # For the SDK a list that is refused is its plainest error, no TwilioRestException, and one that is not JSON a
        # ValueError.
        except (TwilioException, requests.exceptions.RequestException, ValueError) as error:
            raise Transient("The carrier cannot be asked right now.") from error
        same = [_carrier_text(text) for text in listed if _is_the_same(text, message)]
        return sorted((text for text in same if text.created_at >= since), key=lambda text: text.created_at)


def _client_for(message: Message) -> Client:
    account = TwilioAccount.objects.filter(business_id=message.business_id).first()
    if account is None and not settings.TWILIO_ACCOUNT_SID:
        raise Transient("This business has no account at the carrier, and neither has the installation.")
    if account is None:
        return _client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN)
    try:
        token = unseal(account.sealed_token)
    except ValueError as error:
        raise Transient("The token of this business's account at the carrier cannot be read.") from error
    return _client(account.account_sid, token)


def _is_the_same(text: Any, message: Message) -> bool:
    """The same words between the same two numbers. Spaces at the ends do not survive every way to a phone."""
    from_us = not message.from_number or text.from_ in (None, message.from_number)
    return from_us and str(text.body or "").removeprefix(_TRIAL).strip() == message.body.strip()


def _carrier_text(resource: Any) -> CarrierText:
    return CarrierText(
        sid=resource.sid,
        status=read_status(str(resource.status)) or MessageStatus.SENDING,
        error_code=str(resource.error_code or ""),
        created_at=resource.date_created or datetime.now(UTC),
    )


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    """requests wraps both “refused” and “reset while reading” in one class; only the first is certain."""
    return "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)


def _refused(*, status: int, code: str) -> SendingFailed:
    if code == "21610":
        return OptedOut(explain(code), code=code)
    if status == 429 or code in _SLOW_DOWN:
        return Transient("The carrier asks us to slow down.", code=code)
    if status == 401:  # a token that was changed: whoever repairs it within minutes loses nothing
        return Transient("The carrier does not accept our account and token.", code=code)
    if status == 503:
        return Transient("The carrier is not available.", code=code)
    if status >= 500:
        return Uncertain("The carrier had a fault of its own.", code=code)
    return Permanent(explain(code), code=code)
