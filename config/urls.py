"""Which door leads where."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import health
from config.styleguide import styleguide

urlpatterns = [
    re_path(r"^healthz/?$", health.healthz, name="healthz"),
    re_path(r"^readyz/?$", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("accounts/", include("django.contrib.auth.urls")),
    path("", include("telephony.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="schema")),
    path("api/v1/", include("config.api")),
    path("v1/", include("config.api")),
    path("", include("config.api")),
]
if settings.DEBUG:
    urlpatterns.append(path("styleguide/", styleguide))
