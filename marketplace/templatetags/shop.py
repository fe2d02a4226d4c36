"""What the templates of the marketplace need beyond Django's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import template
from django.urls import reverse

from marketplace import cart
from marketplace.pricing import say_money

register = template.Library()

# The address's name, and the words on the tab.
_ROOMS = (
    ("browse", "Browse"),
    ("cart", "Cart"),
    ("purchases", "Purchases"),
    ("returns", "Returns"),
    ("recalls", "Recalls"),
    ("account", "Account"),
)


@register.filter
def money(amount: Decimal) -> str:
    """“$1,234.50”."""
    return say_money(amount)


@register.inclusion_tag("components/tabs.html", takes_context=True)
def shop_tabs(context: dict[str, Any]) -> dict[str, Any]:
    """The rooms of Buy leads, with how many leads lie in the cart."""
    request = context["request"]
    tabs = []
    for name, label in _ROOMS:
        url = reverse(f"marketplace:{name}", args=[request.business.slug])
        tabs.append(
            {
                "label": label,
                "url": url,
                "count": cart.leads_in(request) or None if name == "cart" else None,
                "current": _is_in(request, name, url),
            }
        )
    return {"label": "Buy leads", "tabs": tabs}


def _is_in(request: Any, name: str, url: str) -> bool:
    """A room's own page, or one that lies in it: the invoices lie in the account."""
    here = request.resolver_match.url_name
    if name == "cart" and here == "checkout":  # shown again when nothing could be bought
        return True
    return bool(here == name or (name != "browse" and request.path.startswith(url)))
