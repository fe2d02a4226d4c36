"""What leads cost: now, from when on, and before. History is never edited; a price is changed by setting the next one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from import_export.admin import ImportExportMixin
from import_export.forms import ConfirmImportForm, ImportForm
from import_export.results import Result

from crm.admin.base import ReadOnlyAdmin, signed_in
from crm.admin.files import ForAnHour
from crm.resources import UnreadableFile
from crm.services import Refused, audit
from marketplace import age_buckets, pricing
from marketplace.admin import charts
from marketplace.admin.words import say_kind, say_moment, say_share
from marketplace.enums import AgeBucket, Classification
from marketplace.models import PricingRule, Stock
from marketplace.pricing import say_money
from marketplace.resources import COLUMNS, MAX_BYTES, MAX_ROWS, PriceCsv, PriceResource
from marketplace.services import prices

CHANGES: Final = "marketplace_price_changes"  # the name of the page of one kind


@dataclass(frozen=True)
class Kind:
    """One class and age, with the price that holds and those that are planned, as they stand at `now`."""

    classification: str
    bucket: str
    rules: list[PricingRule]  # in force or planned, by their beginning
    on_shelf: int
    now: datetime

    @property
    def name(self) -> str:
        return say_kind(self.classification, self.bucket)

    @property
    def url(self) -> str:
        return reverse(f"admin:{CHANGES}", args=[self.classification, self.bucket])

    @property
    def in_force(self) -> PricingRule | None:
        return next((rule for rule in self.rules if rule.effective_from <= self.now), None)

    @property
    def planned(self) -> list[PricingRule]:
        return [rule for rule in self.rules if rule.effective_from > self.now]

    @property
    def plans(self) -> list[str]:
        return [
            f"{say_money(rule.price)} from {say_moment(rule.effective_from, now=self.now)}" for rule in self.planned
        ]

    @property
    def since(self) -> str:
        return say_moment(self.in_force.effective_from, now=self.now) if self.in_force else ""

    @property
    def troubles(self) -> list[str]:
        """When nobody can buy these because nobody has said what they cost."""
        found = []
        if self.in_force is None:
            until = f" until {say_moment(self.planned[0].effective_from, now=self.now)}" if self.planned else ""
            waiting = f" {self.on_shelf:,} on the shelf cannot be bought." if self.on_shelf > 0 else ""
            found.append(f"No price{until}.{waiting}")
        for gap in pricing.gaps(_periods(self.rules)):
            until = f" until {say_moment(gap.until, now=self.now)}" if gap.until else ""
            found.append(f"No price from {say_moment(gap.since, now=self.now)}{until}.")
        return found

    def costs_at(self, moment: datetime) -> Decimal | None:
        return pricing.price_at(_periods(self.rules), moment)

    def next_after(self, moment: datetime) -> PricingRule | None:
        return next((rule for rule in self.rules if rule.effective_from > moment), None)


@dataclass(frozen=True)
class Row:
    """One age on the board."""

    label: str
    days: str
    kinds: list[Kind]


def board(*, now: datetime) -> list[Row]:
    """Every class and age, in two statements."""
    rules: dict[tuple[str, str], list[PricingRule]] = defaultdict(list)
    for rule in _not_over(now):
        rules[rule.classification, rule.age_bucket].append(rule)
    shelf = {
        (row["classification"], row["age_bucket"]): row["count"]
        for row in Stock.objects.values("classification", "age_bucket").annotate(count=Sum("available"))
    }
    return [
        Row(
            label=str(AgeBucket(bucket).label),
            days=age_buckets.say_range(bucket),
            kinds=[
                Kind(classification, bucket, rules[classification, bucket], shelf.get((classification, bucket), 0), now)
                for classification in Classification.values
            ],
        )
        for bucket in AgeBucket.values
    ]


def _not_over(now: datetime) -> QuerySet[PricingRule]:
    return PricingRule.objects.filter(_ends_after(now)).order_by("effective_from")


def _ends_after(now: datetime) -> Q:
    return Q(effective_to__isnull=True) | Q(effective_to__gt=now)


def _kind(classification: str, bucket: str, *, now: datetime) -> Kind:
    rules = _not_over(now).filter(classification=classification, age_bucket=bucket)
    shelf = Stock.objects.filter(classification=classification, age_bucket=bucket).aggregate(count=Sum("available"))
    return Kind(classification, bucket, list(rules), shelf["count"] or 0, now)


def _periods(rules: list[PricingRule]) -> list[pricing.Period]:
    return [pricing.Period(rule.price, rule.effective_from, rule.effective_to) for rule in rules]


# --- Forms -----------------------------------------------------------------------------------------------------------


class PriceForm(forms.Form):
    """A new price, from now or from a moment on. `kind` as it stands now."""

    price = forms.DecimalField(
        label="New price",
        min_value=0,
        max_value=pricing.LARGEST,
        decimal_places=2,
        help_text="US dollars for one lead.",
        error_messages={"max_value": f"A lead costs at most {say_money(pricing.LARGEST)}."},
    )
    when = forms.ChoiceField(
        label="From when", widget=forms.RadioSelect, initial="now", choices=[("now", "Now"), ("at", "At a moment")]
    )
    day = forms.DateField(label="Day", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    time = forms.TimeField(
        label="Time (UTC)", required=False, widget=forms.TimeInput(attrs={"type": "time"}), help_text="00:00 if empty."
    )
    notes = forms.CharField(
        label="Note", max_length=300, required=False, help_text="Why, for whoever looks at the history."
    )

    def __init__(self, kind: Kind, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        self.since: datetime | None = None  # None: now, whenever that is

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("when") == "at" and not self.errors:
            if not cleaned.get("day"):
                self.add_error("day", "Choose a day.")
                return cleaned
            self.since = datetime.combine(cleaned["day"], cleaned["time"] or time(), tzinfo=UTC)
            if self.since <= self.kind.now:
                self.add_error("day", f"That is over: it is {say_moment(self.kind.now, now=self.kind.now)}.")
                return cleaned
        if not self.errors and self.before == cleaned["price"]:
            self.add_error("price", f"They cost {say_money(cleaned['price'])} then already.")
        return cleaned

    @property
    def begins(self) -> datetime:
        return self.since or self.kind.now

    @property
    def before(self) -> Decimal | None:
        """What would hold then without this change."""
        return self.kind.costs_at(self.begins)

    @property
    def sentence(self) -> str:
        """“$8.00 → $9.00 from Dec 1, 00:00 UTC”."""
        was = "No price" if self.before is None else say_money(self.before)
        when = f"from {say_moment(self.since, now=self.kind.now)}" if self.since else "from now on"
        return f"{was} → {say_money(self.cleaned_data['price'])} {when}"

    @property
    def more(self) -> list[str]:
        """What else one should know before."""
        price, said = self.cleaned_data["price"], []
        if self.before:
            change = price - self.before
            said.append(
                f"{'Up' if change > 0 else 'Down'} {say_share(int(abs(change) * 100), int(self.before * 100))}."
            )
        following = self.kind.next_after(self.begins)
        if following is not None:
            moment = say_moment(following.effective_from, now=self.kind.now)
            said.append(f"It holds until {moment}, when {say_money(following.price)} begins as planned.")
        if not self.since:
            said.append(f"Quotes given in the last {pricing.QUOTE_STANDS.seconds // 60} minutes keep their prices.")
        return said

    @property
    def seen(self) -> str:
        """What the person saw when they confirmed; another value then means that somebody was quicker."""
        return "none" if self.before is None else str(self.before)


class FileForm(ImportForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["import_file"].label = "File"
        self.fields["import_file"].widget.attrs["accept"] = ".csv"
        self.fields["format"].required = False
        self.fields["format"].widget = forms.HiddenInput()

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > MAX_BYTES:
            raise forms.ValidationError(f"This file is larger than {MAX_BYTES // 1_000_000} MB.")
        if not file.name.lower().endswith(".csv"):
            raise forms.ValidationError("Choose a .csv file. A spreadsheet saves one by “Save as… CSV UTF-8”.")
        return file

    def clean_format(self) -> str:
        return "0"  # there is one


class ConfirmForm(ConfirmImportForm):
    format = forms.ChoiceField(choices=[("0", "CSV")], widget=forms.HiddenInput())


class PriceFilesForAnHour(ForAnHour):
    CACHE_PREFIX = "price-file-"


# --- The console -----------------------------------------------------------------------------------------------------


class InForce(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("planned", "Planned"), ("over", "Over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PricingRule]) -> QuerySet[PricingRule]:
        now = timezone.now()
        match self.value():
            case "now":
                return queryset.filter(_ends_after(now), effective_from__lte=now)
            case "planned":
                return queryset.filter(effective_from__gt=now)
            case "over":
                return queryset.filter(effective_to__lte=now)
        return queryset


class PriceFiles(ImportExportMixin):
    """Prices from a file, looked at first and taken whole; and all there ever were, into one."""

    resource_classes: ClassVar[list[type[PriceResource]]] = [PriceResource]
    formats: ClassVar[list[type[PriceCsv]]] = [PriceCsv]
    import_form_class = FileForm
    confirm_form_class = ConfirmForm
    import_template_name = "admin/marketplace/prices_import.html"
    tmp_storage_class = PriceFilesForAnHour

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_act_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"now": timezone.now()}

    def get_import_data_kwargs(self, request: HttpRequest, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"rollback_on_validation_errors": True}

    def get_import_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            "columns": COLUMNS,
            "max_rows": f"{MAX_ROWS:,}",
            "classes": Classification.values,
            "buckets": AgeBucket.values,
            "export": reverse("admin:marketplace_pricingrule_export"),
        }

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        response: TemplateResponse = super().import_action(request, **kwargs)
        context = response.context_data or {}
        result = context.get("result")
        if result is not None:
            wrong = sorted([*result.invalid_rows, *result.error_rows], key=lambda row: row.number)
            context |= {
                "wrong": [{"number": row.number, "sentences": _sentences(row)} for row in wrong],
                "shown": [] if wrong else [_shown(row, now=timezone.now()) for row in result.rows],
                "same": result.totals["skip"],
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
        if result.has_errors() or result.has_validation_errors():  # the preview was clean: something happened since
            return self._back_to_upload(
                request, "Nothing was imported: something has changed since the preview. Look at it again."
            )
        return super().process_result(result, request)

    def add_success_message(self, result: Result, request: HttpRequest) -> None:
        self.message_user(
            request,
            f"Imported: {_prices(result.totals['new'])} set, {result.totals['skip']:,} as they were.",
            "success",
        )

    def _back_to_upload(self, request: HttpRequest, sentence: str) -> HttpResponse:
        self.message_user(request, sentence, "error")
        return HttpResponseRedirect(reverse("admin:marketplace_pricingrule_import"))

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """Every price there was, is and is planned, as the list is filtered."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        now = timezone.now()
        rows = self.get_export_queryset(request).order_by("classification", "age_bucket", "effective_from")
        dataset = PriceResource().export(rows)
        name = f"prices-{now:%Y-%m-%d}.csv"
        audit(
            business=None, actor=signed_in(request), action="prices exported", target="prices", now=now,
            changes={"file": ["", name], "rows": ["", str(dataset.height)]},
        )  # fmt: skip
        return HttpResponse(
            PriceCsv().export_data(dataset),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


@admin.register(PricingRule)
class PricingRuleAdmin(PriceFiles, ReadOnlyAdmin):
    """On top what leads cost now, below it the history. A change is made on the page of its kind."""

    list_display = ("kind", "price_set", "state", "effective_from", "effective_to", "notes", "created_by")
    list_select_related = ("created_by",)
    list_filter = (InForce, "classification", "age_bucket")
    nothing_yet = "Nobody has set a price yet."
    change_list_template = "admin/marketplace/change_list.html"
    import_export_change_list_template = "admin/marketplace/prices.html"
    fields = (
        "kind",
        "price_set",
        "state",
        "effective_from",
        "effective_to",
        "notes",
        "created_by",
        "created_at",
        "its_kind",
    )
    readonly_fields = ("kind", "price_set", "state", "its_kind")
    actions = ("take_back",)

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.kind_view)
        return [path("of/<str:classification>/<str:bucket>/", page, name=CHANGES), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        now = timezone.now()
        more = {"title": "Prices", "board": board(now=now), "classes": Classification.values}
        return super().changelist_view(request, more | (extra_context or {}))

    @admin.display(description="kind")
    def kind(self, rule: PricingRule) -> str:
        return say_kind(rule.classification, rule.age_bucket)

    @admin.display(description="price")
    def price_set(self, rule: PricingRule) -> str:
        return say_money(rule.price)

    @admin.display(description="state")
    def state(self, rule: PricingRule) -> str:
        now = timezone.now()
        if rule.effective_from > now:
            return "Planned"
        return "In force" if rule.effective_to is None or rule.effective_to > now else "Over"

    @admin.display(description="change")
    def its_kind(self, rule: PricingRule) -> str:
        address = reverse(f"admin:{CHANGES}", args=[rule.classification, rule.age_bucket])
        return format_html('<a href="{}">Prices of {}</a>', address, self.kind(rule))

    # --- One kind ---

    def kind_view(self, request: HttpRequest, classification: str, bucket: str) -> HttpResponse:
        """The price of one class and age, what is planned, its history, and a form for the next price."""
        if classification not in Classification.values or bucket not in AgeBucket.values:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        may_change = self.has_act_permission(request)
        if request.method == "POST" and not may_change:
            raise PermissionDenied
        kind = _kind(classification, bucket, now=timezone.now())
        form = PriceForm(kind, request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            answer = self._confirm_or_set(request, kind, form)
            if answer is not None:
                return answer
        return TemplateResponse(
            request,
            "admin/marketplace/price.html",
            {
                **self.admin_site.each_context(request),
                "title": f"Price of {kind.name}",
                "kind": kind,
                "form": form if may_change else None,
                "opts": self.opts,
                "media": self.media,
                "here": request.get_full_path(),
                **self._history(kind),
            },
        )

    def _confirm_or_set(self, request: HttpRequest, kind: Kind, form: PriceForm) -> HttpResponse | None:
        """Ask first, naming what changes; confirmed, set it. None: it was refused, and the form says why."""
        if request.POST.get("seen") != form.seen:
            if self.confirmed(request):
                self.message_user(request, "Somebody changed this price meanwhile. Look again.", "warning")
            return TemplateResponse(
                request,
                "admin/marketplace/price_confirm.html",
                {
                    **self.admin_site.each_context(request),
                    "title": f"Change the price of {kind.name}?",
                    "kind": kind,
                    "form": form,
                    "opts": self.opts,
                    "media": self.media,
                },
            )
        try:
            rule = prices.set_price(
                classification=kind.classification,
                age_bucket=kind.bucket,
                price=form.cleaned_data["price"],
                now=kind.now,
                effective_from=form.since,
                notes=form.cleaned_data["notes"],
                actor=signed_in(request),
            )
        except Refused as reason:
            form.add_error(None, str(reason))
            return None
        when = f"from {say_moment(rule.effective_from, now=kind.now)}" if form.since else "now"
        self.message_user(request, f"{kind.name}: {say_money(rule.price)} {when}.", "success")
        return HttpResponseRedirect(kind.url)

    def _history(self, kind: Kind) -> dict[str, Any]:
        rules = list(
            PricingRule.objects.filter(classification=kind.classification, age_bucket=kind.bucket)
            .select_related("created_by")
            .order_by("effective_from")
        )
        return {
            "history": rules[::-1],
            "chart": charts.steps(_periods(rules), now=kind.now) if rules else None,
            "floor": charts.FLOOR,
        }

    # --- Planned ---

    @admin.action(description="Take back", permissions=["act"])
    def take_back(self, request: HttpRequest, queryset: QuerySet[PricingRule]) -> HttpResponse | None:
        now = timezone.now()
        if not self.confirmed(request):
            rules = queryset.order_by("effective_from")
            return self.ask(
                request,
                rules,
                question="Take back?",
                button="Take back",
                explanation="A planned price is forgotten, and the one before it goes on. A price that has begun stays.",
                template="admin/marketplace/ask.html",
                what=[
                    f"{self.kind(rule)}: {say_money(rule.price)} from {say_moment(rule.effective_from, now=now)}"
                    for rule in rules
                ],
            )
        actor = signed_in(request)

        def act(rule: PricingRule) -> bool:
            prices.take_back(rule=rule, actor=actor, now=now)
            return True

        self.for_each(request, queryset, act, done="taken back", column="price")
        return None


def _shown(row: Any, *, now: datetime) -> dict[str, Any]:
    """A row of the preview: what holds until then, and what will."""
    rule, is_new = row.rule, row.import_type == "new"
    begins = f"from {say_moment(rule.effective_from, now=now)}" if rule.effective_from > now else "from now on"
    return {
        "number": row.number,
        "kind": say_kind(rule.classification, rule.age_bucket),
        "was": say_money(row.before.price) if row.before else "No price",
        "price": say_money(rule.price),
        "begins": begins if is_new else "as it is",
        "notes": rule.notes,
        "is_new": is_new,
    }


def _sentences(row: Any) -> list[str]:
    if not hasattr(row, "error"):
        return [str(error.error) for error in row.errors]
    return [str(sentence) for sentence in row.error.messages]


def _prices(count: int) -> str:
    return "1 price" if count == 1 else f"{count:,} prices"
