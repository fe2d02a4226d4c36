"""The style page: every component in every state, on data made up for it. Routed only while DEBUG is on."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.timezone import make_aware

TUESDAY = make_aware(datetime(2026, 5, 5, 9, 12))  # noqa: DTZ001 - made aware here


class SampleForm(forms.Form):
    name = forms.CharField()
    phone = forms.CharField(help_text="We text this number about the visit.")
    service = forms.ChoiceField(choices=[("ac", "AC Repair"), ("drain", "Drain cleaning")])
    notes = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    answer_by = forms.ChoiceField(
        choices=[("text", "Text"), ("call", "Call")],
        widget=forms.RadioSelect,
        help_text="How the customer likes it best.",
    )
    reminders = forms.BooleanField(required=False, label="Remind them the day before")


def _message(author: str, body: str, status: str = "delivered", *, minute: int = 0, **more: Any) -> dict[str, Any]:
    at = TUESDAY + timedelta(minutes=minute)
    names = {"customer": "Jane", "assistant": "Assistant", "staff": "Bob", "system": ""}
    return {
        "id": f"{status}-{minute}-{len(body)}",
        "author": author,
        "body": body,
        "status": status,
        "created_at": at,
        "sent_at": at,
        "delivered_at": at + timedelta(seconds=4),
        "segments": 1,
        "sender": names[author],
        **more,
    }


def _context() -> dict[str, Any]:
    conversation = [
        _message("customer", "Hi, our AC stopped this morning. It is 90 degrees in here.", "received"),
        _message("customer", "Can someone come today?", "received", minute=1, grouped=True),
        _message(
            "assistant",
            "Hi Jane, this is Acme Plumbing. We can come Tue 3:00-4:00 PM. Reply 1 to book it, 2 for other times, "
            "3 if you don't need us.",
            minute=1,
            segments=2,
        ),
        _message("customer", "1", "received", minute=3),
        _message("system", "Booked: AC Repair, Tue 3:00 PM, Bob.", "received", minute=3),
        _message("staff", "I'll bring the part with me. See you at three!", "sent", minute=9),
    ]
    trouble = [
        _message("assistant", "Your visit is tomorrow at 3:00 PM.", "sending", minute=10),
        _message(
            "assistant",
            "Did everything work out?",
            "queued",
            minute=11,
            grouped=True,
            delay_reason="Sends 8:00 AM their time: it is night where Jane is.",
        ),
        _message(
            "staff", "On my way.", "failed", minute=12, error="It did not arrive: this number cannot receive texts."
        ),
        _message(
            "staff", "Are you there?", "refused", minute=13, grouped=True, error="Not sent: Jane opted out by text."
        ),
        _message("assistant", "Thanks, Jane!", "unknown", minute=14),
    ]
    return {
        "component_count": len(list((settings.BASE_DIR / "templates" / "components").glob("*.html"))),
        "business": {"name": "Acme Plumbing", "slug": "acme"},
        "businesses": [
            {"name": "Acme Plumbing", "slug": "acme", "url": "#acme"},
            {"name": "Glow Med Spa", "slug": "glow", "url": "#glow"},
        ],
        "nav": [
            {"key": "today", "label": "Today", "icon": "home", "url": "#today", "count": None},
            {"key": "inbox", "label": "Inbox", "icon": "inbox", "url": "#inbox", "count": 3},
            {"key": "calendar", "label": "Calendar", "icon": "calendar", "url": "#calendar", "count": None},
            {"key": "leads", "label": "Leads", "icon": "star", "url": "#leads", "count": 12},
            {"key": "customers", "label": "Customers", "icon": "users", "url": "#customers", "count": None},
            {"key": "reports", "label": "Reports", "icon": "bar-chart", "url": "#reports", "count": None},
            {"key": "simulator", "label": "Simulator", "icon": "smartphone", "url": "#simulator", "count": None},
            {"key": "settings", "label": "Settings", "icon": "settings", "url": "#settings", "count": None},
        ],
        "current_nav": "inbox",
        "search_url": "#search",
        "undo": {"sentence": "AC Repair for Jane is cancelled.", "url": "#undo"},
        "icons": re.findall(r'<symbol id="([^"]+)"', (settings.BASE_DIR / "static/icons/sprite.svg").read_text()),
        "waiting_since": timezone.now() - timedelta(minutes=42),
        "states": [
            {"status": status, "label": label}
            for status, label in [
                ("HELD", "Held"),
                ("SCHEDULED", "Scheduled"),
                ("CONFIRMED", "Confirmed"),
                ("PENDING_RESCHEDULE", "Wants another time"),
                ("COMPLETED", "Done"),
                ("CANCELLED", "Cancelled"),
                ("NO_SHOW", "No show"),
                ("new", "New"),
                ("contacted", "Contacted"),
                ("qualified", "Qualified"),
                ("transferred", "Transferred"),
                ("lost", "Lost"),
                ("kyc", "Identity check"),
                ("paid", "Paid"),
                ("queued", "Waiting"),
                ("sent", "Sent"),
                ("delivered", "Delivered"),
                ("failed", "Failed"),
                ("refused", "Not sent"),
                ("unknown", "Not known"),
            ]
        ],
        "tabs": [
            {"label": "Waiting", "url": "#waiting", "count": 3, "current": True},
            {"label": "Assistant", "url": "#assistant", "count": 9},
            {"label": "All", "url": "#all", "count": 214},
        ],
        "filters": [
            {
                "name": "channel",
                "label": "Channel",
                "options": [
                    {"value": "", "label": "Every channel"},
                    {"value": "sms", "label": "Text", "selected": True},
                ],
            }
        ],
        "page": Paginator(range(214), 20).page(3),
        "table": {
            "columns": [
                {"label": "Customer"},
                {"label": "Service"},
                {"label": "Status"},
                {"label": "Price", "numeric": True},
            ],
            "rows": [
                {
                    "url": "#tables",
                    "cells": [
                        {"value": name},
                        {"label": "Service", "value": service},
                        {"label": "Status", "value": words, "status": status},
                        {"label": "Price", "value": price, "numeric": True},
                    ],
                }
                for name, service, status, words, price in [
                    ("Ana Pérez", "AC Repair", "CONFIRMED", "Confirmed", "$180.00"),
                    ("Marcus Reed", "Water heater", "HELD", "Held", "$1,240.00"),
                    ("Lee Wong", "Drain cleaning", "NO_SHOW", "No show", "$95.00"),
                ]
            ],
        },
        "bars": [
            {"label": "Text", "value": 40},
            {"label": "Call", "value": 23},
            {"label": "Web chat", "value": 9},
            {"label": "Bought leads", "value": 0},
        ],
        "thread": conversation,
        "trouble": trouble,
        "phone": [
            {
                **message,
                "id": f"phone-{message['id']}",
                "author": {"customer": "staff"}.get(message["author"], "customer"),
                "sender": "",
                "grouped": True,
            }
            for message in conversation[:3]
        ],
        "call": {
            "at": TUESDAY,
            "transcript": [
                {"author": "Assistant", "text": "Acme Plumbing, this is the assistant. What can we do for you?"},
                {"author": "Jane", "text": "My AC stopped this morning."},
            ],
        },
        "job": {"starts_at": TUESDAY.replace(hour=15, minute=0), "ends_at": TUESDAY.replace(hour=16, minute=0)},
        "timeline": [
            {
                "kind": kind,
                "text": text,
                "at": TUESDAY - timedelta(hours=hours),
                "actor": actor,
                "url": url,
                "detail": detail,
            }
            for hours, kind, text, actor, url, detail in [
                (0, "booked", "Booked for Tue 3 PM from a text", "Assistant", "#timeline", "AC Repair with Bob"),
                (1, "offered", "Offered Tue 3:00 PM and Wed 9:00 AM", "Assistant", "", ""),
                (2, "handed_over", "Bob took over", "Bob", "", ""),
                (3, "wrote", "Wrote: our AC stopped this morning", "", "#timeline", ""),
                (20, "missed", "Missed call, 20 seconds", "", "", ""),
                (21, "emergency", "Said there is water on the floor", "", "#timeline", "You were alerted at once."),
                (44, "opted_out", "Opted out by text", "", "", "In her words: STOP"),
            ]
        ],
        "form": SampleForm(
            {"name": "Jane Doe", "phone": "555", "service": "ac", "answer_by": "text"},
            error_class=forms.utils.ErrorList,
        ),
        "days": [
            {
                "label": "Tue, May 5",
                "slots": [
                    {"value": "1", "label": "9:00 AM", "taken": True},
                    {"value": "2", "label": "11:30 AM", "selected": True},
                    {"value": "3", "label": "3:00 PM"},
                ],
            },
            {"label": "Wed, May 6", "slots": [{"value": "4", "label": "8:00 AM"}, {"value": "5", "label": "10:15 AM"}]},
        ],
    }


def styleguide(request: HttpRequest) -> HttpResponse:
    context = _context()
    context["form"].add_error("phone", "That is not a phone number we can text. Add the area code.")
    context["form"].add_error(None, "That time was just taken. Wed 9:00 and Wed 11:30 are free.")
    return render(request, "styleguide.html", context)
