"""Import and export of customers: for one business at a time, with a preview, and with a line in the audit."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from import_export.admin import ImportExportMixin
from import_export.forms import ConfirmImportForm, ImportForm
from import_export.results import Result
from import_export.tmp_storages import CacheStorage

from crm.admin.base import signed_in
from crm.admin.lists import capped
from crm.models import Business, Customer
from crm.resources import COLUMNS, FORMATS, MAX_BYTES, MAX_EXPORT, MAX_ROWS, CustomerResource, UnreadableFile
from crm.services import audit

PREVIEW_ROWS = 100  # shown; all of them are checked
_EXTENSIONS = {file_format().get_extension(): str(index) for index, file_format in enumerate(FORMATS)}


class ForAnHour(CacheStorage):
    """Between preview and confirmation the file waits where every web process finds it, and nowhere on a disk."""

    CACHE_LIFETIME = 3_600
    CACHE_PREFIX = "customer-file-"


def _business_field() -> forms.ModelChoiceField:
    widget = AutocompleteSelect(Customer._meta.get_field("business"), admin.site)
    return forms.ModelChoiceField(Business.objects.all(), widget=widget)


class UploadForm(ImportForm):
    """Whose customers, and the file. What kind of file it is, its name says."""

    field_order = ("business", "import_file")

    def __init__(self, formats: Any, resources: Any, **kwargs: Any) -> None:
        super().__init__(formats, resources, **kwargs)
        self.fields["business"] = _business_field()
        self.fields["import_file"].label = "File"
        self.fields["import_file"].widget.attrs["accept"] = ", ".join(f".{extension}" for extension in _EXTENSIONS)
        self.fields["format"].required = False
        self.fields["format"].widget = forms.HiddenInput()
        self.order_fields(self.field_order)

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > MAX_BYTES:
            raise forms.ValidationError(
                f"This file is larger than {MAX_BYTES // 1_000_000} MB. Split it, and import the parts."
            )
        if file.name.rpartition(".")[2].lower() not in _EXTENSIONS:
            raise forms.ValidationError(
                "Choose a .csv, .tsv or .json file. A spreadsheet saves one by “Save as… CSV UTF-8”."
            )
        return file

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("import_file"):
            cleaned["format"] = _EXTENSIONS[cleaned["import_file"].name.rpartition(".")[2].lower()]
        return cleaned


class ConfirmForm(ConfirmImportForm):
    business = forms.ModelChoiceField(Business.objects.all(), widget=forms.HiddenInput())
    format = forms.ChoiceField(choices=[(index, index) for index in _EXTENSIONS.values()], widget=forms.HiddenInput())


class DownloadForm(forms.Form):
    format = forms.ChoiceField(
        choices=[("0", "CSV, for spreadsheets"), ("1", "TSV, for spreadsheets"), ("2", "JSON, for programs")],
        initial="0",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["business"] = _business_field()
        self.order_fields(("business", "format"))


class CustomerFiles(ImportExportMixin):
    resource_classes: ClassVar[list[type[CustomerResource]]] = [CustomerResource]
    formats = FORMATS
    import_form_class = UploadForm
    confirm_form_class = ConfirmForm
    import_template_name = "admin/customers_import.html"
    export_template_name = "admin/customers_export.html"
    tmp_storage_class = ForAnHour

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    # --- Import ---

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"business": getattr(kwargs.get("form"), "cleaned_data", {}).get("business")}

    def get_import_data_kwargs(self, request: HttpRequest, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"rollback_on_validation_errors": True}  # a file is taken whole or not at all

    def get_import_form_initial(self, request: HttpRequest) -> dict[str, Any]:
        return _initial(request)

    def get_confirm_form_initial(self, request: HttpRequest, import_form: Any) -> dict[str, Any]:
        initial = super().get_confirm_form_initial(request, import_form)
        return initial | {"business": import_form.cleaned_data["business"].pk} if import_form else initial

    def get_import_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"columns": COLUMNS, "max_rows": f"{MAX_ROWS:,}"}

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        response: TemplateResponse = super().import_action(request, **kwargs)
        context = response.context_data or {}
        result = context.get("result")
        if result is not None:
            wrong = sorted([*result.invalid_rows, *result.error_rows], key=lambda row: row.number)
            context |= {
                "shown": result.rows[:PREVIEW_ROWS],
                "wrong_count": len(wrong),
                "wrong_rows": [{"number": row.number, "sentences": _sentences(row)} for row in wrong[:PREVIEW_ROWS]],
            }
        return response

    def add_data_read_fail_error_to_form(self, form: forms.Form, e: Exception) -> None:
        if not isinstance(e, UnreadableFile):
            raise e
        form.add_error("import_file", str(e))

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            return super().process_import(request, **kwargs)
        except UnreadableFile as reason:
            return self._back_to_upload(request, str(reason))

    def process_result(self, result: Result, request: HttpRequest) -> HttpResponse:
        """The rows were checked for the preview; what is wrong now has happened since."""
        for error in result.base_errors:
            return self._back_to_upload(request, f"Nothing was imported. {error.error}")
        if result.has_errors() or result.has_validation_errors():
            return self._back_to_upload(
                request, "Nothing was imported: something has changed since the preview. Look at it again."
            )
        return super().process_result(result, request)

    def add_success_message(self, result: Result, request: HttpRequest) -> None:
        totals = result.totals
        self.message_user(
            request,
            f"Imported: {totals['new']:,} new, {totals['update']:,} updated, {totals['skip']:,} as they were.",
            "success",
        )

    def _back_to_upload(self, request: HttpRequest, sentence: str) -> HttpResponse:
        self.message_user(request, sentence, "error")
        return HttpResponseRedirect(reverse("admin:crm_customer_import"))

    # --- Export ---

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """The list as it is filtered, of one business."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        form = DownloadForm(request.POST or None, initial=_initial(request))
        if form.is_valid():
            business = form.cleaned_data["business"]
            rows = self.get_export_queryset(request).filter(business=business, merged_into__isnull=True)
            count = capped(rows, MAX_EXPORT)
            if count <= MAX_EXPORT:
                return self._download(request, business, rows, FORMATS[int(form.cleaned_data["format"])](), count)
            form.add_error(
                None,
                f"These are more than {MAX_EXPORT:,} customers. Narrow the list with a search or a filter first.",
            )
        context = {
            **self.admin_site.each_context(request),
            "title": "Export customers",
            "form": form,
            "opts": self.opts,
            "columns": COLUMNS,
            "media": self.media + form.media,
            "is_filtered": bool(request.GET),
        }
        return TemplateResponse(request, self.export_template_name, context)

    def _download(
        self, request: HttpRequest, business: Business, rows: Any, file_format: Any, count: int
    ) -> HttpResponse:
        now = timezone.now()
        name = f"customers-{business.slug}-{now:%Y-%m-%d}.{file_format.get_extension()}"
        content = file_format.export_data(CustomerResource().export(rows))
        audit(
            business=business,
            actor=signed_in(request),
            action="customers exported",
            target=f"customers of {business.slug}",
            now=now,
            changes={"file": ["", name], "rows": ["", str(count)], "filter": ["", request.GET.urlencode()[:200]]},
        )
        return HttpResponse(
            content,
            content_type=f"{file_format.get_content_type()}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _sentences(row: Any) -> list[str]:
    """What is wrong with a row, the field first where the sentence does not name it."""
    if not hasattr(row, "field_specific_errors"):
        return [str(error.error) for error in row.errors]
    said = [
        str(sentence) if name == "phone" else f"{name.capitalize()}: {sentence}"
        for name, sentences in row.field_specific_errors.items()
        for sentence in sentences
    ]
    return said + [str(sentence) for sentence in row.non_field_specific_errors]


def _initial(request: HttpRequest) -> dict[str, Any]:
    """The business whose customers are on the list already."""
    return {"business": Business.objects.filter(slug=request.GET.get("of", "")).first()}
