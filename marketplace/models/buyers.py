"""Who buys, on what terms, and whom they know already."""

from __future__ import annotations

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from crm.models import Business
from crm.scoping import TenantModel, own_key
from marketplace.enums import BuyerStatus, KnownFrom, Terms


class Buyer(models.Model):
    """A business that may buy leads. `balance` is what stands on its account: the sum of its journal lines, kept by the
    trigger that books them and refused to everybody else."""

    business = models.OneToOneField(Business, on_delete=models.PROTECT, primary_key=True, related_name="buyer")
    status = models.CharField(max_length=10, choices=BuyerStatus, default=BuyerStatus.PENDING)
    contact_name = models.CharField(max_length=120, blank=True)
    email = models.EmailField()
    phone = models.CharField(max_length=20, blank=True)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    terms = models.CharField(max_length=8, choices=Terms, default=Terms.INVOICED)
    credit_limit = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        default=0,
        validators=[MinValueValidator(0)],
        help_text="US dollars a prepaid buyer may go below zero.",
    )
    balance = models.DecimalField(max_digits=14, decimal_places=2, default=0, editable=False)
    return_days = models.PositiveSmallIntegerField(
        default=10, help_text="Days after the purchase in which a lead can be returned."
    )
    return_percent = models.PositiveSmallIntegerField(
        default=30,
        validators=[MaxValueValidator(100)],
        help_text="Of the leads of the last 30 days, at most this share can be returned.",
    )
    into_leads = models.BooleanField(
        "add purchases to Leads", default=True, help_text="Every lead that is bought appears in Leads, with its price."
    )
    webhook_url = models.URLField(blank=True, max_length=500, help_text="Recalls are sent here, signed.")
    webhook_secret = models.BinaryField(blank=True, default=b"", editable=False, help_text="Sealed.")
    created_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["business__name"]
        constraints = [
            models.CheckConstraint(condition=Q(credit_limit__gte=0), name="credit_limit_is_not_negative"),
            models.CheckConstraint(
                condition=~Q(terms="prepaid") | Q(balance__gte=-F("credit_limit")),
                name="prepaid_stays_within_credit",
                violation_error_message="The balance is below the credit limit.",
            ),
        ]

    def __str__(self) -> str:
        return self.business.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Never writes the balance back: what was read may be old by now, and the trigger would refuse it."""
        if not self._state.adding and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [
                field.name for field in self._meta.concrete_fields if not field.primary_key and field.name != "balance"
            ]
        super().save(*args, **kwargs)

    @property
    def may_buy(self) -> bool:
        return self.status == BuyerStatus.ACTIVE and self.email_verified_at is not None and self.business.is_active


class KnownUpload(TenantModel):
    """A list of people a buyer has already, as hashes of their numbers."""

    name = models.CharField("file name", max_length=255)
    rows = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    uploaded_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [own_key("known_upload_own_key")]

    def __str__(self) -> str:
        return self.name


class KnownPhone(TenantModel):
    """A person this buyer has: never sold to them again. Only the mark is kept (see `marks`)."""

    mark = models.UUIDField()
    source = models.CharField(max_length=8, choices=KnownFrom)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["business", "mark"], name="known_once_per_buyer")]

    def __str__(self) -> str:
        return f"{self.get_source_display()}: {self.mark}"
