"""Twilio's REST API, by its own SDK. Nothing outside this folder and `telephony/signatures.py` imports it."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any

import requests
from django.conf import settings
from twilio.base.exceptions import TwilioRestException
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
        except TwilioRestException as error:
            raise _refused(error) from error
        except requests.exceptions.ConnectTimeout as error:
            raise Transient("The carrier cannot be reached.") from error
        except requests.exceptions.ConnectionError as error:
            if _never_connected(error):
                raise Transient("The carrier cannot be reached.") from error
            raise Uncertain("The line broke before the carrier answered.") from error
        except requests.exceptions.RequestException as error:
            raise Uncertain("The carrier did not answer in time.") from error
        return _carrier_text(taken)

    def find(self, message: Message, *, since: datetime) -> list[CarrierText]:
        try:
            # Newest first; not filtered by date, which would leave out what Twilio has taken but not sent yet.
            listed = _client_for(message).messages.list(to=message.to_number, limit=100)
        except (TwilioRestException, requests.exceptions.RequestException) as error:
            raise Transient("The carrier cannot be asked right now.") from error
        same = [
            text for text in listed if text.body == message.body and (text.date_created is None or text.date_created >= since)
        ]
        return sorted((_carrier_text(text) for text in same), key=lambda text: text.created_at)


def _client_for(message: Message) -> Client:
    account = TwilioAccount.objects.filter(business_id=message.business_id).first()
    if account is not None:
        return _client(account.account_sid, unseal(account.sealed_token))
    return _client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN)


def _carrier_text(resource: Any) -> CarrierText:
    return CarrierText(
        sid=resource.sid,
        status=read_status(str(resource.status)) or MessageStatus.SENDING,
        error_code=str(resource.error_code or ""),
        created_at=resource.date_created,
    )


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    """requests wraps both “refused” and “reset while reading” in one class; only the first is certain."""
    return "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)


def _refused(error: TwilioRestException) -> SendingFailed:
    code = str(error.code or "")
    if code == "21610":
        return OptedOut(explain(code), code=code)
    if error.status == 429:
        return Transient("The carrier asks us to slow down.", code=code)
    if error.status == 503:
        return Transient("The carrier is not available.", code=code)
    if error.status >= 500:
        return Uncertain("The carrier had a fault of its own.", code=code)
    return Permanent(explain(code), code=code)
