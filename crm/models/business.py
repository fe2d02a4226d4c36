"""A business, its numbers, and what it may spend."""

from __future__ import annotations

import functools
import zoneinfo

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models

from crm import phones
from crm.enums import BusinessStatus, Meter
from crm.keys import uuid7


@functools.cache
def time_zones() -> frozenset[str]:
    """Every name this machine knows. Asked once: finding them means reading through a folder of files."""
    return frozenset(zoneinfo.available_timezones())


def check_time_zone(value: str) -> None:
    if value not in time_zones():
        raise ValidationError(f"“{value}” is not a time zone we know. Write it like America/Chicago.")


def check_e164(value: str) -> None:
    if not phones.is_e164(value):
        raise ValidationError(f"“{value}” is not a full phone number. Write it like +15551234567.")


class Business(models.Model):
    """A tenant. Suspended, it keeps its data and answers nobody."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9_-]*$", "Use small letters, digits, - and _ only.")],
        help_text="The name in addresses and the API (tenant_id). It cannot change once others use it.",
    )
    name = models.CharField(max_length=120)
    trade = models.CharField(
        max_length=60, blank=True, help_text="As a customer would say it: plumbing, HVAC, med spa."
    )
    status = models.CharField(max_length=12, choices=BusinessStatus, default=BusinessStatus.ACTIVE)
    time_zone = models.CharField(max_length=64, default="America/New_York", validators=[check_time_zone])
    region = models.CharField(
        max_length=2, default="US", help_text="Country whose way of writing phone numbers is meant."
    )
    language = models.CharField(max_length=5, default="en", choices=[("en", "English"), ("es", "Spanish")])
    public_phone = models.CharField(
        max_length=20, blank=True, help_text="What customers should call, as in answers to HELP."
    )
    address = models.CharField(max_length=200, blank=True)
    owner_name = models.CharField(max_length=120, blank=True)
    owner_phone = models.CharField(
        max_length=16, blank=True, validators=[check_e164], help_text="Alerts go here. Write it like +15551234567."
    )
    owner_email = models.EmailField(blank=True)
    open_intake = models.BooleanField(
        default=False, help_text="Accept leads and chats without an API key (limited per minute). For public web forms."
    )
    private_health = models.BooleanField(
        default=False, help_text="Health data: texts name the time and place, never the treatment."
    )
    sms_daily_cap_cents = models.PositiveIntegerField(
        default=2_000, help_text="US cents a day for texts. Alerts to you still go out."
    )
    llm_daily_cap_cents = models.PositiveIntegerField(default=200, help_text="US cents a day for the language model.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        verbose_name_plural = "businesses"

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def is_active(self) -> bool:
        return self.status == BusinessStatus.ACTIVE


class PhoneNumber(models.Model):
    """A number of ours; a text or call to it belongs to its business."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    e164 = models.CharField("number", max_length=16, unique=True, validators=[check_e164])
    business = models.ForeignKey(Business, on_delete=models.PROTECT, related_name="numbers")
    label = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.e164


class Allowance(models.Model):
    """What a business has spent on one meter on one day of its own calendar. Only `crm.limits` writes it."""

    id = models.BigAutoField(primary_key=True)
    business = models.ForeignKey(Business, on_delete=models.CASCADE, related_name="+")
    meter = models.CharField(max_length=8, choices=Meter)
    day = models.DateField()
    spent_micros = models.BigIntegerField(
        default=0, validators=[MinValueValidator(0)], help_text="Millionths of a US dollar."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["business", "meter", "day"], name="one_allowance_per_day"),
            models.CheckConstraint(condition=models.Q(spent_micros__gte=0), name="spending_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.get_meter_display()} on {self.day}: ${self.spent_micros / 1_000_000:.2f}"
