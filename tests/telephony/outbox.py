"""Short ways to put texts into the outbox and to look at them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from crm import consent
from crm.enums import Author, ConsentSource, MessageKind
from crm.messaging import queue_message
from crm.models import Business, Message
from crm.scoping import every_business
from crm.services import open_thread, remember_customer

PHONE = "+15551234567"


def queue(
    business: Business, body: str = "Your plumber is on the way.", *, now: datetime, phone: str = PHONE,
    author: Author = Author.ASSISTANT, kind: MessageKind = MessageKind.CHAT, about: str = "",
) -> Message:  # fmt: skip
    """A text to somebody who has agreed to texts, queued as any floor would queue it."""
    with every_business(), transaction.atomic():
        customer, _ = remember_customer(business=business, phone=phone)
        consent.grant_if_silent(business=business, phone=phone, source=ConsentSource.INTAKE, words="", now=now)
        thread = open_thread(business=business, customer=customer, now=now)
        return queue_message(
            business=business,
            customer=customer,
            conversation=thread,
            body=body,
            author=author,
            kind=kind,
            now=now,
            about=about,
        )


def stored(message: Message) -> Message:
    """The row as it stands now."""
    with every_business():
        return Message.objects.select_related("business", "conversation", "customer").get(pk=message.pk)


def rewrite(message: Message, **fields: Any) -> Message:
    """Change the row behind everybody's back, to set a scene."""
    with every_business():
        Message.objects.filter(pk=message.pk).update(**fields)
    return stored(message)
