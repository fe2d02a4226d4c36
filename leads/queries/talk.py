"""The conversation of a lead, whatever way it went: texts, calls and notes, and what was written when it came in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.utils.timesince import timesince

from crm.enums import Audience, Author, MessageStatus
from crm.models import Message
from leads.enums import LeadSource
from leads.models import Lead
from leads.reading import Line, reply_time, urgent_words

MOST: Final = 200  # of the newest texts and of the newest notes
SAME_MOMENT: Final = timedelta(seconds=5)  # the text that made the lead was kept a moment before it
# Whose words stand in a lead's notes: the person's own, when they sent it themselves.
_THEIR_OWN: Final = {LeadSource.API, LeadSource.TEXT, LeadSource.CHAT, LeadSource.FORM}


def lines(lead: Lead) -> list[Line]:
    """Oldest first; what was said at the same moment (our answer stands at the moment of the question) in the order it was
    written down. Three queries at most."""
    found = []
    if words := "\n".join(part for part in (lead.asked_for, lead.notes) if part):
        who = "customer" if lead.source in _THEIR_OWN else "note"
        found.append(Line(who=who, text=words, at=lead.created_at))
    if lead.customer_id is not None:
        texts = (
            Message.objects.for_business(lead.business)
            .filter(
                customer=lead.customer_id, audience=Audience.CUSTOMER, created_at__gte=lead.created_at - SAME_MOMENT
            )
            .exclude(author=Author.SYSTEM)
            .exclude(status__in=[MessageStatus.FAILED, MessageStatus.REFUSED])
            .order_by("-created_at", "-id")
        )
        newest = list(texts.values_list("author", "body", "created_at")[:MOST])
        found += [Line(who=author, text=body, at=at) for author, body, at in reversed(newest)]
    done = list(lead.activities.order_by("-at", "-id").values_list("kind", "text", "at")[:MOST])
    found += [
        Line(who="note", text=f"{kind}: {text}" if kind != "note" else text, at=at) for kind, text, at in reversed(done)
    ]
    return sorted(found, key=lambda line: line.at)


def facts(lead: Lead, said: list[Line], *, now: datetime) -> list[str]:
    """What is known beside the words, a sentence each. `lead.service` is loaded by the caller."""
    shown = [f"Source: {lead.get_source_display()}", f"Stage: {lead.get_stage_display()}"]
    shown.append(f"Came in {timesince(lead.created_at, now)} ago; {lead.activity_count} texts, calls and notes since")
    if lead.service is not None:
        price = f", from ${lead.service.price_low:.2f}" if lead.service.price_low is not None else ""
        shown.append(f"Service: {lead.service.name}{price}")
    if lead.first_touch_at is not None:
        shown.append(f"First answer after {timesince(lead.created_at, lead.first_touch_at)}")
    wait = reply_time(said)
    if wait is not None:
        shown.append(f"The customer usually answers within {max(1, round(wait.total_seconds() / 60))} minutes")
    if words := urgent_words(said):
        shown.append(f"Urgent words: {', '.join(words[:8])}")
    if lead.appointment_id is not None:
        shown.append("An appointment is booked")
    return shown
