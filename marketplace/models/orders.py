"""Quotes, purchases, sales, returns. All belong to the buyer."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.scoping import TenantForeignKey, TenantModel, own_key
from marketplace.enums import AgeBucket, Classification, ReturnReason, ReturnStatus
from marketplace.models.catalogue import AgedLead, InventoryItem
from marketplace.models.prices import PricingRule


class Quote(TenantModel):
    """Prices that stand for 15 minutes. It holds no leads; those go to whoever buys first.

    `lines` are either items ({inventory_id, …, unit_price}) or criteria ({classification, age_bucket, state, county,
    quantity, unit_price}), as `kind` says.
    """

    kind = models.CharField(max_length=8, choices=[("items", "Items"), ("criteria", "Criteria")])
    lines = models.JSONField()
    total_items = models.PositiveIntegerField()
    subtotal = models.DecimalField(max_digits=12, decimal_places=2)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [own_key("quote_own_key")]

    def __str__(self) -> str:
        return f"{self.total_items} leads for ${self.subtotal}"


class Purchase(TenantModel):
    """An order that was filled, whole. There is no half of one."""

    number = models.BigIntegerField(unique=True, editable=False, help_text="For people: P-1042.")
    quote = TenantForeignKey(Quote, on_delete=models.PROTECT, null=True, blank=True, related_name="purchases")
    criteria = models.JSONField(default=list, help_text="What was asked for; empty when items were chosen one by one.")
    quantity = models.PositiveIntegerField()
    replaced = models.PositiveIntegerField(default=0)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    bought_by = models.CharField(max_length=120, blank=True, help_text="A person, or the beginning of an API key.")
    created_at = models.DateTimeField()
    landed_at = models.DateTimeField(null=True, blank=True, help_text="When its leads stood in Leads.")

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("purchase_own_key"),
            models.UniqueConstraint(
                fields=["business", "quote"], condition=Q(quote__isnull=False), name="one_purchase_per_quote"
            ),
        ]
        indexes = [
            # used by Purchases: newest first
            models.Index(fields=["business", "-created_at", "-id"], name="purchase_newest"),
            # used by the task that puts them into Leads
            models.Index(fields=["created_at"], condition=Q(landed_at__isnull=True), name="purchase_not_landed"),
        ]

    def __str__(self) -> str:
        return f"P-{self.number}"


class Sale(TenantModel):
    """One lead, in one bucket, sold to one buyer at one price. Written once, never changed or deleted (a trigger)."""

    purchase = TenantForeignKey(Purchase, on_delete=models.PROTECT, related_name="sales")
    item = models.OneToOneField(InventoryItem, on_delete=models.PROTECT, related_name="sale")
    # The item's own lead, and a lead is never deleted. A constraint of its own would write to the row of every lead that is
    # sold, to lock it: fifty pages of a large table for each purchase.
    lead = models.ForeignKey(
        AgedLead, on_delete=models.PROTECT, related_name="sales", db_index=False, db_constraint=False
    )
    classification = models.CharField(max_length=6, choices=Classification)
    age_bucket = models.CharField(max_length=14, choices=AgeBucket)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="USD")
    pricing_rule = models.ForeignKey(PricingRule, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    sold_at = models.DateTimeField()

    class Meta:
        ordering = ["-sold_at", "-id"]
        constraints = [
            own_key("sale_own_key"),
            models.UniqueConstraint(fields=["lead", "age_bucket"], name="one_sale_per_lead_and_bucket"),
            models.UniqueConstraint(fields=["business", "lead"], name="never_the_same_lead_twice"),
        ]
        indexes = [
            # used by the buyer's lists and the return rate
            models.Index(fields=["business", "-sold_at", "-id"], name="sale_newest"),
            # used by the sales reports
            models.Index(fields=["sold_at"], name="sale_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.classification} {self.age_bucket} for ${self.price}"


class Return(TenantModel):
    """A lead the buyer gives back. Accepted, it is replaced by another of its kind, or else credited."""

    sale = TenantForeignKey(Sale, on_delete=models.PROTECT, related_name="returns")
    reason = models.CharField(max_length=16, choices=ReturnReason)
    note = models.TextField(blank=True, max_length=2_000)
    evidence = models.JSONField(default=list, help_text="What our own records say: sentences, each for or against.")
    status = models.CharField(max_length=10, choices=ReturnStatus, default=ReturnStatus.REQUESTED)
    requested_by = models.CharField(max_length=120, blank=True)
    requested_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decision = models.CharField(max_length=300, blank=True, help_text="The reason, for the buyer.")
    replacement = TenantForeignKey(Sale, on_delete=models.PROTECT, null=True, blank=True, related_name="replaces")

    class Meta:
        ordering = ["-requested_at", "-id"]
        constraints = [
            own_key("return_own_key"),
            models.UniqueConstraint(
                fields=["business", "sale"],
                name="one_return_per_sale",
                violation_error_message="This lead has been returned already.",
            ),
            models.CheckConstraint(
                condition=Q(status="replaced", replacement__isnull=False)
                | (~Q(status="replaced") & Q(replacement__isnull=True)),
                name="replaced_by_something",
            ),
        ]
        indexes = [
            # used by staff: what waits for a decision, the oldest first
            models.Index(fields=["requested_at"], condition=Q(status="requested"), name="return_waiting"),
            # used by the buyer's returns and their return rate
            models.Index(fields=["business", "-requested_at", "-id"], name="return_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({self.get_status_display()})"
