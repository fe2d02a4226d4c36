"""What happens to a lead on its way to a sale: moves, work done, the deal, and who takes it."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Func, Q, Value

from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager
from leads.enums import ActivityKind, DealStage, OfferStatus
from leads.models.intake import Lead
from leads.models.scoring import Assessment
from leads.models.ways import Salesperson


class StageChange(TenantModel):
    """One move of a lead, or of its deal: from, to, who, when and why. Append-only; a trigger refuses UPDATE."""

    lead = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="stage_changes")
    is_deal = models.BooleanField("of the deal", default=False)
    old = models.CharField("from", max_length=12)
    new = models.CharField("to", max_length=12)
    since = models.DateTimeField(help_text="When it had come to the stage it leaves here.")
    at = models.DateTimeField()
    by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    by_text = models.CharField("by whom", max_length=120, help_text="Who it was, also when the account or key is gone.")
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            # used by the lead's timeline
            models.Index(fields=["lead", "-at"], name="stage_change_of_lead"),
            # used by the report on how long stages take
            models.Index(fields=["business", "-at"], name="stage_change_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"


class LeadActivity(TenantModel):
    """Something a person did about a lead: a call, a visit, a note. Texts are counted where they are, as messages."""

    lead = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="activities")
    kind = models.CharField(max_length=8, choices=ActivityKind, default=ActivityKind.NOTE)
    text = models.TextField(max_length=10_000, blank=True)
    at = models.DateTimeField(help_text="When it happened.")
    created_at = models.DateTimeField()
    by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    by_text = models.CharField("by whom", max_length=120)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "lead activities"
        indexes = [
            # used by the lead's timeline and the count of its activities
            models.Index(fields=["lead", "-at", "-id"], name="activity_of_lead"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text[:60]}"


class DealQuerySet(TenantQuerySet):
    def open(self) -> DealQuerySet:
        return self.filter(closed_at__isnull=True)


class Deal(TenantModel):
    """A lead in the hands of sales. There is one per lead, and none without the assessment that justified it."""

    number = models.BigIntegerField(
        unique=True, db_default=Func(Value("leads_deal_number"), function="nextval"), editable=False,
        help_text="What the API calls sale_id.",
    )  # fmt: skip
    lead = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="deals")
    assessment = TenantForeignKey(Assessment, on_delete=models.PROTECT, related_name="deals")
    stage = models.CharField(max_length=10, choices=DealStage, default=DealStage.NEW)
    stage_since = models.DateTimeField()
    value = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)],
        help_text="US dollars this deal is worth.",
    )  # fmt: skip
    expected_on = models.DateField(null=True, blank=True, help_text="When it should be closed.")
    owner = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    lost_because = models.CharField(max_length=300, blank=True)

    objects = tenant_manager(DealQuerySet)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("deal_own_key"),
            models.UniqueConstraint(fields=["lead"], name="one_deal_per_lead"),
            models.CheckConstraint(
                condition=Q(stage__in=["paid", "lost"], closed_at__isnull=False)
                | (~Q(stage__in=["paid", "lost"]) & Q(closed_at__isnull=True)),
                name="a_deal_is_closed_when_paid_or_lost",
            ),
        ]
        indexes = [
            # used by the deals board, the newest of each stage
            models.Index(fields=["business", "stage", "-created_at", "-id"], name="deal_board"),
            # used by “my deals” and by how much somebody has in hand
            models.Index(fields=["owner"], condition=Q(closed_at__isnull=True), name="deal_in_hand"),
        ]

    def __str__(self) -> str:
        return f"Deal {self.number}"


class DealOffer(TenantModel):
    """A deal held out to one salesperson, until they answer or the time is over."""

    deal = TenantForeignKey(Deal, on_delete=models.PROTECT, related_name="offers")
    salesperson = TenantForeignKey(Salesperson, on_delete=models.PROTECT, related_name="offers")
    status = models.CharField(max_length=9, choices=OfferStatus, default=OfferStatus.OPEN)
    offered_at = models.DateTimeField()
    until = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-offered_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["deal"], condition=Q(status="open"), name="one_open_offer_per_deal"),
        ]
        indexes = [
            # used by the sweep that passes a deal on
            models.Index(fields=["until"], condition=Q(status="open"), name="deal_offer_open"),
            models.Index(fields=["salesperson", "-offered_at"], name="deal_offer_of"),
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} until {self.until:%H:%M}"


class LeadMerge(TenantModel):
    """Two leads turned out to be one. Holds what moved, so that the merge can be undone."""

    kept = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="+")
    dropped = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="+")
    customers = TenantForeignKey(
        "crm.CustomerMerge", on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="The merge of their customers, when those were two as well.",
    )  # fmt: skip
    moved = models.JSONField(default=dict, help_text="Row ids by table.")
    filled = models.JSONField(default=dict, help_text="Fields of the kept lead that were empty and got a value.")
    merged_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    merged_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-merged_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["dropped"], condition=Q(undone_at__isnull=True), name="merged_once_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dropped_id} into {self.kept_id}"
