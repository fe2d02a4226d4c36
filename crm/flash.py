"""What just happened, told once on the next page; with a way back where there is one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

_KEY = "undo"


def offer_undo(request: HttpRequest, *, sentence: str, url: str, label: str = "Undo") -> None:
    """Tell `sentence` on the next page, with a button that posts to `url`. A newer offer replaces an older one."""
    request.session[_KEY] = {"sentence": sentence, "url": url, "label": label}


def take_undo(request: HttpRequest) -> dict[str, Any] | None:
    """The offer, for the page that shows it; it is told once."""
    offer: dict[str, Any] | None = request.session.pop(_KEY, None)
    return offer
