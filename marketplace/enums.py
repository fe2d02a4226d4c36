"""The words of the marketplace. Values are API and database text; labels are what people read."""

from django.db.models import TextChoices


class Classification(TextChoices):
    GOLD = "Gold", "Gold"
    SILVER = "Silver", "Silver"


class AgeBucket(TextChoices):
    """By age in 30-day months; the day ranges stand in `age_buckets`."""

    MONTH_3_TO_5 = "MONTH_3_TO_5", "3 to 5 months"
    MONTH_6_TO_8 = "MONTH_6_TO_8", "6 to 8 months"
    MONTH_9_TO_11 = "MONTH_9_TO_11", "9 to 11 months"
    MONTH_12_TO_23 = "MONTH_12_TO_23", "12 to 23 months"
    MONTH_24_PLUS = "MONTH_24_PLUS", "24 months and older"


class ClosedBecause(TextChoices):
    """Why an item that was never sold cannot be bought any more."""

    AGED_OUT = "aged_out", "Moved on to the next age"
    OPTED_OUT = "opted_out", "The person opted out"
    ERASED = "erased", "The person was erased"
    WITHDRAWN = "withdrawn", "Withdrawn by staff"


class IngestStatus(TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"  # the file as a whole: no header, a required column missing
    STOPPED = "stopped", "Stopped"


class ProblemKind(TextChoices):
    SKIPPED = "skipped", "Skipped"  # a required value is missing
    FAILED = "failed", "Failed"  # a value cannot be read


class BuyerStatus(TextChoices):
    PENDING = "pending", "Waiting for approval"
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    CLOSED = "closed", "Closed"


class Terms(TextChoices):
    INVOICED = "invoiced", "Invoiced"
    PREPAID = "prepaid", "Prepaid wallet"


class Account(TextChoices):
    """Every buyer has each of these. A line's amount is what the account gains; the lines of one entry add up to zero."""

    BUYER = "buyer", "Buyer's balance"  # above zero: paid ahead; below: owed to us
    SALES = "sales", "Leads sold"
    RETURNS = "returns", "Leads returned"
    CASH = "cash", "Money received"
    ADJUSTMENTS = "adjustments", "Adjustments"


class EntryKind(TextChoices):
    PURCHASE = "purchase", "Purchase"
    RETURN = "return", "Return"
    TOP_UP = "top_up", "Top-up"
    PAYMENT = "payment", "Payment"
    REFUND = "refund", "Refund"
    ADJUSTMENT = "adjustment", "Adjustment"


class ReturnReason(TextChoices):
    DUPLICATE = "duplicate", "We had this person already"
    INVALID_NUMBER = "invalid_number", "The number does not work"
    WRONG_PERSON = "wrong_person", "Somebody else answers"
    OPTED_OUT = "opted_out", "They asked not to be contacted"
    OTHER = "other", "Something else"


class ReturnStatus(TextChoices):
    REQUESTED = "requested", "Waiting for a decision"
    REPLACED = "replaced", "Accepted, replaced"
    CREDITED = "credited", "Accepted, credited"
    DECLINED = "declined", "Declined"


class GoneBecause(TextChoices):
    """Why a person may not be sold, ever again."""

    OPTED_OUT = "opted_out", "Opted out"
    ERASED = "erased", "Erased on request"


class KnownFrom(TextChoices):
    """How a buyer came to have a person."""

    BOUGHT = "bought", "Bought here"
    UPLOADED = "uploaded", "On an uploaded list"


class DeliveryStatus(TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Given up"


class ExportProfile(TextChoices):
    CSV = "csv", "CSV for spreadsheets"
    MACHINE = "machine", "CSV for programs"
    XLSX = "xlsx", "Excel"


class ExportStatus(TextChoices):
    BUILDING = "building", "Being made"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"
    VOIDED = "voided", "Withdrawn"  # it held somebody who has been erased since
