"""Somebody wants something: the lead, and the slots they were offered."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from booking.models import Appointment, Service
from crm.models import Customer
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager
from leads.enums import IntakeStatus, LeadSource, ProposalStatus


class LeadQuerySet(TenantQuerySet):
    def untouched(self) -> LeadQuerySet:
        """Nobody, neither a person nor the assistant, has answered yet."""
        return self.filter(first_touch_at__isnull=True)


class Lead(TenantModel):
    """A request, by whatever way it came."""

    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="leads")
    source = models.CharField(max_length=10, choices=LeadSource)
    event_id = models.CharField(max_length=255, blank=True, help_text="The sender's own id of the request.")
    status = models.CharField(max_length=15, choices=IntakeStatus, default=IntakeStatus.NEW)
    service = TenantForeignKey(Service, on_delete=models.PROTECT, null=True, blank=True, related_name="leads")
    asked_for = models.CharField(max_length=200, blank=True, help_text="The service in their words.")
    notes = models.TextField(blank=True, max_length=10_000)
    appointment = TenantForeignKey(Appointment, on_delete=models.PROTECT, null=True, blank=True, related_name="leads")
    cost = models.DecimalField(
        max_digits=10, decimal_places=2, null=True, blank=True, help_text="US dollars paid for it, when it was bought."
    )
    created_at = models.DateTimeField()
    first_touch_at = models.DateTimeField(null=True, blank=True, help_text="When they first got an answer.")

    objects = tenant_manager(LeadQuerySet)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("lead_own_key"),
            models.UniqueConstraint(
                fields=["business", "event_id"], condition=Q(source="purchase"), name="one_lead_per_sale"
            ),
        ]
        indexes = [
            # used by Leads: newest first
            models.Index(fields=["business", "-created_at", "-id"], name="lead_newest"),
            # used by Today: the running clock on leads nobody has touched
            models.Index(
                fields=["business", "created_at"],
                condition=Q(first_touch_at__isnull=True) & ~Q(source="purchase"),
                name="lead_untouched",
            ),
            models.Index(fields=["customer", "-created_at"], name="lead_of_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.asked_for or 'Request'} ({self.get_status_display()})"


class ProposalQuerySet(TenantQuerySet):
    def unanswered(self) -> ProposalQuerySet:
        return self.filter(status=ProposalStatus.OPEN)


class Proposal(TenantModel):
    """An offered slot. The hold behind it is its `appointment`; one offer is open per customer at a time."""

    lead = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="proposals")
    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="proposals")
    appointment = TenantForeignKey(Appointment, on_delete=models.PROTECT, related_name="proposals")
    status = models.CharField(max_length=10, choices=ProposalStatus, default=ProposalStatus.OPEN)
    text = models.TextField(max_length=1_600, help_text="As it was put to the customer.")
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = tenant_manager(ProposalQuerySet)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("proposal_own_key"),
            models.UniqueConstraint(
                fields=["business", "customer"], condition=Q(status="PROPOSED"), name="one_open_proposal_per_customer"
            ),
        ]
        indexes = [
            # used by replies: their latest offer
            models.Index(fields=["customer", "-created_at", "-id"], name="proposal_of_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.text[:60]}"

    @property
    def message_id(self) -> str:
        """The handle that API clients quote when they pass on an answer."""
        return f"msg_{self.id.hex}"
