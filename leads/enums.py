"""The words of intake."""

from django.db.models import TextChoices


class LeadSource(TextChoices):
    API = "api", "API"
    TEXT = "text", "Text"
    CHAT = "chat", "Chat"
    FORM = "form", "Web form"
    MANUAL = "manual", "Added by hand"
    PURCHASE = "purchase", "Bought"


class IntakeStatus(TextChoices):
    NEW = "new", "New"
    PROPOSED = "proposed", "Slot offered"
    BOOKED = "booked", "Booked"
    NEEDS_DISPATCH = "needs_dispatch", "No free slot"
    HANDOFF = "handoff", "Needs a person"
    DECLINED = "declined", "Declined"


class ProposalStatus(TextChoices):
    OPEN = "PROPOSED", "Offered"
    CONFIRMED = "CONFIRMED", "Accepted"
    REPLACED = "REPLACED", "Another time asked for"
    DECLINED = "DECLINED", "Declined"
