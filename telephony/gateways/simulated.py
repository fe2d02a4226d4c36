"""The demo carrier: takes texts like the real one, keeps them, and reports on them through the real signed webhooks.

It has bad weather on switches (`CarrierSwitches`): late, lost, repeated, out of order, down. The simulator page shows
what its phones received; `tick()` moves its texts along and is run by the schedule.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from crm import optout
from crm.enums import MessageStatus
from crm.models import Message
from telephony.gateways import CarrierText, OptedOut, Transient
from telephony.gateways.codes import explain, read_status
from telephony.models import CarrierSwitches, SimulatedText
from telephony.signatures import SIMULATED_ACCOUNT, sign, simulated_token

_UNSUBSCRIBED = (
    "You have successfully been unsubscribed. You will not receive any more messages from this number."
    " Reply START to resubscribe."
)


class SimulatedGateway:
    """What `TwilioGateway` is to Twilio."""

    def send(self, message: Message, *, status_callback: str) -> CarrierText:
        if switches().fail:
            raise Transient("The demo carrier is switched off.")
        if _has_stopped(phone=message.to_number, number=message.from_number):
            raise OptedOut(explain("21610"), code="21610")
        return _as_carrier_text(
            _take(
                from_number=message.from_number, to_number=message.to_number, body=message.body,
                status_callback=status_callback,
            )
        )  # fmt: skip

    def find(self, message: Message, *, since: datetime) -> list[CarrierText]:
        if switches().fail:
            raise Transient("The demo carrier is switched off.")
        same = SimulatedText.objects.filter(to_number=message.to_number, body=message.body, created_at__gte=since)
        return [_as_carrier_text(text) for text in same.order_by("created_at")]


@dataclass(frozen=True)
class Delivery:
    """How our webhook took a text from a simulated phone."""

    text: SimulatedText
    status: int
    answer: str  # the TwiML
    replies: tuple[str, ...]


def switches() -> CarrierSwitches:
    return CarrierSwitches.objects.filter(pk=1).first() or CarrierSwitches(pk=1)


def text_us(*, from_number: str, to_number: str, body: str) -> Delivery:
    """Somebody types on a simulated phone: the text goes through the signed webhook, and the answer to their phone."""
    text = written(from_number=from_number, to_number=to_number, body=body, at=timezone.now())
    form = letter(text)
    response = post_signed("/twilio/sms", form)
    if secrets.randbelow(100) < switches().duplicate_percent:
        for _ in range(2):
            response = post_signed("/twilio/sms", form)
    SimulatedText.objects.filter(pk=text.pk).update(webhook_status=response.status_code)
    text.webhook_status = response.status_code
    answer = response.content.decode()
    replies = _read_twiml(answer) if response.status_code == 200 else []
    for reply, callback in replies:
        _take(from_number=to_number, to_number=from_number, body=reply, status_callback=callback)
    if optout.carrier_confirms(body, None) and optout.read_keyword(body) == optout.Keyword.STOP:
        _take(from_number=to_number, to_number=from_number, body=_UNSUBSCRIBED, status_callback="")
    return Delivery(text=text, status=response.status_code, answer=answer, replies=tuple(body for body, _ in replies))


def written(*, from_number: str, to_number: str, body: str, at: datetime) -> SimulatedText:
    """A text somebody sent on a simulated phone, not yet delivered to our webhook."""
    return SimulatedText.objects.create(
        sid=_sid(),
        from_number=from_number,
        to_number=to_number,
        body=body,
        status="received",
        created_at=at,
        arrives_at=at,
    )


def carried(
    *, from_number: str, to_number: str, body: str, at: datetime, status: str = "delivered", error_code: str = ""
) -> SimulatedText:
    """A text of ours that reached its end in the past: for histories, which nobody has to be told about any more."""
    return SimulatedText.objects.create(
        sid=_sid(), from_number=from_number, to_number=to_number, body=body, status=status, error_code=error_code,
        created_at=at, arrives_at=at,
    )  # fmt: skip


def letter(text: SimulatedText) -> dict[str, str]:
    """The form in which the carrier tells us of a text."""
    return {
        "MessageSid": text.sid,
        "SmsSid": text.sid,
        "SmsMessageSid": text.sid,
        "AccountSid": SIMULATED_ACCOUNT,
        "ApiVersion": "2010-04-01",
        "From": text.from_number,
        "To": text.to_number,
        "Body": text.body,
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsStatus": "received",
    }


def tick() -> int:
    """Move on what is due: texts arrive on the phones, and we are told. Returns how many moved."""
    now = timezone.now()
    with transaction.atomic():
        due = list(
            SimulatedText.objects.select_for_update(skip_locked=True).filter(status="queued", arrives_at__lte=now)[:50]
        )
        weather = switches()
        for text in due:
            lost = secrets.randbelow(100) < weather.lose_percent
            text.status, text.error_code = ("undelivered", "30008") if lost else ("delivered", "")
        SimulatedText.objects.bulk_update(due, ["status", "error_code"])
    for text in due:
        if not text.status_callback:
            continue
        story = ["sent", text.status]
        for status in reversed(story) if weather.reorder else story:
            report = {
                "MessageSid": text.sid,
                "MessageStatus": status,
                "AccountSid": SIMULATED_ACCOUNT,
                "From": text.from_number,
                "To": text.to_number,
            }
            if text.error_code and status == text.status:
                report["ErrorCode"] = text.error_code
            address = urlsplit(text.status_callback)
            post_signed(f"{address.path}?{address.query}" if address.query else address.path, report)
    return len(due)


def post_signed(path: str, letter: dict[str, str], *, token: str | None = None) -> HttpResponse:
    """Deliver a letter to our own door, through every layer, signed as the carrier signs (or with another `token`, as
    a forger would)."""
    address = urlsplit(settings.PUBLIC_URL or "http://localhost")
    client = Client(
        raise_request_exception=False, enforce_csrf_checks=True, SERVER_NAME=address.hostname or "localhost"
    )
    client.defaults["HTTP_HOST"] = address.netloc
    signature = sign(f"{address.scheme}://{address.netloc}{path}", letter, token=token or simulated_token())
    # What a TLS proxy would add, when the installation sits behind one.
    return client.post(  # type: ignore[return-value]
        path, letter, secure=address.scheme == "https", headers={"X-Twilio-Signature": signature}
    )


def _take(*, from_number: str, to_number: str, body: str, status_callback: str) -> SimulatedText:
    now = timezone.now()
    return SimulatedText.objects.create(
        sid=_sid(), from_number=from_number, to_number=to_number, body=body, status="queued",
        status_callback=status_callback, created_at=now, arrives_at=now + timedelta(seconds=switches().delay_seconds),
    )  # fmt: skip


def _has_stopped(*, phone: str, number: str) -> bool:
    """The carrier's own list: the last STOP or START from this phone to this number."""
    for body in (
        SimulatedText.objects.filter(from_number=phone, to_number=number)
        .order_by("-created_at")
        .values_list("body", flat=True)[:50]
    ):
        word = optout.read_keyword(body)
        if word == optout.Keyword.STOP and optout.carrier_confirms(body, None):
            return True
        if word == optout.Keyword.START:
            return False
    return False


def _read_twiml(answer: str) -> list[tuple[str, str]]:
    """The messages of a TwiML answer, with their status callback. It is our own XML, so the plain parser will do."""
    root = ElementTree.fromstring(answer)  # noqa: S314 - our own answer to our own letter
    return [("".join(verb.itertext()), verb.get("statusCallback", "")) for verb in root.iter("Message")]


def _as_carrier_text(text: SimulatedText) -> CarrierText:
    status = read_status(text.status) or MessageStatus.SENDING
    return CarrierText(sid=text.sid, status=status, error_code=text.error_code, created_at=text.created_at)


def _sid() -> str:
    return "SM" + secrets.token_hex(16)
