"""Import and export of leads: the two steps of the customers' files, with the columns and the promises of leads."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from import_export.results import Result

from crm.admin import files
from crm.admin.base import signed_in
from crm.admin.lists import capped
from crm.models import Business
from crm.resources import MAX_EXPORT
from crm.services import audit
from leads.resources import COLUMNS, EXPORTED, MAX_BYTES, MAX_ROWS, SOURCES, LeadCsv, LeadResource


class UploadForm(files.UploadForm):
    def __init__(self, formats: Any, resources: Any, **kwargs: Any) -> None:
        super().__init__(formats, resources, **kwargs)
        self.fields["import_file"].widget.attrs["accept"] = ".csv"

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > MAX_BYTES:
            raise forms.ValidationError(
                f"This file is larger than {MAX_BYTES // 1_000_000} MB. Split it, and import the parts."
            )
        if not file.name.lower().endswith(".csv"):
            raise forms.ValidationError("Choose a .csv file. A spreadsheet saves one by “Save as… CSV UTF-8”.")
        return file


class DownloadForm(files.DownloadForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["format"]  # there is one


class LeadFilesForAnHour(files.ForAnHour):
    CACHE_PREFIX = "lead-file-"


class LeadFiles(files.CustomerFiles):
    resource_classes: ClassVar[list[type[Any]]] = [LeadResource]
    formats = (LeadCsv,)
    import_form_class = UploadForm
    import_template_name = "admin/leads/import.html"
    export_template_name = "admin/leads/export.html"
    tmp_storage_class = LeadFilesForAnHour

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Leads are added by a file alone, so the page to add one by hand is shut and the permission is asked here."""
        return self.may(request, "add") and self.may(request, "change")

    # --- Import ---

    def get_import_context_data(self, **kwargs: Any) -> dict[str, Any]:
        headings = [name.replace("_", " ").capitalize() for name in COLUMNS]
        return {"columns": COLUMNS, "headings": headings, "max_rows": f"{MAX_ROWS:,}", "sources": SOURCES}

    def add_success_message(self, result: Result, request: HttpRequest) -> None:
        new, known = result.totals["new"], result.totals["skip"]
        self.message_user(request, f"Imported: {new:,} new, {known:,} on file already.", "success")

    def _back_to_upload(self, request: HttpRequest, sentence: str) -> HttpResponse:
        self.message_user(request, sentence, "error")
        return HttpResponseRedirect(reverse("admin:leads_lead_import"))

    # --- Export ---

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """The list as it is filtered, of one business. A lead that was merged is in the file as the one it is now."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        initial = {"business": Business.objects.filter(slug=request.GET.get("of", "")).first()}
        form = DownloadForm(request.POST or None, initial=initial)
        if form.is_valid():
            business = form.cleaned_data["business"]
            rows = self.get_export_queryset(request).filter(business=business, merged_into__isnull=True)
            count = capped(rows, MAX_EXPORT)
            if count <= MAX_EXPORT:
                return self._download_leads(request, business, rows, count)
            form.add_error(
                None, f"These are more than {MAX_EXPORT:,} leads. Narrow the list with a search or a filter first."
            )
        context = {
            **self.admin_site.each_context(request),
            "title": "Export leads",
            "form": form,
            "opts": self.opts,
            "columns": EXPORTED,
            "media": self.media + form.media,
            "is_filtered": bool(request.GET),
        }
        return TemplateResponse(request, self.export_template_name, context)

    def _download_leads(self, request: HttpRequest, business: Business, rows: Any, count: int) -> HttpResponse:
        now = timezone.now()
        name = f"leads-{business.slug}-{now:%Y-%m-%d}.csv"
        content = LeadCsv().export_data(LeadResource().export(rows))
        audit(
            business=business, actor=signed_in(request), action="leads exported", target=f"leads of {business.slug}",
            now=now, changes={"file": ["", name], "rows": ["", str(count)], "filter": ["", request.GET.urlencode()[:200]]},
        )  # fmt: skip
        return HttpResponse(
            content,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
