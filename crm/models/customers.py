"""A business's customers, and what they allowed."""

from __future__ import annotations

import re

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Right, Upper

from crm.enums import Channel, ConsentAction, ConsentScope, ConsentSource
from crm.models.business import check_e164
from crm.phones import pretty
from crm.scoping import TenantForeignKey, TenantModel, TenantQuerySet, own_key, tenant_manager

# Words of the name and address, and the number whole or from any usual beginning: 15551234567, 5551234567, 1234567, 4567.
CUSTOMER_WORDS = SearchVector(
    "name", "email", "phone", Right("phone", 10), Right("phone", 7), Right("phone", 4), config="simple"
)


class CustomerQuerySet(TenantQuerySet):
    def standing(self) -> CustomerQuerySet:
        """Without those that were merged into another."""
        return self.filter(merged_into__isnull=True)

    def search(self, words: str) -> CustomerQuerySet:
        """By the beginnings of words of the name or e-mail, or by digits of the number. Served by one index."""
        digits = "".join(c for c in words if c.isdigit())
        letters = [word for word in re.findall(r"[^\W\d]+[\w.@'-]*", words.lower()) if word]
        wanted = ["'" + word.replace("'", "''").replace("\\", "") + "':*" for word in letters]
        if len(digits) >= 3:
            wanted.append(f"('{digits}':* | '+{digits}':*)")  # Postgres keeps the plus of a whole number
        if not wanted:
            return self.none()
        query = SearchQuery(" & ".join(wanted), search_type="raw", config="simple")
        return self.annotate(_words=CUSTOMER_WORDS).filter(_words=query)


class Customer(TenantModel):
    """One person to one business. A phone is one customer; a customer may have none."""

    name = models.CharField(max_length=120, blank=True)
    phone = models.CharField(max_length=16, null=True, blank=True, validators=[check_e164])  # noqa: DJ001 - NULL: no phone, unique only where there is one
    phone_raw = models.CharField("phone as given", max_length=64, blank=True)
    email = models.EmailField(blank=True)
    address = models.CharField(max_length=200, blank=True)
    notes = models.TextField(blank=True, max_length=10_000)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    merged_into = TenantForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="merged")

    objects = tenant_manager(CustomerQuerySet)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            own_key("customer_own_key"),
            models.UniqueConstraint(
                fields=["business", "phone"],
                name="one_customer_per_phone",
                violation_error_message="A customer with this phone number is already on file.",
            ),
        ]
        indexes = [
            # used by the Customers page: newest first
            models.Index(fields=["business", "-created_at", "-id"], name="customer_newest"),
            # used by the search of the Customers page and the staff console
            GinIndex(CUSTOMER_WORDS, name="customer_words"),
            # used by a lead's page: other people with the same e-mail address
            models.Index(F("business"), Upper("email"), condition=~Q(email=""), name="customer_email"),
        ]

    def __str__(self) -> str:
        if self.name:
            return self.name
        return pretty(self.phone) if self.phone else "Someone without a name"

    @property
    def first_name(self) -> str:
        return self.name.split(" ")[0] if self.name else ""


class CustomerMerge(TenantModel):
    """Two rows turned out to be one person. Holds what moved, so the merge can be undone."""

    kept = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    dropped = TenantForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    moved = models.JSONField(default=dict, help_text="Row ids by table and column.")
    filled = models.JSONField(default=dict, help_text="Fields of the kept customer that were empty and got a value.")
    merged_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, related_name="+")
    merged_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-merged_at", "-id"]
        constraints = [own_key("customer_merge_own_key")]

    def __str__(self) -> str:
        return f"{self.dropped_id} into {self.kept_id}"


class Consent(TenantModel):
    """One line of the ledger: a number agreed or opted out. Append-only; a trigger refuses UPDATE and DELETE.

    Keyed by number, not by customer: an opt-out from a number nobody knows counts just the same. The newest line of
    (business, phone, channel, scope) is what holds; a revocation takes every scope with it.
    """

    phone = models.CharField(max_length=16)
    channel = models.CharField(max_length=8, choices=Channel, default=Channel.SMS)
    scope = models.CharField(max_length=10, choices=ConsentScope, default=ConsentScope.SERVICE)
    action = models.CharField(max_length=8, choices=ConsentAction)
    source = models.CharField(max_length=10, choices=ConsentSource)
    words = models.CharField(max_length=500, blank=True, help_text="What they said or were shown.")
    reference = models.CharField(max_length=64, blank=True, help_text="The message or request it came with.")
    recorded_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            # used by the sending door: the newest line for a number
            models.Index(fields=["business", "phone", "channel", "-at", "-id"], name="consent_newest"),
            # used by whoever must know that somebody opted out anywhere
            models.Index(fields=["phone"], condition=Q(action="revoke"), name="consent_revoked"),
        ]

    def __str__(self) -> str:
        return f"{self.phone} {self.get_action_display()} {self.get_source_display()}"
