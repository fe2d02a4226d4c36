"""The street side: a stranger opens an account, and proves that the address is theirs.

None of these pages says whether an address has an account.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from crm import security
from crm.enums import SecurityEventKind
from marketplace.forms_account import ResendForm, SignUpForm
from marketplace.models import Buyer
from marketplace.services import buyers

_AN_HOUR: Final = 3_600
FROM_ONE_SENDER: Final = 30  # forms an hour, the wrong ones too; an office has one address on the network
FOR_ONE_ADDRESS: Final = 5  # an hour
_EMAIL: Final = "buyer_email"  # in the session: whom we wrote to last
_LINK: Final = "buyer_link"  # in the session, and only where `_mails_go_nowhere`
_CONSOLE: Final = "django.core.mail.backends.console.EmailBackend"


@never_cache
@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return render(request, "marketplace/front/sign_up.html", {"form": SignUpForm()})
    form = SignUpForm(request.POST)
    now = timezone.now()
    if not _sender_may_try(request, "sign-up"):
        return _too_many(request, now)
    if not form.is_valid():
        return render(request, "marketplace/front/sign_up.html", {"form": form}, status=422)
    if not _may_be_tried("sign-up", form.cleaned_data["email"]):
        return _too_many(request, now)
    site = site_of(request)
    try:
        opened = buyers.sign_up(**form.cleaned_data, now=now, site=site)
    except ValidationError as error:
        form.add_error(None, error.messages)
        return render(request, "marketplace/front/sign_up.html", {"form": form}, status=422)
    request.session[_EMAIL] = form.cleaned_data["email"]
    request.session.pop(_LINK, None)
    if opened is not None and _mails_go_nowhere():
        request.session[_LINK] = buyers.verification_link(buyer=opened.buyer, now=now, site=site)
    return redirect("buyers:sent")


@never_cache
@require_http_methods(["GET", "POST"])
def sent(request: HttpRequest) -> HttpResponse:
    """Look in your mail; and the way to another link."""
    form = ResendForm(request.POST or None, initial={"email": request.session.get(_EMAIL, "")})
    now = timezone.now()
    if request.method == "POST":
        if not _sender_may_try(request, "resend"):
            return _too_many(request, now)
        if form.is_valid():
            email = form.cleaned_data["email"]
            if not _may_be_tried("resend", email):
                return _too_many(request, now)
            buyers.resend(email=email, now=now, site=site_of(request))
            request.session[_EMAIL] = email
            messages.success(request, f"If an account waits for {email}, another link is on its way.")
            return redirect("buyers:sent")
    context = {
        "form": form,
        "email": request.session.get(_EMAIL, ""),
        "prints_mails": settings.EMAIL_BACKEND == _CONSOLE,
        "link": request.session.get(_LINK, "") if _mails_go_nowhere() else "",
    }
    return render(request, "marketplace/front/sent.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def verify(request: HttpRequest, token: str) -> HttpResponse:
    """Opening the link only shows a button: mail scanners open links, people press buttons."""
    now = timezone.now()
    try:
        if request.method == "GET":
            return render(request, "marketplace/front/verify.html", {"buyer": buyers.read_link(token=token, now=now)})
        verified = buyers.verify_email(token=token, now=now)
    except buyers.BadLink as reason:
        form = ResendForm(initial={"email": reason.email or request.session.get(_EMAIL, "")})
        return render(request, "marketplace/front/bad_link.html", {"sentence": str(reason), "form": form}, status=410)
    for key in (_EMAIL, _LINK):
        request.session.pop(key, None)
    return _confirmed(request, verified.buyer, is_news=verified.is_news)


def _confirmed(request: HttpRequest, buyer: Buyer, *, is_news: bool) -> HttpResponse:
    slug = buyer.business.slug
    if request.user.is_authenticated and request.user.memberships.filter(business=buyer.business).exists():
        said = f"{buyer.email} is confirmed." if is_news else f"{buyer.email} was confirmed already."
        messages.success(request, said)
        return redirect("marketplace:account", slug)
    shop = urlencode({REDIRECT_FIELD_NAME: reverse("marketplace:browse", args=[slug])})
    context = {"buyer": buyer, "is_news": is_news, "sign_in_url": f"{resolve_url(settings.LOGIN_URL)}?{shop}"}
    return render(request, "marketplace/front/confirmed.html", context)


def site_of(request: HttpRequest) -> str:
    """Where the pages are, for links in mails."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")


def _sender_may_try(request: HttpRequest, what: str) -> bool:
    return buyers.within(f"{what}-from:{security.sender(request)}", most=FROM_ONE_SENDER, seconds=_AN_HOUR)


def _may_be_tried(what: str, email: str) -> bool:
    return buyers.within(f"{what}-for:{buyers.fingerprint(email)}", most=FOR_ONE_ADDRESS, seconds=_AN_HOUR)


def _too_many(request: HttpRequest, now: datetime) -> HttpResponse:
    security.report(kind=SecurityEventKind.RATE_LIMITED, request=request, now=now)
    return render(request, "429.html", {"wait": "an hour"}, status=429)


def _mails_go_nowhere() -> bool:
    """Somebody is trying Frontdesk on their own machine: mails end in the terminal, so the page may show the link. Both
    have to be so, and neither is so where others can come in: DEBUG is never on there, and mails have a server."""
    return settings.DEBUG and settings.EMAIL_BACKEND == _CONSOLE
