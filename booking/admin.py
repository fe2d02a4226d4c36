"""The calendar in the staff console: who does what and when. Appointments move by the same services as everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import DateTimeField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.utils import timezone

from booking import services
from booking.enums import AppointmentStatus
from booking.models import Appointment, BlackoutDate, SchedulingRules, Service, StaffMember, TimeOff, WeeklyHours
from booking.wording import say_clock, say_date
from crm.admin.base import SameBusinessForm, StaffAdmin, signed_in
from crm.admin.businesses import BusinessAdmin
from crm.admin.lists import OfBusiness, as_key, made_lately, of_customers
from crm.models import Business

MIDNIGHT = time(0)


class SchedulingRulesInline(admin.StackedInline):
    model = SchedulingRules
    can_delete = False
    extra = 0
    verbose_name_plural = "how its calendar fills"


BusinessAdmin.inlines.append(SchedulingRulesInline)  # the ground floor has no calendar of its own


@admin.register(SchedulingRules)
class SchedulingRulesAdmin(StaffAdmin):
    list_display = (
        "business",
        "hold_minutes",
        "min_notice_minutes",
        "horizon_days",
        "grid_minutes",
        "max_jobs_per_day",
    )
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    autocomplete_fields = ("business",)

    def called(self, row: SchedulingRules) -> str:
        return f"scheduling rules of {row.business.slug}"


@admin.register(Service)
class ServiceAdmin(StaffAdmin):
    deletable = True
    instead_of_deleting = "Take the tick from “Is active” to take it off the list."
    list_display = ("name", "business", "duration_minutes", "price_low", "price_high", "is_active")
    list_select_related = ("business",)
    list_filter = (OfBusiness, "is_active")
    search_fields = ("name",)
    search_help_text = "The beginning of the name; narrow it to a business first."
    autocomplete_fields = ("business",)
    fields = ("business", "name", "aliases", "duration_minutes", "price_low", "price_high", "note", "is_active")

    def find(self, rows: QuerySet[Service], words: str) -> QuerySet[Service]:
        return rows.filter(name__istartswith=words)


@admin.register(StaffMember)
class StaffMemberAdmin(StaffAdmin):
    deletable = True
    instead_of_deleting = "Take the tick from “Is active” to book nothing with them any more."
    list_display = ("name", "business", "user", "is_active")
    list_select_related = ("business", "user")
    list_filter = (OfBusiness, "is_active")
    search_fields = ("name",)
    search_help_text = "The beginning of the name; narrow it to a business first."
    autocomplete_fields = ("business", "user")
    fields = ("business", "name", "user", "is_active")

    def find(self, rows: QuerySet[StaffMember], words: str) -> QuerySet[StaffMember]:
        return rows.filter(name__istartswith=words)


class HoursForm(SameBusinessForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        opens, closes = cleaned.get("opens"), cleaned.get("closes")
        if opens and closes is not None and closes != MIDNIGHT and closes <= opens:
            self.add_error("closes", "This is before it opens. 00:00 means midnight at the end of the day.")
        return cleaned


@admin.register(WeeklyHours)
class WeeklyHoursAdmin(StaffAdmin):
    form = HoursForm
    deletable = True
    list_display = ("weekday", "opens", "closes", "staff", "business")
    list_select_related = ("business", "staff")
    list_filter = (OfBusiness, "weekday")
    autocomplete_fields = ("business", "staff")
    fields = ("business", "staff", "weekday", "opens", "closes")


class OnTheirClock(StaffAdmin):
    """Times are written and read as they are where the business is."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        business = self._whose(request, object_id)
        with timezone.override(business.zone if business else None):
            response = super().changeform_view(request, object_id, form_url, extra_context)
            if isinstance(response, SimpleTemplateResponse):
                response.render()  # while their clock is the one that counts
            return response

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if isinstance(db_field, DateTimeField):
            kwargs.setdefault("help_text", "On the clock of the business.")
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def _whose(self, request: HttpRequest, object_id: str | None) -> Business | None:
        if object_id is not None:
            row = self.get_object(request, unquote(object_id))
            return row.business if row is not None else None
        key = as_key(request.POST.get("business", ""))
        return Business.objects.filter(pk=key).first() if key else None


def _there(moment: datetime, business: Business) -> str:
    """A moment on the clock of the business, for lists, where several clocks stand side by side."""
    local = moment.astimezone(business.zone)
    return f"{say_date(local.date())} {local.year}, {say_clock(local.time())} {local:%Z}"


