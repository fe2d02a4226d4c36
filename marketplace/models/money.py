"""The books: entries whose lines add up to zero, and the invoices made from them. Append-only (triggers)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.scoping import TenantForeignKey, TenantModel, own_key
from marketplace.enums import Account, EntryKind


class JournalEntry(TenantModel):
    """Something that moved money on a buyer's accounts. Its lines add up to zero: a deferred trigger checks at commit."""

    kind = models.CharField(max_length=10, choices=EntryKind)
    text = models.CharField(max_length=200)
    about = models.CharField(max_length=64, blank=True, help_text="The row it comes from, as kind:id.")
    reference = models.CharField(
        max_length=80,
        blank=True,
        help_text="Of the outside: a bank reference, a payment's id. The same one books once.",
    )
    actor = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "journal entries"
        constraints = [
            own_key("journal_entry_own_key"),
            models.UniqueConstraint(
                fields=["business", "kind", "about"], condition=~Q(about=""), name="booked_once_per_thing"
            ),
            models.UniqueConstraint(
                fields=["business", "kind", "reference"], condition=~Q(reference=""), name="booked_once_per_reference"
            ),
        ]
        indexes = [
            # used by the buyer's statement: newest first
            models.Index(fields=["business", "-at", "-id"], name="journal_newest")
        ]

    def __str__(self) -> str:
        return self.text


class JournalLine(TenantModel):
    """What one account gains (above zero) or loses by an entry, in US dollars."""

    entry = TenantForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="lines")
    account = models.CharField(max_length=12, choices=Account)
    amount = models.DecimalField(max_digits=14, decimal_places=2)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="a_line_moves_something"),
            models.UniqueConstraint(fields=["entry", "account"], name="one_line_per_account"),
        ]
        indexes = [
            # used by the nightly check of the books
            models.Index(fields=["business", "account"], name="journal_by_account")
        ]

    def __str__(self) -> str:
        return f"{self.get_account_display()}: {self.amount:+}"


class Invoice(TenantModel):
    """What a buyer owes for a stretch of time. It never changes; its PDF and CSV are made from its lines."""

    number = models.BigIntegerField(unique=True, editable=False, help_text="For people: I-1007.")
    since = models.DateTimeField(help_text="The first moment it covers.")
    until = models.DateTimeField(help_text="The first moment it does not cover.")
    total = models.DecimalField(max_digits=12, decimal_places=2)
    issued_at = models.DateTimeField()
    due_on = models.DateField(help_text="On the buyer's calendar.")
    paid_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-issued_at", "-id"]
        constraints = [own_key("invoice_own_key")]
        indexes = [models.Index(fields=["business", "-issued_at", "-id"], name="invoice_newest")]

    def __str__(self) -> str:
        return f"I-{self.number}"


class InvoiceLine(TenantModel):
    """One journal entry on an invoice; an entry is invoiced once."""

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    entry = TenantForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="+")
    text = models.CharField(max_length=200)
    at = models.DateTimeField()
    quantity = models.PositiveIntegerField(default=0)
    amount = models.DecimalField(max_digits=12, decimal_places=2, help_text="Below zero for a credit.")

    class Meta:
        ordering = ["at", "id"]
        constraints = [models.UniqueConstraint(fields=["business", "entry"], name="invoiced_once")]

    def __str__(self) -> str:
        return f"{self.text}: {self.amount}"
