"""What can be typed in at the simulator."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from crm.models import Business
from crm.phones import PhoneError, parse
from telephony.models import CarrierSwitches

_DELAYS: Final = [(0, "At once"), (5, "5 seconds late"), (15, "15 seconds late"), (60, "A minute late")]
_LOSSES: Final = [(0, "None"), (25, "One in four"), (50, "Every other one"), (100, "All of them")]
_REPEATS: Final = [(0, "Once"), (50, "Sometimes three times"), (100, "Always three times")]


class PhoneForm(forms.Form):
    """Whose number is on the customer's phone."""

    phone = forms.CharField(max_length=64)

    def __init__(self, *args: Any, business: Business, our_number: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.business, self.our_number = business, our_number

    def clean_phone(self) -> str:
        try:
            phone = parse(self.cleaned_data["phone"], region=self.business.region).e164
        except PhoneError as error:
            raise forms.ValidationError(str(error)) from error
        if phone == self.our_number:
            raise forms.ValidationError(f"This is the number of {self.business}. Choose another for its customer.")
        return phone


class TextForm(forms.Form):
    """A text written on one of the phones, typed or by a chip."""

    hand = forms.ChoiceField(choices=[("customer", "Customer"), ("owner", "Owner")])
    body = forms.CharField(max_length=1_600, required=False)
    chip = forms.CharField(max_length=160, required=False)

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or {}
        fields["words"] = fields.get("chip") or fields.get("body") or ""
        if not self.errors and not fields["words"]:
            raise forms.ValidationError("Write something first.")
        return fields


class WeatherForm(forms.ModelForm):
    """The demo carrier's bad weather, in sentences."""

    delay_seconds = forms.TypedChoiceField(label="Texts arrive", choices=_DELAYS, coerce=int)
    lose_percent = forms.TypedChoiceField(label="Our texts that get lost", choices=_LOSSES, coerce=int)
    duplicate_percent = forms.TypedChoiceField(label="Our webhook gets each text", choices=_REPEATS, coerce=int)
    reorder = forms.BooleanField(label="Delivery reports come in the wrong order", required=False)
    fail = forms.BooleanField(
        label="The carrier is down", required=False,
        help_text="Alerts and other texts we start wait in the outbox and go out later by themselves.",
    )  # fmt: skip

    class Meta:
        model = CarrierSwitches
        fields = ["delay_seconds", "lose_percent", "duplicate_percent", "reorder", "fail"]
