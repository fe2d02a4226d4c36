"""Files of leads: uploaded, watched while they are read, and the rows that were not taken handed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.files.uploadhandler import SkipFile, TemporaryFileUploadHandler
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from crm.admin.base import ReadOnlyAdmin, list_url, signed_in
from crm.admin.lists import made_lately
from crm.models import Heartbeat
from crm.wording import say_noun
from marketplace import columns, reading, tasks
from marketplace.enums import IngestStatus, ProblemKind
from marketplace.models import AgedLead, IngestProblem, IngestRun
from marketplace.services import ingest

SHOWN: Final = 50  # problems on a page
ALIVE: Final = timedelta(minutes=1)  # the worker signs every 15 seconds
UNFINISHED: Final = (IngestStatus.WAITING, IngestStatus.RUNNING)
_FORM: Final = 10_000  # bytes of a request that are not the file


class UpToTheLimit(TemporaryFileUploadHandler):
    """Files go to disk as they come. One that is too large runs past, so that its sender reads why instead of getting a
    broken connection."""

    is_too_large = False

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:
        self.is_too_large = content_length > settings.INGEST_MAX_BYTES + _FORM

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        if self.is_too_large:
            raise SkipFile
        super().new_file(*args, **kwargs)


class UploadForm(forms.Form):
    file = forms.FileField(label="File", widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}))
    dry_run = forms.BooleanField(
        label="Try it out only",
        required=False,
        help_text="Every row is read and judged as if it were loaded, and nothing is kept but the result.",
    )

    def __init__(self, *args: Any, is_too_large: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_too_large:
            self.fields["file"].error_messages["required"] = too_large()

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.INGEST_MAX_BYTES:
            raise forms.ValidationError(too_large())
        return file


def too_large() -> str:
    return (
        f"This file is larger than {say_size(settings.INGEST_MAX_BYTES)}. Split it and upload the parts, or load it with the"
        " command ingest_leads."
    )


def say_size(count: float) -> str:
    """Of so many bytes: “812 bytes”, “1.5 MB”."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}" if unit in ("bytes", "KB") else f"{count:,.1f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"


@dataclass(frozen=True)
class Problem:
    """A row that was not taken, as the page shows it."""

    number: int
    text: str
    cells: list[tuple[str, str]]


