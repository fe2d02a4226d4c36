"""The doors to a business's pages: who comes in, who may change things, and in whose time zone the clocks hang."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.functional import SimpleLazyObject
from django_htmx.middleware import HtmxDetails

from crm import queries
from crm.models import Business, Membership, User
from crm.scoping import only

SUSPENDED = (
    "This business is suspended: you can read everything, and nothing can be changed or sent until it is active again."
)
ONLY_READING = "You may read here, not change things. Ask an owner of {business} to make you staff."


class PageRequest(HttpRequest):
    """A request inside one business, as the views below get it."""

    user: User  # nobody else comes in
    htmx: HtmxDetails
    business: Business
    membership: Membership
    may_write: bool
    room: str  # which entry of the navigation this page belongs to
    now: datetime
    counts: queries.Counts  # what waits; asked for when somebody looks


Page = Callable[..., HttpResponseBase]


def business_page(room: str = "", *, write: bool = False) -> Callable[[Page], Page]:
    """A page under `/app/<slug>/`: signed in, a member, inside the business's scope and time zone.

    Somebody who is no member (platform staff too: they have their console) is told what anybody is told about a
    business that does not exist. With `write`, viewers and suspended businesses are refused with the reason.
    """

    def decorate(view: Page) -> Page:
        @functools.wraps(view)
        def page(request: PageRequest, slug: str, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _sign_in(request)
            membership = (
                Membership.objects.select_related("business").filter(user=request.user, business__slug=slug).first()
            )
            if membership is None:
                raise Http404
            business = membership.business
            reason = _why_no_writing(membership)
            request.business, request.membership, request.may_write = business, membership, not reason
            request.room, request.now = room, timezone.now()
            request.counts = SimpleLazyObject(functools.partial(queries.counts, business, now=request.now))  # type: ignore[assignment]
            if request.session.get("business") != slug:
                request.session["business"] = slug  # where they land the next time
            structlog.contextvars.bind_contextvars(tenant_id=slug)
            with only(business), timezone.override(business.zone):
                response: HttpResponseBase
                if write and reason:
                    response = render(request, "crm/refused.html", {"sentence": reason}, status=403)
                else:
                    response = view(request, **kwargs)
            # Other people's words: for this browser only, and asked for again each time.
            patch_cache_control(response, private=True, no_cache=True)
            return response

        return page

    return decorate


def _why_no_writing(membership: Membership) -> str:
    if not membership.business.is_active:
        return SUSPENDED
    return "" if membership.may_write else ONLY_READING.format(business=membership.business.name)


def _sign_in(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401)  # a part of a page cannot become the sign-in form; app.js says what to do
    return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
