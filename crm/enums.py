"""The words the ground floor stores. Values are API and database text; labels are what people read."""

from django.db.models import TextChoices


class BusinessStatus(TextChoices):
    ACTIVE = "ACTIVE", "Active"
    SUSPENDED = "SUSPENDED", "Suspended"


class Role(TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    STAFF = "staff", "Staff"
    VIEWER = "viewer", "Viewer"


class KeyKind(TextChoices):
    API = "api", "API"
    OWNER = "owner", "Owner"
    WIDGET = "widget", "Chat widget"
    ADMIN = "admin", "Platform admin"


class Channel(TextChoices):
    SMS = "sms", "Text"
    PHONE = "phone", "Call"
    WEB = "web", "Web chat"


class Direction(TextChoices):
    INBOUND = "inbound", "Received"
    OUTBOUND = "outbound", "Sent"


class Author(TextChoices):
    CUSTOMER = "customer", "Customer"
    ASSISTANT = "assistant", "Assistant"
    STAFF = "staff", "Staff"
    SYSTEM = "system", "System"


class Audience(TextChoices):
    CUSTOMER = "customer", "Customer"
    OWNER = "owner", "Owner"


class MessageKind(TextChoices):
    CHAT = "chat", "Conversation"
    OFFER = "offer", "Offered slot"
    APPOINTMENT = "appointment", "About an appointment"
    REMINDER = "reminder", "Reminder"
    KEYWORD = "keyword", "Answer to STOP, START or HELP"
    ALERT = "alert", "Alert to the owner"


class MessageStatus(TextChoices):
    RECEIVED = "received", "Received"
    QUEUED = "queued", "Waiting"
    SENDING = "sending", "On its way"
    SENT = "sent", "Sent"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    REFUSED = "refused", "Not sent"
    UNKNOWN = "unknown", "Not known"


# How far a message has come. A status callback may only move it forward: they arrive late and out of order.
PROGRESS = {
    MessageStatus.QUEUED: 0,
    MessageStatus.SENDING: 1,
    MessageStatus.UNKNOWN: 1,
    MessageStatus.SENT: 2,
    MessageStatus.DELIVERED: 3,
    MessageStatus.FAILED: 3,
    MessageStatus.REFUSED: 3,
}


class SentVia(TextChoices):
    API = "api", "Carrier's API"
    ANSWER = "answer", "Answer to a webhook"


class ConsentAction(TextChoices):
    GRANT = "grant", "Agreed"
    REVOKE = "revoke", "Opted out"


class ConsentScope(TextChoices):
    SERVICE = "service", "Service texts"
    MARKETING = "marketing", "Marketing"


class ConsentSource(TextChoices):
    TEXT = "text", "by text"
    INTAKE = "intake", "when they sent their request"
    STAFF = "staff", "recorded by staff"
    CARRIER = "carrier", "told by the carrier"
    IMPORT = "import", "from an import"


class Verb(TextChoices):
    """What happened, for the timeline's icon and filter. The sentence beside it tells the story."""

    WROTE = "wrote", "Wrote"
    ANSWERED = "answered", "Answered"
    OFFERED = "offered", "Offered a slot"
    BOOKED = "booked", "Booked"
    MOVED = "moved", "Moved"
    CANCELLED = "cancelled", "Cancelled"
    CONFIRMED = "confirmed", "Confirmed"
    COMPLETED = "completed", "Completed"
    MISSED = "missed", "Missed"
    DECLINED = "declined", "Declined"
    OPTED_OUT = "opted_out", "Opted out"
    OPTED_IN = "opted_in", "Opted in"
    REFUSED = "refused", "Not sent"
    FAILED = "failed", "Failed"
    LEAD = "lead", "New lead"
    TASK = "task", "To do"
    HANDED_OVER = "handed_over", "Handed over"
    HANDED_BACK = "handed_back", "Handed back"
    EDITED = "edited", "Edited"
    MERGED = "merged", "Merged"
    NOTE = "note", "Note"
    CALLED = "called", "Called"
    STAGE = "stage", "Moved on"
    SALES = "sales", "Sales"


class TaskReason(TextChoices):
    NO_CAPACITY = "no_capacity", "No free slot"
    WANTS_CANCEL = "wants_cancel", "May want to cancel"
    WANTS_RESCHEDULE = "wants_reschedule", "Wants another time"
    ASKED_A_PERSON = "asked_a_person", "Needs a person"
    AFTER_OPT_OUT = "after_opt_out", "Wrote after opting out"
    NOT_DELIVERED = "not_delivered", "A text did not arrive"
    FOLLOW_UP = "follow_up", "Follow up"
    DEAL_WAITS = "deal_waits", "A deal has no owner"


class SecurityEventKind(TextChoices):
    SIGNATURE_MISSING = "webhook_signature_missing", "Webhook without a signature"
    SIGNATURE_INVALID = "webhook_signature_invalid", "Webhook with a wrong signature"
    ACCOUNT_UNKNOWN = "webhook_account_unknown", "Webhook from an unknown account"
    KEY_INVALID = "api_key_invalid", "Wrong API key"
    RATE_LIMITED = "rate_limit_blocked", "Too many requests"


class Meter(TextChoices):
    SMS = "sms", "Texts"
    LLM = "llm", "Language model"
