"""What people may ask of the calendar, checked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from booking.calendar import read_slot, say_price
from booking.models import Service, StaffMember
from booking.wording import say_length
from crm.forms import LinesField, OnceForm
from crm.models import Business


class ServiceChoice(forms.ModelChoiceField):
    """A service with what one wants to know on the phone: how long, how much."""

    def label_from_instance(self, obj: Any) -> str:
        length = say_length(timedelta(minutes=obj.duration_minutes))
        return " · ".join(part for part in (obj.name, length, say_price(obj)) if part)


class WhatForm(forms.Form):
    """What is to be done, and from which day on. Sent by GET, so that every answer has an address."""

    service = ServiceChoice(queryset=Service.objects.none(), empty_label=None)
    day = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    emergency = forms.BooleanField(required=False, label="It is an emergency")

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["service"].queryset = Service.objects.for_business(business).filter(is_active=True)  # type: ignore[attr-defined]


class SlotForm(OnceForm):
    """One of the free times, chosen. `cleaned_data["slot"]` is (start, staff member)."""

    slot = forms.CharField(
        max_length=40,
        error_messages={"required": "Choose a time first.", "max_length": "Choose one of the times offered."},
    )
    tell = forms.BooleanField(required=False)

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.business = business

    def clean_slot(self) -> tuple[datetime, StaffMember]:
        try:
            start, staff_id = read_slot(self.cleaned_data["slot"])
        except ValueError as error:
            raise ValidationError("Choose one of the times offered.") from error
        staff = StaffMember.objects.for_business(self.business).filter(pk=staff_id, is_active=True).first()
        if staff is None:
            raise ValidationError("Nobody here can take that time any more. Choose another one.")
        return start, staff


class BookForm(SlotForm):
    customer = forms.UUIDField(widget=forms.HiddenInput)
    service = ServiceChoice(queryset=Service.objects.none(), widget=forms.HiddenInput)
    emergency = forms.BooleanField(required=False, widget=forms.HiddenInput)
    address = forms.CharField(max_length=200, required=False)
    notes = LinesField(max_length=10_000, required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, business=business, **kwargs)
        self.fields["service"].queryset = Service.objects.for_business(business).filter(is_active=True)  # type: ignore[attr-defined]


class CancelForm(forms.Form):
    tell = forms.BooleanField(required=False)
