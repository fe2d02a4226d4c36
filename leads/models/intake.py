"""Somebody wants something: the lead, and the slots they were offered."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Q, Value

from booking.models import Appointment, Service
from crm.models import Customer
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager
from leads import lifecycle
from leads.enums import UNSOLICITED, Domain, IntakeStatus, LeadSource, Outcome, ProposalStatus, Stage


class LeadQuerySet(TenantQuerySet):
    def untouched(self) -> LeadQuerySet:
        """Nobody, neither a person nor the assistant, has answered yet."""
        return self.filter(first_touch_at__isnull=True)

    def standing(self) -> LeadQuerySet:
        """Without those that were merged into another."""
        return self.filter(merged_into__isnull=True)

    def open(self) -> LeadQuerySet:
        """Those that somebody still works on: neither with sales nor lost, and no job of theirs done yet."""
        return self.filter(stage__in=lifecycle.OPEN, outcome="")

    def on_board(self) -> LeadQuerySet:
        """What the board shows: open leads, and those that went to sales or were lost."""
        return self.standing().filter(Q(outcome="") | Q(stage__in=(Stage.TRANSFERRED, Stage.LOST)))


class Lead(TenantModel):
    """Somebody who may buy: a request, by whatever way it came, and how far it has come since.

    `status` is intake's view (slot offered, booked), `stage` the pipeline's. `customer` is empty for a lead that came
    without a name or number, as from a scanner.
    """

    number = models.BigIntegerField(
        unique=True, db_default=Func(Value("leads_lead_number"), function="nextval"), editable=False,
        help_text="What the API calls it.",
    )  # fmt: skip
    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="leads")
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
    late_told_at = models.DateTimeField(
        null=True, blank=True, help_text="When we told somebody that it waits too long."
    )

    stage = models.CharField(max_length=11, choices=Stage, default=Stage.NEW)
    stage_since = models.DateTimeField(null=True, blank=True, help_text="Empty: since it came in.")
    business_domain = models.CharField("line of business", max_length=6, choices=Domain, blank=True)
    assigned_to = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    activity_count = models.PositiveIntegerField(default=0, help_text="Texts, calls and notes since it came in.")
    last_activity_at = models.DateTimeField(null=True, blank=True)
    score = models.DecimalField(
        max_digits=3, decimal_places=2, null=True, blank=True, help_text="0 to 1, of the newest assessment."
    )
    rescore_at = models.DateTimeField(null=True, blank=True, help_text="When to look at it again.")
    lost_because = models.CharField(max_length=300, blank=True)
    outcome = models.CharField(max_length=4, choices=Outcome, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was won or lost.")
    merged_into = TenantForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="merged")

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
                condition=Q(first_touch_at__isnull=True) & ~Q(source__in=UNSOLICITED),
                name="lead_untouched",
            ),
            models.Index(fields=["customer", "-created_at"], name="lead_of_customer"),
            # used by the board: the hottest of each stage
            models.Index(
                F("business"),
                F("stage"),
                F("score").desc(nulls_last=True),
                F("number").desc(),
                condition=Q(merged_into__isnull=True) & (Q(outcome="") | Q(stage__in=["transferred", "lost"])),
                name="lead_board",
            ),
            # used by the list: the newest of a stage, or of a person
            models.Index(fields=["business", "stage", "-created_at", "-id"], name="lead_of_stage"),
            models.Index(fields=["business", "assigned_to", "-created_at", "-id"], name="lead_of_person"),
            # used by the sweep that scores
            models.Index(fields=["rescore_at"], condition=Q(rescore_at__isnull=False), name="lead_rescore"),
            # used by the sweep: answered, and still called new
            models.Index(
                fields=["first_touch_at"], condition=Q(stage="new", first_touch_at__isnull=False), name="lead_answered"
            ),
            # used by the reports: what was closed lately
            models.Index(fields=["business", "-closed_at"], condition=~Q(outcome=""), name="lead_closed"),
        ]

    def __str__(self) -> str:
        return f"{self.asked_for or 'Request'} ({self.get_status_display()})"

    @property
    def person(self) -> Customer:
        """The customer, where there is one: whoever is offered a slot or written to."""
        assert self.customer is not None
        return self.customer


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
