"""The public API: one list of routes behind three doors.

`/api/v1/` is canonical and in the schema; `/v1/` and the root serve clients of the systems Frontdesk replaces. A
trailing slash is optional everywhere.
"""

from typing import Any

from django.urls import URLPattern, re_path
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from leads import api as leads
from leads import api_pipeline as pipeline
from marketplace import api as marketplace


def route(path: str, view: Any, name: str) -> URLPattern:
    return re_path(rf"^{path}/?$", view.as_view(), name=name)


urlpatterns = [
    route("lead", leads.LeadView, "lead"),
    route("lead/propose", leads.ProposeView, "lead-propose"),
    route("sms/callback", leads.SmsCallbackView, "sms-callback"),
    route("chat/inbound", leads.ChatInboundView, "chat-inbound"),
    route("chat/reply", leads.ChatReplyView, "chat-reply"),
    route("jobs", leads.JobsView, "jobs"),
    route("leads", pipeline.LeadsView, "leads"),
    route("leads/(?P<lead_id>[^/]+)", pipeline.LeadView, "pipeline-lead"),
    route("leads/(?P<lead_id>[^/]+)/stage", pipeline.StageView, "lead-stage"),
    route("leads/(?P<lead_id>[^/]+)/analyze", pipeline.AnalyzeView, "lead-analyze"),
    route("leads/(?P<lead_id>[^/]+)/transfer", pipeline.TransferView, "lead-transfer"),
    route("leads/(?P<lead_id>[^/]+)/activities", pipeline.ActivitiesView, "lead-activities"),
    route("leads/(?P<lead_id>[^/]+)/assign", pipeline.AssignView, "lead-assign"),
    route("leads/(?P<lead_id>[^/]+)/history", pipeline.HistoryView, "lead-history"),
    route("deals", pipeline.DealsView, "deals"),
    route("deals/(?P<deal_id>[^/]+)", pipeline.DealView, "deal"),
    route("deals/(?P<deal_id>[^/]+)/stage", pipeline.DealStageView, "deal-stage"),
    route("inventory", marketplace.InventoryView, "inventory"),
    route("inventory/locations", marketplace.LocationsView, "inventory-locations"),
    route("quotes", marketplace.QuotesView, "quotes"),
    route("quotes/(?P<quote_id>[^/]+)", marketplace.QuoteView, "quote"),
    route("purchases", marketplace.PurchasesView, "purchases"),
    route("purchases/by-criteria", marketplace.CriteriaPurchaseView, "purchases-by-criteria"),
    route("purchases/download", marketplace.DownloadView, "purchases-download"),
    route("purchases/(?P<purchase_id>[^/]+)", marketplace.PurchaseView, "purchase"),
    route("exports", marketplace.ExportsView, "exports"),
    route("exports/(?P<export_id>[^/]+)", marketplace.ExportView, "export"),
    route("returns", marketplace.ReturnsView, "returns"),
    route("returns/(?P<return_id>[^/]+)", marketplace.ReturnView, "return"),
    route("account", marketplace.AccountView, "account"),
    route("recalls", marketplace.RecallsView, "recalls"),
    route(r"recalls\.csv", marketplace.RecallsFileView, "recalls-csv"),
    route("recalls/acknowledge", marketplace.AcknowledgeView, "recalls-acknowledge"),
    route("known-phones", marketplace.KnownPhonesView, "known-phones"),
    route("webhook", marketplace.WebhookView, "webhook"),
]


def only_canonical_paths(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """The schema names each route once, without the optional slash."""
    return [
        (path.removesuffix("/"), regex, method, view)
        for path, regex, method, view in endpoints
        if path.startswith("/api/v1/")
    ]


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the schema describes `crm.api_auth`."""

    target_class = "crm.api_auth.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}
