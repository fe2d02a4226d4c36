"""The words of leads: how they came, how they stand, how far they are."""

from django.db.models import TextChoices

from leads import lifecycle


class LeadSource(TextChoices):
    API = "api", "API"
    TEXT = "text", "Text"
    CHAT = "chat", "Chat"
    FORM = "form", "Web form"
    MANUAL = "manual", "Added by hand"
    PURCHASE = "purchase", "Bought"
    PARTNER = "partner", "Partner"
    SCANNER = "scanner", "Scanner"


# From these nobody waits for an answer: they never wrote to us, or a person of ours was talking to them.
UNSOLICITED = (LeadSource.PURCHASE.value, LeadSource.SCANNER.value, LeadSource.MANUAL.value)


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


class Stage(TextChoices):
    """How far a lead has come; `lifecycle` says what may follow what."""

    NEW = lifecycle.NEW, "New"
    CONTACTED = lifecycle.CONTACTED, "Contacted"
    QUALIFIED = lifecycle.QUALIFIED, "Qualified"
    TRANSFERRED = lifecycle.TRANSFERRED, "Transferred"
    LOST = lifecycle.LOST, "Lost"


class DealStage(TextChoices):
    """How far sales has come with a lead that was transferred."""

    NEW = lifecycle.NEW, "New"
    KYC = lifecycle.KYC, "Checking identity"
    AGREEMENT = lifecycle.AGREEMENT, "Agreement"
    PAID = lifecycle.PAID, "Paid"
    LOST = lifecycle.LOST, "Lost"


class Domain(TextChoices):
    """A line of business. Each business gives the three its own names (`PipelineSettings`)."""

    FIRST = "first", "First line"
    SECOND = "second", "Second line"
    THIRD = "third", "Third line"


class ActivityKind(TextChoices):
    """What a person did about a lead. Texts count by themselves."""

    NOTE = "note", "Note"
    CALL = "call", "Call"
    EMAIL = "email", "E-mail"
    MEETING = "meeting", "Meeting"
    MESSAGE = "message", "Message elsewhere"


class OfferStatus(TextChoices):
    """What became of a deal that was offered to a salesperson."""

    OPEN = "open", "Waiting for an answer"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    LAPSED = "lapsed", "Not answered in time"
    WITHDRAWN = "withdrawn", "Taken by somebody else"


class Outcome(TextChoices):
    """How a lead ended. Sales decide about those that were transferred."""

    WON = "won", "Won"
    LOST = "lost", "Lost"


class ModelVerdict(TextChoices):
    """What an evaluation of the learned chances came to."""

    TOO_FEW = "too_few", "Not enough data"
    NO_BETTER = "no_better", "No better than the average"
    USEFUL = "useful", "Better than the average"
