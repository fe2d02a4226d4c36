"""What was said, to be read; and texts that did not arrive, to be sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html

from crm import phones
from crm.admin.base import ReadOnlyAdmin, link, signed_in
from crm.admin.lists import OfBusiness, as_number, made_lately, of_customers, since, with_number
from crm.enums import MessageStatus
from crm.models import Conversation, Message
from crm.services import requeue_message

THREAD = 50  # newest messages of a conversation; older ones are in the list of messages
STUCK_AFTER = timedelta(minutes=2)


class Waiting(admin.SimpleListFilter):
    title = "who is next"
    parameter_name = "next"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting for an answer"), ("human", "A person is answering")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        if self.value() == "waiting":
            return queryset.filter(waiting_since__isnull=False)
        return queryset.filter(human_until__gt=timezone.now()) if self.value() == "human" else queryset


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = (
        "their_address",
        "customer",
        "business",
        "channel",
        "last_words",
        "waiting_since",
        "last_message_at",
    )
    list_select_related = ("customer", "business")
    list_filter = (OfBusiness, Waiting, "channel")
    search_fields = ("their_address",)
    search_help_text = "The whole number, or a customer's name."
    fields = (
        "business",
        "customer",
        "channel",
        "their_address",
        "our_number",
        "waiting_since",
        "human",
        "human_until",
        "last_inbound_at",
        "thread",
    )
    readonly_fields = ("thread",)

    def find(self, rows: QuerySet[Conversation], words: str) -> QuerySet[Conversation]:
        number = as_number(words)
        return with_number(rows, "their_address", number) if number else of_customers(rows, words)

    @admin.display(description="thread")
    def thread(self, conversation: Conversation) -> str:
        newest = conversation.messages.select_related("sent_by").order_by("-created_at", "-pk")[: THREAD + 1]
        messages = list(newest)
        return render_to_string(
            "admin/thread.html",
            {
                "messages": messages[:THREAD][::-1],
                "has_more": len(messages) > THREAD,
                "conversation": conversation,
                "zone": conversation.business.time_zone,
            },
        )


class WhatIsWrong(admin.SimpleListFilter):
    """The questions a support person asks; each is served by an index of its own."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("trouble", "Failed or not known, last 24 hours"),
            ("failed", "Failed, ever"),
            ("unknown", "Not known, ever"),
            ("refused", "Not sent, last 24 hours"),
            ("waiting", "Waiting to be sent"),
            ("due", "Waiting, and due"),
            ("stuck", "On its way for over 2 minutes"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        now = timezone.now()
        trouble = queryset.filter(status__in=[MessageStatus.FAILED, MessageStatus.UNKNOWN])
        match self.value():
            case "trouble":
                return trouble.filter(created_at__gte=now - timedelta(days=1))
            case "failed" | "unknown" as status:
                return trouble.filter(status=status)
            case "refused":
                return since(queryset.filter(status=MessageStatus.REFUSED), "created_at", now - timedelta(days=1))
            case "waiting":
                return queryset.filter(status=MessageStatus.QUEUED)
            case "due":
                return queryset.due(now)  # type: ignore[attr-defined]
            case "stuck":
                return queryset.stuck(claimed_before=now - STUCK_AFTER)  # type: ignore[attr-defined]
        return queryset


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "direction", "who", "words", "standing", "business")
    list_select_related = ("business", "customer")
    list_filter = (OfBusiness, WhatIsWrong, "direction", made_lately("created_at"))
    search_fields = ("provider_sid",)
    search_help_text = "The carrier's id (SM…), a customer's number or name, or an id."
    fields = (
        "business",
        "customer",
        "conversation",
        "direction",
        "author",
        "audience",
        "kind",
        "about",
        "body",
        "segments",
        "to_number",
        "from_number",
        "status",
        "error",
        "error_code",
        "delay_reason",
        "created_at",
        "due_at",
        "claimed_at",
        "attempts",
        "sent_at",
        "delivered_at",
        "sent_by",
        "sent_via",
        "provider_sid",
    )
    actions = ("send_again",)

    def find(self, rows: QuerySet[Message], words: str) -> QuerySet[Message]:
        if words[:2].upper() in ("SM", "MM") and len(words) == 34:
            return rows.filter(provider_sid=words)
        return of_customers(rows, words)

    @admin.display(description="who")
    def who(self, message: Message) -> str:
        number = message.from_number if message.direction == "inbound" else message.to_number
        name = "The owner" if message.audience == "owner" else message.customer.name if message.customer else ""
        return f"{name} {phones.pretty(number, region=message.business.region)}".strip()

    @admin.display(description="words")
    def words(self, message: Message) -> str:
        return link(message, message.body[:80])

    @admin.display(description="state")
    def standing(self, message: Message) -> str:
        why = message.error or (message.delay_reason if message.status == MessageStatus.QUEUED else "")
        return format_html(
            '<span class="state state--{}">{}</span> {}', message.status, message.get_status_display(), why
        )

    @admin.action(description="Send again", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Message]) -> Any:
        messages = queryset.select_related("business", "conversation__human", "customer")
        if not self.confirmed(request):
            return self.ask(
                request,
                messages,
                question="Send again?",
                button="Send again",
                explanation="If it did arrive after all, they get it twice.",
            )
        actor = signed_in(request)

        def act(message: Message) -> bool:
            requeue_message(message=message, actor=actor, now=timezone.now())
            return True

        self.for_each(request, messages, act, done="on the way again")
        return None
