"""Which door leads where."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import health
from config.styleguide import styleguide

# Swagger UI styles its own icons inline; its scripts are files of ours like all others.
docs = csp_update({"style-src": [SELF, UNSAFE_INLINE]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))

urlpatterns = [
    re_path(r"^healthz/?$", health.healthz, name="healthz"),
    re_path(r"^readyz/?$", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("accounts/", include("django.contrib.auth.urls")),
    path("", RedirectView.as_view(pattern_name="crm:home")),
    path("app", RedirectView.as_view(pattern_name="crm:home")),
    path("app/", include("crm.urls")),
    path("app/", include("booking.urls")),
    path("app/", include("marketplace.urls")),
    path("app/", include("leads.urls")),  # last: a bare slug is Today
    path("buyers/", include("marketplace.urls_front")),
    path("", include("telephony.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^docs/?$", docs, name="docs"),
    path("api/v1/", include("config.api")),
    path("v1/", include("config.api")),
    path("", include("config.api")),
]
if settings.DEBUG:
    urlpatterns.append(path("styleguide/", styleguide))
