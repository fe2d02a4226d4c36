"""What leads cost, now and before."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from crm.keys import uuid7
from marketplace import pricing
from marketplace.enums import AgeBucket, Classification


class PricingRule(models.Model):
    """The price of one class and age, from a moment on, until the next rule. Rules of one kind never overlap: an
    exclusion constraint (`one_price_at_a_time`) refuses a second one. A rule that was in force is never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    classification = models.CharField(max_length=6, choices=Classification)
    age_bucket = models.CharField(max_length=14, choices=AgeBucket)
    price = models.DecimalField(
        max_digits=10,
        decimal_places=2,
        validators=[MinValueValidator(0), MaxValueValidator(pricing.LARGEST)],
        help_text="US dollars for one lead.",
    )
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True)
    notes = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["classification", "age_bucket", "-effective_from"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="price_is_not_negative"),
            models.CheckConstraint(
                condition=Q(effective_to__isnull=True) | Q(effective_to__gt=F("effective_from")),
                name="price_ends_after_it_begins",
            ),
        ]
        indexes = [
            # used to find the price that holds
            models.Index(fields=["classification", "age_bucket", "-effective_from"], name="price_newest")
        ]

    def __str__(self) -> str:
        return f"{self.classification} {self.age_bucket}: {pricing.say_money(self.price)}"
