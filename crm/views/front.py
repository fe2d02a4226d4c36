"""The front door: where somebody lands, the colours, and the signpost behind every line of a timeline."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from crm import cards
from crm.access import PageRequest, business_page
from crm.forms import ThemeForm
from crm.models import Membership, User

_A_YEAR: Final = timedelta(days=365)


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Straight into the only business, or the last one; else a choice. Whoever has none is told what to do."""
    memberships = list(
        Membership.objects.select_related("business")
        .filter(user=cast(User, request.user))
        .order_by("business__name", "business__slug")
    )
    slugs = [membership.business.slug for membership in memberships]
    last = request.session.get("business")
    if len(slugs) == 1 or last in slugs:
        return redirect("leads:today", slugs[0] if len(slugs) == 1 else last)
    return render(request, "crm/home.html", {"memberships": memberships})


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system says. Not HttpOnly: theme.js reads it before the first paint."""
    form = ThemeForm(request.POST)
    if not form.is_valid():
        raise BadRequest("There is no such theme.")
    there = form.cleaned_data["next"]
    if not url_has_allowed_host_and_scheme(
        there, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        there = "/"
    response = redirect(there)
    response.set_cookie(
        "theme", form.cleaned_data["theme"], max_age=_A_YEAR, samesite="Lax", secure=request.is_secure(), httponly=False
    )
    return response


def opens_at(request: PageRequest, about: str) -> str:
    """The signpost to what a line is about, without looking it up: that happens when somebody follows it."""
    if not cards.opens(about):
        return ""
    kind, _, pk = about.partition(":")
    return reverse("crm:open", args=[request.business.slug, kind, pk])


@require_safe
@business_page()
def open_about(request: PageRequest, kind: str, pk: UUID) -> HttpResponse:
    """To the thing a line of the timeline is about, on whatever floor it lives."""
    about = f"{kind}:{pk}"
    card = cards.look_up(request.business, [about]).get(about)
    if card is None:
        raise Http404
    return redirect(card.url)
