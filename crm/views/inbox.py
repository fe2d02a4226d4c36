"""Inbox and thread: who wrote, what was said, and the box to answer in."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from crm import paging, phones, queries, segments, services, thread
from crm.access import PageRequest, business_page
from crm.enums import Channel, MessageStatus
from crm.forms import ReplyForm, lines
from crm.idempotency import DifferentRequest, claim
from crm.messaging import CannotSend, Plan
from crm.models import Conversation, Message
from crm.wording import initials, say_list, say_noun, say_when

PAGE: Final = 30  # conversations
BESIDE: Final = 15  # conversations beside a thread, on a desk


@require_safe
@business_page("inbox")
def inbox(request: PageRequest) -> HttpResponse:
    words = searched(request)
    found = queries.inbox(request.business, words=words)
    waiting = found.waiting_for_reply()
    only_waiting = request.GET.get("show") == "waiting"
    shown = paging.stretch(
        waiting if only_waiting else found, by="-last_message_at", after=request.GET.get("after", ""), size=PAGE
    )
    count, waiting_count = found.count(), waiting.count()
    here = reverse("crm:inbox", args=[request.business.slug])
    everybody, those_waiting = address(here, q=words), address(here, q=words, show="waiting")
    context = {
        "rows": [conversation_row(request, row) for row in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": waiting_count if only_waiting else count,
        "noun": "waiting" if only_waiting else say_noun(count, "conversation", "conversations"),
        "search": words,
        "only_waiting": only_waiting,
        "keep": [{"name": "show", "value": "waiting"}] if only_waiting else [],
        "clear_url": address(here, show="waiting" if only_waiting else "") if words else "",
        "tabs": [
            {"label": "All", "url": everybody, "count": count, "current": not only_waiting},
            {"label": "Waiting", "url": those_waiting, "count": waiting_count, "current": only_waiting},
        ],
        "numbers": _own_numbers(request) if not count and not words else "",
    }
    return render(request, "crm/inbox.html", context)


@require_safe
@business_page("inbox")
def show_thread(request: PageRequest, pk: UUID) -> HttpResponse:
    conversation = _conversation(request, pk)
    before = request.GET.get("before", "")
    if not before and (wanted := _message_at(request, conversation)) is not None:
        before = thread.place_of(wanted, conversation=conversation)
    return _thread(request, conversation, ReplyForm(), before=before)


@require_safe
@business_page("inbox")
def news(request: PageRequest, pk: UUID) -> HttpResponse:
    """What has come since, for a page that asks every few seconds. 204: nothing."""
    conversation = _conversation(request, pk)
    found = thread.news(conversation, known=thread.Known.read(request.GET))
    allowed = _outlook(request, conversation).allowed
    hand = thread.hand(conversation, user=request.user, now=request.now, can_be_texted=allowed)
    if not found and request.GET.get("hand") == hand.words:
        return HttpResponse(status=204)
    return render(request, "crm/thread_news.html", {"conversation": conversation, "news": found, "hand": hand})


@require_POST
@business_page("inbox", write=True)
def plan(request: PageRequest, pk: UUID) -> HttpResponse:
    """What would become of the text as it stands in the box: the line under it."""
    conversation = _conversation(request, pk)
    body = lines(request.POST.get("body", ""))
    return render(
        request, "components/segment_counter.html", _counter(_outlook(request, conversation, body), body, request.now)
    )


@require_POST
@business_page("inbox", write=True)
def reply(request: PageRequest, pk: UUID) -> HttpResponse:
    """Send what a person wrote, once. What the door refuses is told at the box, and the words stay in it."""
    conversation = _conversation(request, pk)
    form = ReplyForm(request.POST)
    if not form.is_valid():
        return _thread(request, conversation, form, status=422)
    try:
        _send_once(request, conversation, key=str(form.cleaned_data["once"]), body=form.cleaned_data["body"])
    except CannotSend as reason:
        form.add_error("body", str(reason))
        return _thread(request, conversation, form, status=422)
    except DifferentRequest:
        form.new_token()
        form.add_error("body", "The box was sent before with other words. Send again if this should go out too.")
        return _thread(request, conversation, form, status=409)
    return redirect("crm:thread", request.business.slug, conversation.pk)


@require_POST
@business_page("inbox", write=True)
def send_again(request: PageRequest, pk: UUID, message_pk: UUID) -> HttpResponse:
    """Another try with a text that did not arrive; from now on in the name of whoever tries."""
    conversation = _conversation(request, pk)
    message = get_object_or_404(conversation.messages, pk=message_pk, status=MessageStatus.FAILED)
    try:
        _send_once(request, conversation, key=f"again:{message.pk}", body=message.body)
    except CannotSend as reason:
        messages.error(request, str(reason))
    return redirect("crm:thread", request.business.slug, conversation.pk)


@require_POST
@business_page("inbox", write=True)
def take_over(request: PageRequest, pk: UUID) -> HttpResponse:
    conversation = _conversation(request, pk)
    services.take_over(conversation=conversation, user=request.user, now=request.now)
    return redirect("crm:thread", request.business.slug, conversation.pk)


@require_POST
@business_page("inbox", write=True)
def hand_back(request: PageRequest, pk: UUID) -> HttpResponse:
    conversation = _conversation(request, pk)
    if conversation.human_answers(request.now):  # a second click has nothing left to hand back
        services.hand_back(conversation=conversation, user=request.user, now=request.now)
    return redirect("crm:thread", request.business.slug, conversation.pk)


@require_POST
@business_page("inbox", write=True)
def mark_answered(request: PageRequest, pk: UUID) -> HttpResponse:
    conversation = _conversation(request, pk)
    if conversation.waiting_since is not None:
        services.mark_answered(conversation=conversation, user=request.user, now=request.now)
        messages.success(request, f"{conversation.customer} is off the waiting list.")
    return redirect("crm:thread", request.business.slug, conversation.pk)


# --- Inside ----------------------------------------------------------------------------------------------------------


def searched(request: HttpRequest) -> str:
    """The words of the search box, as long as a search makes sense."""
    return request.GET.get("q", "").strip()[: queries.LONGEST_SEARCH]


def address(path: str, **query: str) -> str:
    """`path` with the query that is not empty."""
    given = {key: value for key, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def conversation_row(request: PageRequest, conversation: Conversation, *, current: bool = False) -> dict[str, Any]:
    """A conversation as components/list_row.html shows it."""
    conversation.business = request.business
    row = {
        "url": reverse("crm:thread", args=[request.business.slug, conversation.pk]),
        "title": person(request, conversation),
        "initials": initials(conversation.customer.name),
        "icon": "" if initials(conversation.customer.name) else "user",
        "sentence": conversation.last_words or "Nothing written yet",
        "time": say_when(conversation.last_message_at, now=request.now, zone=request.business.zone),
        "since": conversation.waiting_since,
        "current": current,
    }
    if conversation.human_answers(request.now):
        human = conversation.human
        who = "You answer" if human == request.user else f"{human.get_short_name() if human else 'Somebody'} answers"
        row |= {"badge": who, "badge_icon": "hand", "badge_tone": "warning"}
    elif conversation.channel != Channel.SMS:
        row |= {"badge": conversation.get_channel_display()}
    return row


def person(request: PageRequest, conversation: Conversation) -> str:
    """The customer's name, else their number as people write it."""
    return conversation.customer.name or phones.pretty(conversation.their_address, region=request.business.region)