@admin.register(TimeOff)
class TimeOffAdmin(OnTheirClock):
    deletable = True
    list_display = ("staff", "away_from", "away_until", "reason", "business")
    list_select_related = ("business", "staff")
    list_filter = (OfBusiness,)
    autocomplete_fields = ("business", "staff")
    fields = ("business", "staff", "starts_at", "ends_at", "reason")

    @admin.display(description="from")
    def away_from(self, row: TimeOff) -> str:
        return _there(row.starts_at, row.business)

    @admin.display(description="until")
    def away_until(self, row: TimeOff) -> str:
        return _there(row.ends_at, row.business)


@admin.register(BlackoutDate)
class BlackoutDateAdmin(StaffAdmin):
    deletable = True
    list_display = ("date", "reason", "business")
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    autocomplete_fields = ("business",)
    fields = ("business", "date", "reason")


# --- Appointments ----------------------------------------------------------------------------------------------------


class AppointmentState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("booked", "Booked"), ("held", "Held for an answer"), *AppointmentStatus.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> QuerySet[Appointment]:
        match self.value():
            case None:
                return queryset
            case "booked":
                return queryset.exclude(status__in=[AppointmentStatus.HELD, AppointmentStatus.RELEASED])
            case "held":
                return queryset.filter(status=AppointmentStatus.HELD, held_until__gt=timezone.now())
            case status:
                return queryset.filter(status=status)


class AppointmentForm(SameBusinessForm):
    """A job is booked for what its service lasts; from then on only what is said about it can be edited."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "service" in self.fields and cleaned.get("service") is None and "service" not in self.errors:
            self.add_error("service", "Choose what is to be done.")
        return cleaned


@admin.register(Appointment)
class AppointmentAdmin(OnTheirClock):
    form = AppointmentForm
    list_display = ("local_time", "service_name", "customer", "staff", "status", "is_emergency", "business")
    list_select_related = ("business", "customer", "staff")
    list_filter = (OfBusiness, AppointmentState, made_lately("created_at"))
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."
    autocomplete_fields = ("business", "customer", "staff", "service")
    actions = ("confirm", "cancel", "complete", "no_show")
    refusals = (*StaffAdmin.refusals, services.SlotTaken, services.CannotMove, services.NoSlot)

    _ASKED = ("business", "customer", "service", "staff", "starts_at", "address", "notes", "is_emergency")
    _FIXED = (
        "local_time",
        "customer",
        "staff",
        "service",
        "service_name",
        "starts_at",
        "ends_at",
        "status",
        "held_until",
        "reminded_at",
        "price_low",
        "price_high",
        "source",
        "created_at",
        "cancelled_at",
    )

    def find(self, rows: QuerySet[Appointment], words: str) -> QuerySet[Appointment]:
        return of_customers(rows, words)

    def get_fields(self, request: HttpRequest, obj: Appointment | None = None) -> tuple[str, ...]:
        return self._ASKED if obj is None else ("business", *self._FIXED, "address", "notes", "is_emergency")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("business", *self._FIXED)

    @admin.display(description="when, there")
    def local_time(self, appointment: Appointment) -> str:
        return _there(appointment.starts_at, appointment.business)

    def save_model(self, request: HttpRequest, obj: Appointment, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        wanted = services.Request(
            customer=obj.customer,
            service=form.cleaned_data["service"],
            address=obj.address,
            notes=obj.notes,
            source="staff",
            is_emergency=obj.is_emergency,
        )
        booked = services.book_at(
            business=obj.business,
            request=wanted,
            staff=obj.staff,
            starts_at=obj.starts_at,
            now=timezone.now(),
            actor=signed_in(request),
        )
        obj.pk, obj.service_name = booked.pk, booked.service_name

    @admin.action(description="Confirmed by the customer", permissions=["change"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> None:
        self._move(request, queryset, services.confirm, done="confirmed", action="appointment confirmed")

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> HttpResponse | None:
        if not self.confirmed(request):
            return self.ask(
                request,
                _whole(queryset),
                question="Cancel?",
                button="Cancel the appointment",
                explanation="The time is free again at once. The owner can undo it for half an hour. "
                "The customer is not told by this: call or write to them.",
            )
        self._move(request, queryset, services.cancel, done="cancelled", action="appointment cancelled")
        return None

    @admin.action(description="Done", permissions=["change"])
    def complete(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> None:
        self._move(request, queryset, services.complete, done="done", action="appointment completed")

    @admin.action(description="Nobody was there", permissions=["change"])
    def no_show(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> None:
        self._move(request, queryset, services.mark_no_show, done="marked", action="appointment missed")

    def _move(
        self, request: HttpRequest, rows: QuerySet[Appointment], move: Callable[..., bool], *, done: str, action: str
    ) -> None:
        user = signed_in(request)
        self.for_each(
            request,
            _whole(rows),
            lambda row: move(appointment=row, now=timezone.now(), actor=user),
            done=done,
            action=action,
        )


def _whole(rows: QuerySet[Appointment]) -> QuerySet[Appointment]:
    return rows.select_related("business", "customer", "staff")
