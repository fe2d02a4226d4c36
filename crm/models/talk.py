"""What was said. `Message` is also the outbox: a row that is QUEUED will be sent, by whichever worker claims it."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from crm.enums import Audience, Author, Channel, Direction, MessageKind, MessageStatus, SentVia
from crm.models.customers import Customer
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager


class ConversationQuerySet(TenantQuerySet):
    def waiting_for_reply(self) -> ConversationQuerySet:
        """The customer spoke last and nobody has answered."""
        return self.filter(waiting_since__isnull=False)


class Conversation(TenantModel):
    """A thread with one person on one channel."""

    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="conversations")
    channel = models.CharField(max_length=8, choices=Channel, default=Channel.SMS)
    their_address = models.CharField(max_length=64, help_text="The person's number, or the web chat's id.")
    our_number = models.CharField(max_length=16, blank=True, help_text="The number of ours they wrote to last.")
    created_at = models.DateTimeField()
    last_message_at = models.DateTimeField()
    last_inbound_at = models.DateTimeField(null=True, blank=True)
    last_words = models.CharField(max_length=120, blank=True, help_text="Beginning of the newest message, for lists.")
    waiting_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when the customer waits for an answer."
    )
    human = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    human_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then a person answers; the assistant is silent."
    )

    objects = tenant_manager(ConversationQuerySet)

    class Meta:
        ordering = ["-last_message_at", "-id"]
        constraints = [
            own_key("conversation_own_key"),
            models.UniqueConstraint(
                fields=["business", "their_address"],
                condition=Q(channel=Channel.SMS),
                name="one_text_thread_per_number",
            ),
        ]
        indexes = [
            # used by the Inbox: newest first
            models.Index(fields=["business", "-last_message_at", "-id"], name="conversation_newest"),
            # used by the Inbox and Today: unanswered first
            models.Index(
                fields=["business", "waiting_since"],
                condition=Q(waiting_since__isnull=False),
                name="conversation_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} with {self.their_address}"

    def human_answers(self, now: datetime) -> bool:
        return self.human_until is not None and self.human_until > now


class MessageQuerySet(TenantQuerySet):
    def due(self, now: datetime) -> MessageQuerySet:
        return self.filter(status=MessageStatus.QUEUED, due_at__lte=now)

    def stuck(self, *, claimed_before: datetime) -> MessageQuerySet:
        """Claimed, and never heard of again: their worker died, or the webhook's answer was lost."""
        return self.filter(status=MessageStatus.SENDING, claimed_at__lt=claimed_before)


class Message(TenantModel):
    """One text, received or to be sent."""

    conversation = TenantForeignKey(
        Conversation, on_delete=models.PROTECT, null=True, blank=True, related_name="messages"
    )
    customer = TenantForeignKey(Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="messages")
    audience = models.CharField(max_length=8, choices=Audience, default=Audience.CUSTOMER)
    direction = models.CharField(max_length=8, choices=Direction)
    author = models.CharField(max_length=9, choices=Author)
    kind = models.CharField(max_length=11, choices=MessageKind, default=MessageKind.CHAT)
    about = models.CharField(max_length=64, blank=True, help_text="What it is about, as kind:id.")
    body = models.TextField(max_length=1_600)
    to_number = models.CharField(max_length=16)
    from_number = models.CharField(max_length=16, blank=True)
    status = models.CharField(max_length=9, choices=MessageStatus)
    segments = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True, help_text="Not to be sent before.")
    delay_reason = models.CharField(max_length=200, blank=True, help_text="Why it waits, in a sentence.")
    sent_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    sent_via = models.CharField(max_length=6, choices=SentVia, default=SentVia.API)
    claimed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    provider_sid = models.CharField(max_length=64, blank=True)
    error_code = models.CharField(max_length=16, blank=True)
    error = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    objects = tenant_manager(MessageQuerySet)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("message_own_key"),
            models.UniqueConstraint(
                fields=["provider_sid"], condition=~Q(provider_sid=""), name="one_message_per_provider_sid"
            ),
        ]
        indexes = [
            # used by the thread page: newest first
            models.Index(fields=["conversation", "-created_at", "-id"], name="message_thread"),
            # used by the delivery worker: due first
            models.Index(fields=["due_at"], condition=Q(status="queued"), name="message_due"),
            # used by the sweep: claimed and never heard of again
            models.Index(fields=["claimed_at"], condition=Q(status="sending"), name="message_stuck"),
            # used by Today and the staff console: what went wrong lately
            models.Index(fields=["-created_at"], condition=Q(status__in=["failed", "unknown"]), name="message_trouble"),
            # used by the customer's timeline
            models.Index(fields=["customer", "-created_at", "-id"], name="message_of_customer"),
            # used by the sweep that counts what was said lately
            models.Index(fields=["-created_at"], condition=Q(audience="customer"), name="message_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.get_direction_display()} {self.body[:40]!r}"
