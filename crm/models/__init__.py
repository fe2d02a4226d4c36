"""The ground floor's rows, by room: who works here, whose business, who the customers are, what was said, what happened."""

from crm.models.business import Allowance, Business, PhoneNumber
from crm.models.customers import Consent, Customer, CustomerMerge
from crm.models.people import ApiKey, Membership, User
from crm.models.talk import Conversation, Message
from crm.models.trail import Activity, AuditEvent, Heartbeat, IdempotencyKey, LlmUsage, SecurityEvent, Task

__all__ = [
    "Activity",
    "Allowance",
    "ApiKey",
    "AuditEvent",
    "Business",
    "Consent",
    "Conversation",
    "Customer",
    "CustomerMerge",
    "Heartbeat",
    "IdempotencyKey",
    "LlmUsage",
    "Membership",
    "Message",
    "PhoneNumber",
    "SecurityEvent",
    "Task",
    "User",
]
