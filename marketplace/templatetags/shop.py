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
    here = request.resolver_match.url_name
    return {
        "label": "Buy leads",
        "tabs": [
            {
                "label": label,
                "url": reverse(f"marketplace:{name}", args=[request.business.slug]),
                "count": cart.leads_in(request) or None if name == "cart" else None,
                "current": name == here,
            }
            for name, label in _ROOMS
        ],
    }