class State(admin.SimpleListFilter):
    title = "status"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [("unfinished", "Waiting or being read"), *IngestStatus.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[IngestRun]) -> QuerySet[IngestRun]:
        if self.value() == "unfinished":
            return queryset.filter(status__in=UNFINISHED)
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(IngestRun)
class IngestRunAdmin(ReadOnlyAdmin):
    nothing_yet = "No file has been loaded yet."
    list_display = (
        "name",
        "standing",
        "created_at",
        "so_far",
        "loaded",
        "not_taken",
        "started_by",
    )
    list_select_related = ("started_by",)
    list_filter = (State, "dry_run", made_lately("created_at"))
    search_fields = ("name",)
    search_help_text = "The name of the file, whole, or an id."
    actions = ("stop",)

    def find(self, rows: QuerySet[IngestRun], words: str) -> QuerySet[IngestRun]:
        return rows.filter(name__iexact=words)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add")

    def get_urls(self) -> list[URLPattern]:
        download = self.admin_site.admin_view(self.problems_view)
        return [path("<uuid:pk>/problems.csv", download, name="marketplace_ingestrun_problems"), *super().get_urls()]

    # --- Upload ---

    @method_decorator(csrf_exempt)  # until it is known where the file goes; `_upload` looks at the token
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        handler = UpToTheLimit(request)
        request.upload_handlers = [handler]
        return self._upload(request, handler)

    @method_decorator(csrf_protect)
    def _upload(self, request: HttpRequest, handler: UpToTheLimit) -> HttpResponse:
        sent = request.method == "POST"
        form = UploadForm(*([request.POST, request.FILES] if sent else []), is_too_large=handler.is_too_large)
        if sent and form.is_valid():
            file = form.cleaned_data["file"]
            run = ingest.begin(
                name=file.name,
                source=file,
                actor=signed_in(request),
                now=timezone.now(),
                dry_run=form.cleaned_data["dry_run"],
            )
            self.trace(
                request,
                run,
                action="file of leads uploaded",
                changes={"rows": ["", str(run.total_rows)], "only tried out": ["", "yes" if run.dry_run else "no"]},
            )
            if run.status == IngestStatus.WAITING:
                tasks.wake(tasks.ingest_files)
            return HttpResponseRedirect(self.url_of(run))
        context = {
            **self.admin_site.each_context(request),
            "title": "Load a file of leads",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "required": columns.REQUIRED,
            "columns": list(columns.SOURCE),
            "largest": say_size(settings.INGEST_MAX_BYTES),
        }
        return TemplateResponse(request, "admin/marketplace/ingestrun/upload.html", context)

    # --- One run ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        run: IngestRun | None = self.get_object(request, unquote(object_id))
        if run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        earlier = ingest.earlier(run)
        is_unfinished = run.status in UNFINISHED
        context = {
            **self.admin_site.each_context(request),
            "title": run.name,
            "opts": self.opts,
            "media": self.media,
            "run": run,
            "size": say_size(run.size),
            "is_unfinished": is_unfinished,
            "percent": ingest.percent_done(run),
            "counts": _counts(run),
            "not_taken": run.failed + run.skipped,
            "earlier": earlier if earlier and earlier.created_at < run.created_at else None,
            "took": _say_long(run.finished_at - run.created_at) if run.finished_at else "",
            "no_worker": run.status == IngestStatus.WAITING and not _worker_is_alive(),
            "may_stop": is_unfinished and self.has_act_permission(request),
            "may_load": self.has_add_permission(request),
            "leads_url": list_url(AgedLead, run__id__exact=run.pk) if run.successful and not run.dry_run else "",
            "problems_url": reverse("admin:marketplace_ingestrun_problems", args=[run.pk]),
            "here": request.get_full_path(),
            **_problems(run, after=request.GET.get("after", "")),
        }
        response = TemplateResponse(request, "admin/marketplace/ingestrun/run.html", context)
        if request.headers.get("HX-Request") and not is_unfinished:
            response["HX-Refresh"] = "true"  # the page that watched shows the result, whole
        return response

    def problems_view(self, request: HttpRequest, pk: Any) -> HttpResponse | StreamingHttpResponse:
        """The rows that were not taken, with their reasons: to be put right and uploaded again."""
        run = IngestRun.objects.filter(pk=pk).first()
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        self.trace(
            request,
            run,
            action="rows not taken downloaded",
            changes={"rows": ["", str(run.failed + run.skipped)]},
        )
        stem = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in run.name[:60])
        return StreamingHttpResponse(
            ingest.error_file(run),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="to-put-right-{stem.removesuffix("_csv")}.csv"',
                "Cache-Control": "no-store",
            },
        )

    # --- Shown in the list ---

    @admin.display(description="status")
    def standing(self, run: IngestRun) -> SafeString:
        only = " Only tried out" if run.dry_run else ""
        return format_html('<span class="state state--{}">{}</span>{}', run.status, run.get_status_display(), only)

    @admin.display(description="rows read")
    def so_far(self, run: IngestRun) -> str:
        if run.total_rows is None or run.status == IngestStatus.DONE:
            return f"{run.done_rows:,}"
        return f"{run.done_rows:,} of {run.total_rows:,}"

    @admin.display(description="loaded")
    def loaded(self, run: IngestRun) -> str:
        return f"{run.successful:,}"

    @admin.display(description="not taken")
    def not_taken(self, run: IngestRun) -> str:
        return f"{run.failed + run.skipped:,}"

    # --- Acted upon ---

    @admin.action(description="Stop", permissions=["act"])
    def stop(self, request: HttpRequest, queryset: QuerySet[IngestRun]) -> HttpResponse | None:
        if not self.confirmed(request):
            return self.ask(
                request,
                queryset,
                question="Stop reading this file?",
                button="Stop",
                explanation="What was loaded stays. The rest does not come; upload the file again to go on.",
            )
        self.for_each(
            request,
            queryset,
            lambda run: ingest.stop(run=run, now=timezone.now()),
            done="stopped",
            action="file stopped",
        )
        return None


def _counts(run: IngestRun) -> list[tuple[str, int, str]]:
    """The numbers of a run: what they count, how many, and a remark."""
    loaded = "Would be loaded" if run.dry_run else "Loaded"
    return [
        (loaded, run.successful, f"{run.gold:,} Gold, {run.silver:,} Silver"),
        ("Already on file", run.known, "Nothing is changed about them"),
        ("Opted out or erased", run.blocked, "They are not taken in again"),
        (ProblemKind.FAILED.label, run.failed, "A value cannot be read"),
        (ProblemKind.SKIPPED.label, run.skipped, "A required value is missing"),
    ]


def _problems(run: IngestRun, *, after: str) -> Mapping[str, Any]:
    """A stretch of the rows that were not taken, behind a row number: a file may have a million of them."""
    number = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else 0
    found = IngestProblem.objects.filter(run=run, row_number__gt=number).order_by("row_number")[: SHOWN + 1]
    rows = [Problem(row.row_number, row.problem, reading.as_it_stood(row.row)) for row in found]
    return {
        "problems": rows[:SHOWN],
        "after": rows[SHOWN - 1].number if len(rows) > SHOWN else None,
        "is_first": not number,
    }


def _say_long(stretch: timedelta) -> str:
    """“12 seconds”, “3 minutes”."""
    seconds = max(int(stretch.total_seconds()), 1)
    if seconds < 120:
        return f"{seconds} {say_noun(seconds, 'second', 'seconds')}"
    return f"{seconds // 60:,} minutes"


def _worker_is_alive() -> bool:
    beat = Heartbeat.objects.filter(name="worker").first()
    return beat is not None and timezone.now() - beat.at <= ALIVE
