"""What can be booked, with whom, when; and what is booked."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Value

from booking.enums import OCCUPYING, UPCOMING, AppointmentStatus
from crm.models import Business, Customer
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager

WEEKDAYS = [
    (0, "Monday"),
    (1, "Tuesday"),
    (2, "Wednesday"),
    (3, "Thursday"),
    (4, "Friday"),
    (5, "Saturday"),
    (6, "Sunday"),
]


class SchedulingRules(models.Model):
    """How a business wants its calendar filled. One row per business; booking locks it to take turns."""

    business = models.OneToOneField(
        Business, on_delete=models.CASCADE, primary_key=True, related_name="scheduling_rules"
    )
    hold_minutes = models.PositiveSmallIntegerField(
        default=15,
        validators=[MinValueValidator(1), MaxValueValidator(1440)],
        help_text="How long an offered slot is kept free.",
    )
    min_notice_minutes = models.PositiveSmallIntegerField(
        default=60, validators=[MaxValueValidator(10_080)], help_text="Nothing is booked sooner than this from now."
    )
    horizon_days = models.PositiveSmallIntegerField(
        default=14,
        validators=[MinValueValidator(1), MaxValueValidator(366)],
        help_text="How far ahead slots are offered.",
    )
    grid_minutes = models.PositiveSmallIntegerField(
        default=15,
        choices=[(5, "5"), (10, "10"), (15, "15"), (20, "20"), (30, "30"), (60, "60")],
        help_text="Jobs start on these minutes.",
    )
    travel_buffer_minutes = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(240)])
    max_jobs_per_day = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Empty: as many as fit.",
    )
    reserve_mornings_for_emergencies = models.BooleanField(default=False)
    reminder_hours = models.PositiveSmallIntegerField(
        default=24,
        validators=[MaxValueValidator(168)],
        help_text="How long before a job its customer is reminded by text. 0: never.",
    )

    class Meta:
        verbose_name_plural = "scheduling rules"

    def __str__(self) -> str:
        return f"Scheduling rules of {self.business}"


class Service(TenantModel):
    """Something a customer can book."""

    name = models.CharField(max_length=80)
    aliases = ArrayField(
        models.CharField(max_length=60),
        default=list,
        blank=True,
        help_text="Other words customers use for it, comma-separated.",
    )
    duration_minutes = models.PositiveSmallIntegerField(validators=[MinValueValidator(5), MaxValueValidator(720)])
    price_low = models.DecimalField(
        max_digits=9, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    price_high = models.DecimalField(
        max_digits=9, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    note = models.CharField(
        max_length=200, blank=True, help_text="Said with the price, e.g. fee applies to future services."
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            own_key("service_own_key"),
            models.UniqueConstraint(
                "business",
                Func(F("name"), function="lower"),
                name="one_service_per_name",
                violation_error_message="A service with this name exists already.",
            ),
            models.CheckConstraint(
                condition=Q(price_low__isnull=True) | Q(price_high__isnull=True) | Q(price_high__gte=F("price_low")),
                name="price_range_in_order",
                violation_error_message="The highest price is below the lowest.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StaffMember(models.Model):
    """Somebody who does jobs. The key is a plain number, because the constraint against double booking spans it as a
    range of integers (the embedded Postgres has no btree_gist)."""

    id = models.BigAutoField(primary_key=True)
    business = models.ForeignKey(Business, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=80)
    user = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    is_active = models.BooleanField(default=True)

    objects = tenant_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [own_key("staff_own_key")]

    def __str__(self) -> str:
        return self.name


class WeeklyHours(TenantModel):
    """Open hours on one weekday, in the business's zone: of one staff member, or of all who have none of their own."""

    staff = TenantForeignKey(StaffMember, on_delete=models.CASCADE, null=True, blank=True, related_name="hours")
    weekday = models.PositiveSmallIntegerField(choices=WEEKDAYS)
    opens = models.TimeField()
    closes = models.TimeField(help_text="00:00 means midnight at the end of the day.")

    class Meta:
        ordering = ["weekday", "opens", "id"]
        verbose_name = "opening hours"
        verbose_name_plural = "opening hours"
        constraints = [
            models.UniqueConstraint(fields=["business", "staff", "weekday", "opens"], name="one_opening_per_start"),
            models.UniqueConstraint(
                fields=["business", "weekday", "opens"],
                condition=Q(staff__isnull=True),
                name="one_common_opening_per_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.opens:%H:%M}-{self.closes:%H:%M}"


class TimeOff(TenantModel):
    """A staff member is away."""

    staff = TenantForeignKey(StaffMember, on_delete=models.CASCADE, related_name="time_off")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["starts_at", "id"]
        verbose_name_plural = "time off"
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")),
                name="time_off_ends_after_it_starts",
                violation_error_message="Time off has to end after it starts.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.staff} {self.starts_at:%Y-%m-%d}"


class BlackoutDate(TenantModel):
    """A day on which nobody works."""

    date = models.DateField()
    reason = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(
                fields=["business", "date"],
                name="one_blackout_per_date",
                violation_error_message="This day is closed already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.date}"


class AppointmentQuerySet(TenantQuerySet):
    def upcoming(self, now: datetime) -> AppointmentQuerySet:
        return self.filter(status__in=UPCOMING, ends_at__gt=now).order_by("starts_at", "id")

    def occupying(self, now: datetime) -> AppointmentQuerySet:
        """What takes time right now: a hold that has run out does not, even before the sweep has been."""
        return self.filter(status__in=OCCUPYING).exclude(status=AppointmentStatus.HELD, held_until__lte=now)


class Appointment(TenantModel):
    """A job in the calendar, or a slot held for somebody who was offered it."""

    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="appointments")
    staff = TenantForeignKey(StaffMember, on_delete=models.PROTECT, related_name="appointments")
    service = TenantForeignKey(Service, on_delete=models.PROTECT, null=True, blank=True, related_name="appointments")
    service_name = models.CharField(max_length=80, help_text="As it was called when booked.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    status = models.CharField(max_length=20, choices=AppointmentStatus)
    held_until = models.DateTimeField(null=True, blank=True)
    address = models.CharField(max_length=200, blank=True)
    notes = models.TextField(blank=True, max_length=10_000)
    is_emergency = models.BooleanField(default=False)
    price_low = models.DecimalField(max_digits=9, decimal_places=2, null=True, blank=True)
    price_high = models.DecimalField(max_digits=9, decimal_places=2, null=True, blank=True)
    source = models.CharField(max_length=20, blank=True, help_text="How it was booked: api, text, chat, owner.")
    sequence = models.PositiveIntegerField(default=0, help_text="Counts changes of time, for calendar feeds.")
    created_at = models.DateTimeField()
    reminded_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = tenant_manager(AppointmentQuerySet)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            own_key("appointment_own_key"),
            ExclusionConstraint(
                name="no_double_booking",
                expressions=[
                    (Func(F("staff_id"), F("staff_id"), Value("[]"), function="int8range"), RangeOperators.OVERLAPS),
                    (
                        Func(F("starts_at"), F("ends_at"), function="tstzrange", output_field=DateTimeRangeField()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
                condition=Q(status__in=[status.value for status in OCCUPYING]),
                violation_error_message="That time was just taken.",
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")),
                name="appointment_ends_after_it_starts",
                violation_error_message="An appointment has to end after it starts.",
            ),
            models.CheckConstraint(
                condition=Q(status=AppointmentStatus.HELD, held_until__isnull=False)
                | ~Q(status=AppointmentStatus.HELD),
                name="a_hold_has_an_end",
                violation_error_message="A held slot needs a time until which it is held.",
            ),
        ]
        indexes = [
            # used by the slot search and the calendar
            models.Index(fields=["business", "starts_at", "id"], name="appointment_calendar"),
            # used by "your next appointment" and the timeline
            models.Index(fields=["customer", "starts_at"], name="appointment_of_customer"),
            # used by the reminders: jobs to come that nobody was reminded of
            models.Index(
                fields=["starts_at"],
                condition=Q(reminded_at__isnull=True, status__in=["SCHEDULED", "CONFIRMED"]),
                name="appointment_to_remind",
            ),  # fmt: skip
            # used by the sweep of holds
            models.Index(fields=["held_until"], condition=Q(status="HELD"), name="appointment_hold_ends"),
        ]

    def __str__(self) -> str:
        return f"{self.service_name} {self.starts_at:%Y-%m-%d %H:%M}"

    def is_held(self, now: datetime) -> bool:
        return self.status == AppointmentStatus.HELD and self.held_until is not None and self.held_until > now
