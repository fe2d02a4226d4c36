"""How a business works its leads: names, times, salespeople, rules and views."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from booking.models import Service
from crm.models import Business
from crm.scoping import TenantForeignKey, TenantModel, own_key
from leads.enums import Domain, LeadSource


class PipelineSettings(models.Model):
    """One row per business, made when somebody first changes something; until then the defaults hold."""

    business = models.OneToOneField(
        Business, primary_key=True, on_delete=models.CASCADE, related_name="pipeline_settings"
    )
    first_line = models.CharField(max_length=40, blank=True, help_text="Your name for the first line of business.")
    second_line = models.CharField(max_length=40, blank=True)
    third_line = models.CharField(max_length=40, blank=True)
    answer_minutes = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(1), MaxValueValidator(1_440)],
        help_text="A new lead should have an answer within so many minutes.",
    )  # fmt: skip
    accept_minutes = models.PositiveSmallIntegerField(
        default=15, validators=[MinValueValidator(1), MaxValueValidator(1_440)],
        help_text="A salesperson has so many minutes to accept a deal before the next one is asked.",
    )  # fmt: skip

    class Meta:
        verbose_name_plural = "pipeline settings"

    def __str__(self) -> str:
        return f"Pipeline of {self.business}"

    def domain_name(self, domain: str) -> str:
        """What this business calls a line; empty for none."""
        if not domain:
            return ""
        return str(getattr(self, f"{domain}_line")) or str(Domain(domain).label)

    @property
    def domain_choices(self) -> list[tuple[str, str]]:
        return [(domain, self.domain_name(domain)) for domain in Domain.values]


class Salesperson(TenantModel):
    """Somebody deals are offered to, in turn."""

    user = models.ForeignKey("crm.User", on_delete=models.PROTECT, related_name="+")
    capacity = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(500)], help_text="Open deals at a time."
    )
    takes_offers = models.BooleanField(default=True, help_text="Off: on holiday, or no longer in sales.")
    phone = models.CharField(
        max_length=16, blank=True, help_text="Offers are texted here. Write it like +15551234567; empty: no text."
    )
    last_offer_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["created_at", "id"]
        verbose_name_plural = "salespeople"
        constraints = [
            own_key("salesperson_own_key"),
            models.UniqueConstraint(
                fields=["business", "user"], name="one_salesperson_per_person",
                violation_error_message="This person is a salesperson already.",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.user.get_full_name()


class AssignmentRule(TenantModel):
    """Who works a new lead. The first rule that fits decides; an empty field fits everything."""

    position = models.PositiveSmallIntegerField(default=1)
    source = models.CharField(max_length=10, choices=LeadSource, blank=True)
    service = TenantForeignKey(Service, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    domain = models.CharField("line of business", max_length=6, choices=Domain, blank=True)
    assignee = models.ForeignKey(
        "crm.User", on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Empty: salespeople in turn.",
    )  # fmt: skip
    set_domain = models.CharField(
        "put into line", max_length=6, choices=Domain, blank=True, help_text="For leads that came without a line."
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return f"Rule {self.position}"


class SavedView(TenantModel):
    """Filters of the leads list that somebody kept under a name."""

    user = models.ForeignKey("crm.User", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=40)
    filters = models.JSONField(default=dict)
    is_shared = models.BooleanField("for everybody here", default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["business", "user", "name"], name="one_view_per_name",
                violation_error_message="You have a view of this name already.",
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name
