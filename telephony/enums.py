"""The words of the switchboard."""

from django.db.models import TextChoices


class EventKind(TextChoices):
    SMS = "sms", "Text received"
    STATUS = "status", "Delivery report"


class Step(TextChoices):
    """Which step of the router answered an inbound text, so that a support person can see why."""

    SUSPENDED = "suspended", "Business suspended"
    OPT_OUT = "opt_out", "Opt-out"
    OPT_IN = "opt_in", "Opt-in"
    HELP = "help", "Help"
    OPTED_OUT = "opted_out", "Silent: opted out earlier"
    OPEN_QUESTION = "open_question", "Answer to our offer"
    APPOINTMENT_WORDS = "appointment_words", "Appointment words"
    HUMAN = "human", "A person is answering"
    RECEPTIONIST = "receptionist", "Receptionist"
    READING = "reading", "Being read by the language model"
    NO_BUSINESS = "no_business", "Nobody's number"
    REPORT = "report", "Delivery report"
