"""What the owner's shell needs on every page: who, where, what waits, and what can be taken back."""

from __future__ import annotations

import functools
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from crm import flash
from crm.models import Membership

# Key, label, icon, and the name of the address. The first four are the bottom bar of a phone. The rooms of the floors
# above are known here by the names on their doors only.
ROOMS: Final = (
    ("today", "Today", "home", "leads:today"),
    ("inbox", "Inbox", "inbox", "crm:inbox"),
    ("calendar", "Calendar", "calendar", "booking:calendar"),
    ("leads", "Leads", "star", "leads:leads"),
    ("customers", "Customers", "users", "crm:customers"),
    ("buy", "Buy leads", "shopping-cart", "marketplace:browse"),
    ("settings", "Settings", "settings", "booking:settings"),
)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Outside a business only the colours; inside, nothing is asked of the database before the
    template looks at it, so the small answers to htmx cost nothing here."""
    context: dict[str, Any] = {"theme": request.COOKIES.get("theme", "auto")}
    business = getattr(request, "business", None)
    if business is None:
        return context
    return context | {
        "business": business,
        "businesses": SimpleLazyObject(functools.partial(_businesses, request)),
        "nav": SimpleLazyObject(functools.partial(_nav, request)),
        "current_nav": request.room,  # type: ignore[attr-defined]
        "search_url": reverse("crm:customers", args=[business.slug]),
        "may_write": request.may_write,  # type: ignore[attr-defined]
        "now": request.now,  # type: ignore[attr-defined]
        "undo": SimpleLazyObject(functools.partial(flash.take_undo, request)),
    }


def _nav(request: Any) -> list[dict[str, Any]]:
    waiting = {"today": request.counts.tasks, "inbox": request.counts.conversations}
    return [
        {
            "key": key,
            "label": label,
            "icon": icon,
            "url": reverse(name, args=[request.business.slug]),
            "count": waiting.get(key),
        }
        for key, label, icon, name in ROOMS
    ]


def _businesses(request: Any) -> list[dict[str, str]]:
    """Every business of this person, each with the address of the same kind of page there."""
    theirs = Membership.objects.filter(user=request.user).order_by("business__name", "business__slug")
    return [
        {"slug": slug, "name": name, "url": _same_page(request, slug)}
        for slug, name in theirs.values_list("business__slug", "business__name")
    ]


def _same_page(request: Any, slug: str) -> str:
    """A list stays that list; a page about one customer or job becomes the room it belongs to."""
    here = request.resolver_match
    if set(here.kwargs) == {"slug"} and request.method == "GET":
        return reverse(here.view_name, args=[slug])
    names = {key: name for key, _, _, name in ROOMS}
    return reverse(names.get(request.room, "leads:today"), args=[slug])
