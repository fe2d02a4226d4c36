"""The carrier's side of a webhook: it signs what it sends, by Twilio's published rule and not by our code.

https://www.twilio.com/docs/usage/webhooks/webhooks-security: the address as it was called, then every field's name and
value in the order of the names, HMAC-SHA1 with the account's token, base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

from django.http import HttpResponse
from django.test import Client

PAYLOADS = Path(__file__).resolve().parent.parent / "payloads"
FORM = "application/x-www-form-urlencoded"

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


def payload(name: str) -> str:
    """The body of one captured letter, as it was sent."""
    return (PAYLOADS / name).read_text(encoding="ascii").strip()


def sms(body: str, *, sender: str = "+15551234567", to: str = "+15552000001", **more: str) -> dict[str, str]:
    """A text as Twilio posts it, under a sid of its own."""
    sid = "SM" + secrets.token_hex(16)
    return {
        "ToCountry": "US", "SmsMessageSid": sid, "NumMedia": "0", "SmsSid": sid, "SmsStatus": "received", "Body": body,
        "FromCountry": "US", "To": to, "NumSegments": "1", "MessageSid": sid, "From": sender, "ApiVersion": "2010-04-01",
    } | more  # fmt: skip


def status(sid: str, word: str, **more: str) -> dict[str, str]:
    """A delivery report as Twilio posts it."""
    return {
        "SmsSid": sid, "SmsStatus": word, "MessageStatus": word, "To": "+15551234567", "MessageSid": sid,
        "From": "+15552000001", "ApiVersion": "2010-04-01",
    } | more  # fmt: skip


def sign(address: str, fields: Fields, *, token: str) -> str:
    pairs = sorted(set(fields.items() if isinstance(fields, Mapping) else fields))
    signed = address + "".join(name + value for name, value in pairs)
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


@dataclass
class Carrier:
    """Posts letters to our door through the whole stack, without the test client's conveniences."""

    account_sid: str
    token: str
    base: str = "http://testserver"

    def post(
        self,
        path: str,
        fields: Fields | str,
        *,
        signed_as: str | None = None,
        client: Client | None = None,
        **extra: Any,
    ) -> HttpResponse:
        """`signed_as`: the address the carrier believes it called; `extra` goes into the WSGI environ."""
        if isinstance(fields, str):
            fields = parse_qsl(fields, keep_blank_values=True)
        pairs = [*(fields.items() if isinstance(fields, Mapping) else fields)]
        if not any(name == "AccountSid" for name, _ in pairs):
            pairs.append(("AccountSid", self.account_sid))
        extra.setdefault("HTTP_X_TWILIO_SIGNATURE", sign(signed_as or self.base + path, pairs, token=self.token))
        client = client or Client(enforce_csrf_checks=True, raise_request_exception=False)
        return client.post(path, urlencode(pairs), content_type=FORM, **extra)

    def text(self, body: str, *, path: str = "/twilio/sms", client: Client | None = None, **more: str) -> list[str]:
        """Send one text and return what we answered in the TwiML."""
        response = self.post(path, sms(body, **more), client=client)
        assert response.status_code == 200, response.content
        return replies(response)


def replies(response: HttpResponse) -> list[str]:
    """The words of our TwiML, as the carrier would send them."""
    return ["".join(verb.itertext()) for verb in _verbs(response)]


def callbacks(response: HttpResponse) -> list[str]:
    """Where the carrier would report on them."""
    return [verb.get("statusCallback", "") for verb in _verbs(response)]


def _verbs(response: HttpResponse) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(response.content).iter("Message"))  # noqa: S314 - our own document
