"""The letterboxes for Twilio: check the stamp, keep the letter, answer.

Configure at Twilio: Messaging webhook `POST {PUBLIC_URL}/twilio/sms`. Delivery reports find their way by themselves.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from crm.enums import SecurityEventKind
from crm.security import report
from telephony import services, signatures
from telephony.letters import StatusLetter, TextLetter
from telephony.signatures import Account

log = structlog.get_logger(__name__)


def from_carrier(view: Callable[[HttpRequest, Account], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Only letters with a genuine signature come in; all others are refused and leave a security event."""

    @csrf_exempt
    @require_POST
    def letterbox(request: HttpRequest) -> HttpResponse:
        kind = None
        account = None
        if not request.headers.get("X-Twilio-Signature"):
            kind = SecurityEventKind.SIGNATURE_MISSING
        else:
            account = signatures.account(request.POST.get("AccountSid", ""))
            if account is None:
                kind = SecurityEventKind.ACCOUNT_UNKNOWN
            elif not signatures.is_genuine(request, token=account.token):
                kind = SecurityEventKind.SIGNATURE_INVALID
        if kind is not None or account is None:
            assert kind is not None
            # The address that was checked is what an operator behind a proxy needs to see.
            report(
                kind=kind,
                request=request,
                now=timezone.now(),
                detail=f"checked against {signatures.signed_address(request)}",
            )
            log.warning("webhook_refused", reason=kind.value, path=request.path)
            return HttpResponse("Signature not accepted.\n", status=403, content_type="text/plain")
        return view(request, account)

    return letterbox


@from_carrier
def text_received(request: HttpRequest, account: Account) -> HttpResponse:
    """`POST /twilio/sms`: TwiML out. 403 with an empty document for a suspended business, 422 for a form without a field."""
    try:
        letter = TextLetter.from_form(request.POST, request.GET)
    except KeyError as missing:
        return _incomplete(missing)
    business = services.business_called(letter)
    if account.business is not None and business is not None and business.pk != account.business.pk:
        # A sub-account may only speak for its own business, whatever number it names.
        report(
            kind=SecurityEventKind.ACCOUNT_UNKNOWN, request=request, now=timezone.now(), business=account.business,
            detail="another business's number",
        )  # fmt: skip
        log.warning("webhook_refused", reason="another business's number", path=request.path)
        return HttpResponse("This number is not yours.\n", status=403, content_type="text/plain")
    answer = services.receive_letter(letter, business=business, now=timezone.now())
    status = 200 if business is None or business.is_active else 403
    return HttpResponse(answer, status=status, content_type="text/xml; charset=utf-8")


@from_carrier
def status_reported(request: HttpRequest, account: Account) -> HttpResponse:
    """`POST /twilio/status`: always 204 once the signature holds, so that the carrier does not repeat itself."""
    try:
        letter = StatusLetter.from_form(request.POST, request.GET)
        if letter.message_id:
            uuid.UUID(letter.message_id)
    except KeyError as missing:
        return _incomplete(missing)
    except ValueError:
        return HttpResponse("message: not an id of ours.\n", status=422, content_type="text/plain")
    services.receive_status(letter, business=account.business, now=timezone.now())
    return HttpResponse(status=204)


def _incomplete(missing: KeyError) -> HttpResponse:
    return HttpResponse(f"{missing.args[0]}: this field is missing.\n", status=422, content_type="text/plain")