def _conversation(request: PageRequest, pk: UUID) -> Conversation:
    rows = Conversation.objects.for_business(request.business).select_related("customer", "human")
    conversation: Conversation = get_object_or_404(rows, pk=pk)
    conversation.business = conversation.customer.business = request.business
    return conversation


def _thread(
    request: PageRequest, conversation: Conversation, form: ReplyForm, *, before: str = "", status: int = 200
) -> HttpResponse:
    body = str(form["body"].value() or "")
    error = next(iter(form.errors.get("body", form.errors.get("once", []))), "")
    number = phones.pretty(conversation.their_address, region=request.business.region)
    anything = _outlook(request, conversation)
    refused = "" if anything.allowed else anything.sentence
    if conversation.channel != Channel.SMS:
        refused = "This was not by text, so it cannot be answered here."
    beside = queries.inbox(request.business).order_by("-last_message_at", "-id")[:BESIDE]
    context = {
        "conversation": conversation,
        "customer": conversation.customer,
        "who": person(request, conversation),
        "number_beside": number if conversation.customer.name else "",
        "is_text": conversation.channel == Channel.SMS,
        "page": thread.page(conversation, before=before),
        "hand": thread.hand(conversation, user=request.user, now=request.now, can_be_texted=anything.allowed),
        "form": form,
        "body": body,
        "error": error,
        "counter": _counter(_outlook(request, conversation, body) if body else anything, body, request.now),
        "refused": refused,
        "beside": [conversation_row(request, row, current=row.pk == conversation.pk) for row in beside],
    }
    return render(request, "crm/thread.html", context, status=status)


def _send_once(request: PageRequest, conversation: Conversation, *, key: str, body: str) -> None:
    """Raises CannotSend, and DifferentRequest for a key that has sent other words."""
    with transaction.atomic():
        mine = claim(business=request.business, scope="reply", key=key, payload=[str(conversation.pk), body])
        if not mine.is_repeat:
            sent = services.reply_as_staff(conversation=conversation, body=body, user=request.user, now=request.now)
            mine.keep(status=200, answer={"message": str(sent.pk)})


def _outlook(request: PageRequest, conversation: Conversation, body: str = "") -> Plan:
    """What would become of this text; of any text at all while the box is empty."""
    return queries.plan_reply(conversation, body.strip() or ".", now=request.now)


def _counter(outlook: Plan, body: str, now: datetime) -> dict[str, Any]:
    """The variables of components/segment_counter.html."""
    tone = ""
    if outlook.due_at is None:
        tone = "danger"
    elif outlook.due_at > now:
        tone = "warning"
    return {
        "characters": len(segments.normalise(body.strip())),
        "segments": outlook.count.segments if body.strip() else 0,
        "will": outlook.sentence,
        "tone": tone,
        "note": _dear_characters(outlook),
    }


def _dear_characters(outlook: Plan) -> str:
    culprits = [f"“{char}”" for char in outlook.count.culprits[:3]]
    if not culprits:
        return ""
    return f"{say_list(culprits)} shorten{'s' if len(culprits) == 1 else ''} a segment from 160 characters to 70."


def _message_at(request: PageRequest, conversation: Conversation) -> Message | None:
    """The message a link points at, if it is one of this thread."""
    try:
        wanted = UUID(request.GET["at"])
    except (KeyError, ValueError):
        return None
    found: Message | None = conversation.messages.filter(pk=wanted).first()
    return found


def _own_numbers(request: PageRequest) -> str:
    numbers = request.business.numbers.values_list("e164", flat=True)
    return say_list([phones.pretty(number, region=request.business.region) for number in numbers] or [""])
