"""People who may not be sold, and how buyers of them hear of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.keys import uuid7
from crm.scoping import TenantForeignKey, TenantModel, own_key
from marketplace.enums import DeliveryStatus, GoneBecause
from marketplace.models.catalogue import AgedLead
from marketplace.models.orders import Sale


class GonePerson(models.Model):
    """Somebody never to be sold again, by mark alone (see `marks`): a file that brings them again finds them here."""

    id = models.BigAutoField(primary_key=True)
    mark = models.UUIDField()
    because = models.CharField(max_length=10, choices=GoneBecause)
    told_by = models.CharField(max_length=120, blank=True, help_text="By whom or what we know, without a number.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "people never sold"
        constraints = [models.UniqueConstraint(fields=["mark", "because"], name="gone_once_per_reason")]

    def __str__(self) -> str:
        return f"{self.get_because_display()} on {self.at:%Y-%m-%d}"


class Recall(models.Model):
    """A lead was called back: its person opted out or was erased. Once per lead and reason."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lead = models.ForeignKey(AgedLead, on_delete=models.PROTECT, related_name="recalls")
    because = models.CharField(max_length=10, choices=GoneBecause)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["lead", "because"], name="one_recall_per_lead_and_reason")]

    def __str__(self) -> str:
        return f"{self.get_because_display()} on {self.at:%Y-%m-%d}"


class RecallNotice(TenantModel):
    """What one buyer was told about one lead they bought, and whether they said that they heard it."""

    recall = models.ForeignKey(Recall, on_delete=models.PROTECT, related_name="notices")
    sale = TenantForeignKey(Sale, on_delete=models.PROTECT, related_name="recall_notices")
    created_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("recall_notice_own_key"),
            models.UniqueConstraint(fields=["recall", "sale"], name="one_notice_per_sale"),
        ]
        indexes = [
            # used by the buyer's recalls and the CSV of what is new since
            models.Index(fields=["business", "-created_at", "-id"], name="recall_newest"),
            # used by staff: who has not answered
            models.Index(fields=["created_at"], condition=Q(acknowledged_at__isnull=True), name="recall_unheard"),
        ]

    def __str__(self) -> str:
        return f"{self.recall} to {self.business}"


class WebhookDelivery(TenantModel):
    """A message to a buyer's address, until it has arrived. Claimed by update, so two workers send it once."""

    event = models.CharField(max_length=40, help_text="What happened, like recall.created.")
    about = models.CharField(max_length=64, help_text="The row it tells of, as kind:id.")
    payload = models.JSONField()
    status = models.CharField(max_length=10, choices=DeliveryStatus, default=DeliveryStatus.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "webhook deliveries"
        indexes = [
            # used by the sender: what is due
            models.Index(fields=["next_at"], condition=Q(status="waiting"), name="webhook_due"),
            # used by the buyer's page
            models.Index(fields=["business", "-created_at", "-id"], name="webhook_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.event} ({self.get_status_display()})"
