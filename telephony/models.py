"""Letters from the carrier, whose account they come from, and the carrier of the demo."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.keys import uuid7
from crm.models import Business
from telephony.enums import EventKind, Step


class TwilioAccount(models.Model):
    """A sub-account at Twilio with its own token: webhooks signed with it are for this business's numbers only."""

    account_sid = models.CharField(primary_key=True, max_length=34)
    business = models.ForeignKey(Business, on_delete=models.CASCADE, related_name="+")
    sealed_token = models.BinaryField(
        editable=False, help_text="The auth token, encrypted with the installation's key."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.account_sid


class InboundEvent(models.Model):
    """The receipt of one letter from the carrier, with the answer it got. Unique, and written in the transaction of its
    effects: a letter that comes twice is one letter and gets the same answer."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=6, choices=EventKind)
    sid = models.CharField(max_length=80, help_text="MessageSid, or MessageSid:status for a delivery report.")
    business = models.ForeignKey(Business, on_delete=models.CASCADE, null=True, related_name="+")
    from_number = models.CharField(max_length=64, blank=True)
    to_number = models.CharField(max_length=64, blank=True)
    payload = models.JSONField(default=dict, help_text="What came, without the message's words.")
    message = models.UUIDField(null=True, help_text="The message it became.")
    step = models.CharField(max_length=17, choices=Step, blank=True)
    reason = models.CharField(max_length=200, blank=True, help_text="Why that step answered.")
    answer = models.TextField(blank=True, help_text="The TwiML we answered with.")
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["-received_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["kind", "sid"], name="one_receipt_per_letter")]
        indexes = [
            # used by the staff console: newest first
            models.Index(fields=["-received_at", "-id"], name="inbound_newest"),
            # used by the sweep: texts the language model has not read yet
            models.Index(fields=["received_at"], condition=Q(step="reading"), name="inbound_reading"),
        ]

    def __str__(self) -> str:
        return self.sid


class SimulatedText(models.Model):
    """A text at the demo carrier: what the two phones of the simulator really received. Frontdesk itself never reads it
    except through the carrier's own look-up, as it would ask Twilio."""

    sid = models.CharField(primary_key=True, max_length=34)
    from_number = models.CharField(max_length=16)
    to_number = models.CharField(max_length=16)
    body = models.TextField()
    status = models.CharField(max_length=12, default="queued")
    error_code = models.CharField(max_length=8, blank=True)
    status_callback = models.CharField(max_length=400, blank=True)
    webhook_status = models.PositiveSmallIntegerField(null=True, help_text="How our webhook answered, for texts to us.")
    created_at = models.DateTimeField()
    arrives_at = models.DateTimeField(
        help_text="When the phone shows it; later than created when delay is switched on."
    )

    class Meta:
        ordering = ["created_at", "sid"]
        indexes = [
            models.Index(fields=["to_number", "-created_at"], name="simulated_to"),
            models.Index(fields=["from_number", "-created_at"], name="simulated_from"),
            # used by the demo carrier's tick
            models.Index(fields=["arrives_at"], condition=Q(status__in=["queued", "sent"]), name="simulated_due"),
        ]

    def __str__(self) -> str:
        return f"{self.from_number} to {self.to_number}: {self.body[:40]}"


class CarrierSwitches(models.Model):
    """The demo carrier's bad weather, one row. Percentages of texts it happens to."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    delay_seconds = models.PositiveSmallIntegerField(default=0, help_text="Texts arrive this much later.")
    lose_percent = models.PositiveSmallIntegerField(default=0, help_text="Texts from us that never arrive.")
    duplicate_percent = models.PositiveSmallIntegerField(default=0, help_text="Webhooks delivered three times.")
    reorder = models.BooleanField(default=False, help_text="Delivery reports arrive in the wrong order.")
    fail = models.BooleanField(default=False, help_text="The carrier's API is down.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_set_of_switches")]
        verbose_name_plural = "carrier switches"

    def __str__(self) -> str:
        return "Demo carrier"
