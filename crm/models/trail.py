"""What happened, what is to do, and what was already answered."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.enums import SecurityEventKind, TaskReason, Verb
from crm.keys import uuid7
from crm.models.business import Business
from crm.models.customers import Customer
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, tenant_manager


class Activity(TenantModel):
    """One line of a customer's timeline, in the owner's words. Written in the transaction of what it tells."""

    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="activities")
    verb = models.CharField(max_length=12, choices=Verb)
    text = models.CharField(max_length=300)
    about = models.CharField(max_length=64, blank=True, help_text="The row it opens, as kind:id.")
    actor = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "activities"
        indexes = [
            # used by the customer's timeline
            models.Index(fields=["customer", "-at", "-id"], name="activity_of_customer"),
            # used by Today: what happened lately
            models.Index(fields=["business", "-at", "-id"], name="activity_newest"),
        ]

    def __str__(self) -> str:
        return self.text


class TaskQuerySet(TenantQuerySet):
    def open(self) -> TaskQuerySet:
        return self.filter(done_at__isnull=True)


class Task(TenantModel):
    """Something a person has to do, because the assistant must not or cannot. One open task per person and reason; of what
    somebody plans to do themselves there may be as much as they like."""

    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="tasks")
    reason = models.CharField(max_length=16, choices=TaskReason)
    title = models.CharField(max_length=200)
    about = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True)
    done_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    objects = tenant_manager(TaskQuerySet)

    class Meta:
        ordering = ["due_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["business", "customer", "reason"],
                condition=Q(done_at__isnull=True) & ~Q(reason=TaskReason.FOLLOW_UP.value),
                name="one_open_task_per_reason",
            )
        ]
        indexes = [
            # used by Today: who is waiting for me
            models.Index(fields=["business", "due_at"], condition=Q(done_at__isnull=True), name="task_open"),
        ]

    def __str__(self) -> str:
        return self.title


class IdempotencyKey(models.Model):
    """A request that was carried out, and the answer it got. Written in the transaction of its effects, so either both
    are there or neither; a repeat waits for the first on the unique key and then reads its answer."""

    id = models.BigAutoField(primary_key=True)
    business = models.ForeignKey(Business, on_delete=models.CASCADE, null=True, related_name="+")
    scope = models.CharField(max_length=64, help_text="Whose keys these are: an operation, or a caller's header.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request, to tell a repeat from a mistake.")
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.TextField(null=True, help_text="As JSON, word for word.")  # noqa: DJ001 - NULL: not answered yet
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["business", "scope", "key"], name="one_answer_per_key"),
            models.UniqueConstraint(
                fields=["scope", "key"], condition=Q(business__isnull=True), name="one_answer_per_key_without_business"
            ),
        ]
        indexes = [
            # used by the clean-up of old answers
            models.Index(fields=["created_at"], name="idempotency_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.scope}: {self.key}"


class SecurityEvent(models.Model):
    """A knock that was turned away. Repeats within a minute count up on one row, so a flood cannot fill the table."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=32, choices=SecurityEventKind)
    business = models.ForeignKey(Business, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    path = models.CharField(max_length=200)
    source = models.CharField(
        "sender", max_length=64, help_text="Hash of the network address, the same for the same sender."
    )
    detail = models.CharField(max_length=300, blank=True)
    minute = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["-minute", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "path", "source", "minute"], name="one_security_event_per_minute"),
        ]
        indexes = [
            # used by the staff console: newest first
            models.Index(fields=["-minute", "-id"], name="security_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} at {self.path}"


class AuditEvent(models.Model):
    """Who changed what, from what, to what, and why: for changes by staff, owners and keys."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    business = models.ForeignKey(Business, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    actor = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    actor_text = models.CharField(max_length=120, help_text="Who it was, also when the account or key is gone.")
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=120)
    changes = models.JSONField(default=dict)
    reason = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at", "-id"], name="audit_newest"),
            models.Index(fields=["business", "-at"], name="audit_of_business"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_text}: {self.action} {self.target}"


class LlmUsage(TenantModel):
    """One call of the language model: what for, how long, how much, and how it ended."""

    purpose = models.CharField(max_length=40)
    model = models.CharField(max_length=80)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cost_micros = models.BigIntegerField(
        null=True, blank=True, help_text="Millionths of a US dollar; empty: price not known."
    )
    latency_ms = models.PositiveIntegerField(default=0)
    outcome = models.CharField(max_length=20, help_text="ok, timeout, error, unparseable, over_budget or circuit_open.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name = "language model call"
        indexes = [models.Index(fields=["business", "-at"], name="llm_usage_newest")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.outcome}"


class Heartbeat(models.Model):
    """The last sign of life of a background process. Stale: it is dead, or Redis is away."""

    name = models.CharField(primary_key=True, max_length=40)
    at = models.DateTimeField()
    detail = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
