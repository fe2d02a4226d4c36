"""Sales and revenue over a period, on a page and as a CSV. A mixin of the list of sales, whose permission it asks for."""

from __future__ import annotations

import csv
import io
from datetime import UTC, timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from crm.admin.base import signed_in
from crm.resources import quote
from crm.services import audit
from crm.wording import say_noun
from marketplace import reports
from marketplace.admin import charts
from marketplace.admin.words import say_kind, say_share
from marketplace.pricing import say_money
from marketplace.reports import By, Figures, Line, Period
from marketplace.wording import say_state

PAGE: Final = "marketplace_sales_report"
FILE: Final = "marketplace_sales_report_csv"
ROWS: Final = 15  # of one breakdown on the page; the CSV has them all
_HEADINGS: Final = {
    By.TIME: "Over time", By.KIND: "By class and age", By.STATE: "By state", By.BUYER: "By buyer", By.SOURCE: "By source"
}  # fmt: skip
_COLUMNS: Final = (
    "by", "name", "leads_sold", "revenue", "credited", "net", "average_price", "replacements_given", "came_back",
)  # fmt: skip


class PeriodForm(forms.Form):
    """Empty: this month. A period is named, or its first and last day are."""

    NAMES: ClassVar = [("month", "This month"), ("last", "Last month"), ("30", "Last 30 days"), ("days", "These days")]

    period = forms.ChoiceField(choices=NAMES, required=False)
    first = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if cleaned.get("period") == "days" and not self.errors:
            if not first or not last:
                raise forms.ValidationError("Choose the first and the last day.")
            if last < first:
                raise forms.ValidationError("The last day is before the first.")
            if (last - first).days >= reports.LONGEST:
                raise forms.ValidationError("A report is of three years at most.")
        return cleaned

    def chosen(self) -> Period:
        now = timezone.now()
        this_month = reports.this_month(now)
        if not self.is_valid():
            return this_month
        match self.cleaned_data["period"]:
            case "last":
                end = this_month.first - timedelta(days=1)
                return Period(end.replace(day=1), end)
            case "30":
                return reports.last_days(30, now=now)
            case "days":
                return Period(self.cleaned_data["first"], self.cleaned_data["last"])
        return this_month


class SalesReport:
    """The page, its file, and their addresses."""

    def get_urls(self) -> list[Any]:
        wrapped = self.admin_site.admin_view  # type: ignore[attr-defined]
        return [
            path("report/", wrapped(self.report_view), name=PAGE),
            path("report/csv/", wrapped(self.report_file), name=FILE),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def report_view(self, request: HttpRequest) -> HttpResponse:
        form, report = self._report(request)
        period, total = report.period, report.total
        over_time = report.lines[By.TIME]
        drawn = [
            (_say_step(line, period), line.figures.revenue, f"{_say_step(line, period)}: {_say(line.figures)}")
            for line in over_time
        ]
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "title": "Sales and revenue",
            "form": form,
            "days": f"{_say_day(period.first)} to {_say_day(period.last)}",
            "tiles": _tiles(total),
            "chart": charts.bars(drawn) if total.revenue else None,
            "floor": charts.FLOOR,
            "step": period.step,
            "tables": [self._table(by, report) for by in By],
            "file": f"{reverse(f'admin:{FILE}')}?{request.GET.urlencode()}",
            "opts": self.opts,  # type: ignore[attr-defined]
            "media": self.media,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/marketplace/report.html", context)

    def report_file(self, request: HttpRequest) -> HttpResponse:
        """Every line of every breakdown, and the total first."""
        form, report = self._report(request)
        period = report.period
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        writer.writerow(_row("total", f"{period.first} to {period.last}", report.total))
        for by in By:
            for line in report.lines[by]:
                writer.writerow(_row(period.step if by == By.TIME else by.value, line.name, line.figures))
        name = f"sales-{period.first}-{period.last}.csv"
        audit(business=None, actor=signed_in(request), action="sales report exported", target=name, now=timezone.now())
        return HttpResponse(
            "\ufeff" + text.getvalue(),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _report(self, request: HttpRequest) -> tuple[PeriodForm, reports.Report]:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        form = PeriodForm(request.GET or None, initial={"period": "month"})
        return form, reports.sales(form.chosen())

    def _table(self, by: By, report: reports.Report) -> dict[str, Any]:
        lines = report.lines[by]
        shown = lines if by == By.TIME else lines[:ROWS]
        rows = [
            {"name": _say_line(by, line, report.period), "url": _url(by, line), **_cells(line.figures)}
            for line in shown
        ]
        rest = _add_up(lines[len(shown) :])
        if len(lines) > len(shown):
            rows.append({"name": f"{len(lines) - len(shown):,} others", "url": "", **_cells(rest)})
        return {
            "heading": _HEADINGS[by],
            "is_time": by == By.TIME,
            "rows": rows,
            "total": _cells(report.total),
        }


def _tiles(total: Figures) -> list[dict[str, str]]:
    return [
        {
            "label": "Leads sold",
            "value": f"{total.sold:,}",
            "sentence": f"and {total.replaced:,} {say_noun(total.replaced, 'replacement', 'replacements')} given",
        },
        {"label": "Revenue", "value": say_money(total.revenue), "sentence": ""},
        {"label": "Returns credited", "value": say_money(total.credited), "sentence": "Booked in this period"},
        {"label": "Net", "value": say_money(total.net), "sentence": "As in the books"},
        {
            "label": "Average price",
            "value": say_money(total.average) if total.average is not None else "–",
            "sentence": "of a sold lead",
        },
        {
            "label": "Came back",
            "value": say_share(total.came_back, total.sold),
            "sentence": f"{total.came_back:,} of the leads sold in this period",
        },
    ]


def _cells(figures: Figures) -> dict[str, str]:
    return {
        "sold": f"{figures.sold:,}",
        "revenue": say_money(figures.revenue),
        "credited": say_money(figures.credited),
        "net": say_money(figures.net),
        "average": say_money(figures.average) if figures.average is not None else "–",
        "came_back": say_share(figures.came_back, figures.sold),
    }


def _row(by: str, name: str, figures: Figures) -> list[object]:
    average = "" if figures.average is None else figures.average
    return [
        by, quote(name), figures.sold, figures.revenue, figures.credited, figures.net, average, figures.replaced,
        figures.came_back,
    ]  # fmt: skip


def _add_up(lines: list[Line]) -> Figures:
    total = Figures()
    for line in lines:
        total.sold += line.figures.sold
        total.revenue += line.figures.revenue
        total.credited += line.figures.credited
        total.replaced += line.figures.replaced
        total.came_back += line.figures.came_back
    return total


def _say_line(by: By, line: Line, period: Period) -> str:
    match by:
        case By.TIME:
            return _say_step(line, period)
        case By.KIND:
            return say_kind(*line.key)
        case By.STATE:
            return say_state(line.name)
    return line.name


def _url(by: By, line: Line) -> str:
    return reverse("admin:marketplace_buyer_change", args=[line.key]) if by == By.BUYER else ""


def _say_step(line: Line, period: Period) -> str:
    if period.step == "month":
        return f"{line.key:%b %Y}"
    this_year = line.key.year == timezone.now().astimezone(UTC).year
    return f"{line.key:%b} {line.key.day}" if this_year else _say_day(line.key)


def _say_day(day: Any) -> str:
    return f"{day:%b} {day.day}, {day.year}"


def _say(figures: Figures) -> str:
    return f"{figures.sold:,} {say_noun(figures.sold, 'lead', 'leads')}, {say_money(figures.revenue)}"
