"""Who calls the API: a key in a header. And how often they may.

`X-API-Key` (api), `X-Owner-Token` (owner), `X-Widget-Token` (widget), `X-Admin-API-Key` (admin), or any of them as
`Authorization: Bearer`. A key opens exactly one business; an admin key opens the platform routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from crm.api_keys import recognise
from crm.cache import ForgivingRedisCache
from crm.enums import KeyKind, SecurityEventKind
from crm.models import ApiKey
from crm.security import report

if TYPE_CHECKING:
    from rest_framework.views import APIView

_HEADERS = {
    "HTTP_X_API_KEY": (KeyKind.API, KeyKind.OWNER),
    "HTTP_X_OWNER_TOKEN": (KeyKind.OWNER,),
    "HTTP_X_WIDGET_TOKEN": (KeyKind.WIDGET,),
    "HTTP_X_ADMIN_API_KEY": (KeyKind.ADMIN,),
    "HTTP_AUTHORIZATION": tuple(KeyKind),
}


class ApiKeyAuthentication(BaseAuthentication):
    """`request.auth` is the ApiKey; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        for header, kinds in _HEADERS.items():
            secret = request.META.get(header, "")
            if header == "HTTP_AUTHORIZATION":
                scheme, _, secret = secret.partition(" ")
                if scheme.lower() != "bearer":
                    continue
            if not secret:
                continue
            key = recognise(secret.strip(), now=timezone.now())
            if key is None or key.kind not in kinds:
                report(kind=SecurityEventKind.KEY_INVALID, request=request._request, now=timezone.now())
                raise AuthenticationFailed("Invalid API key")
            return None, key
        return None

    def authenticate_header(self, request: Request) -> str:
        return "X-API-Key"


class HasApiKey(BasePermission):
    """A business's own key. Suspended businesses are answered by the view, as documented there."""

    message = "Send this business's key in the X-API-Key header."
    kinds: tuple[KeyKind, ...] = (KeyKind.API, KeyKind.OWNER)

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, ApiKey) and request.auth.kind in self.kinds


class OpenOrApiKey(BasePermission):
    """For intake: no key (then only for a business with open intake), or the business's own."""

    message = "This key does not open intake. Send the business's key in the X-API-Key header."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth is None or HasApiKey().has_permission(request, view)


class PerKeyThrottle(SimpleRateThrottle):
    """Per key; callers without one share a stricter rate per network address.

    Counts in fixed windows with one increment in the cache, where DRF's own keeps a list of every request of the window.
    Approximate by design: with the cache away nobody is counted.
    """

    def __init__(self) -> None:
        """The rate depends on the caller, so it is looked up in `allow_request`."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        scope = "key" if isinstance(request.auth, ApiKey) else "anonymous"
        allowed, seconds = self.parse_rate(self.THROTTLE_RATES[scope])
        assert allowed is not None  # every scope has a rate in the settings
        assert seconds is not None
        ident = request.auth.pk if isinstance(request.auth, ApiKey) else self.get_ident(request)
        now = self.timer()
        window = int(now // seconds)
        self.until_next_window = (window + 1) * seconds - now
        cache = cast(ForgivingRedisCache, self.cache)
        count = cache.count(f"throttle:{scope}:{ident}:{window}", timeout=seconds)
        if count > allowed:
            report(kind=SecurityEventKind.RATE_LIMITED, request=request._request, now=timezone.now())
        return count <= allowed

    def wait(self) -> float:
        return self.until_next_window
