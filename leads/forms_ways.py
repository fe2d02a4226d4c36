"""How a business works its leads, as a person sets it, checked, with sentences that name the field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from booking.models import Service
from crm import phones
from crm.models import Business, User
from leads.enums import LeadSource
from leads.forms_sales import PersonChoice
from leads.models import PipelineSettings
from leads.queries.pipeline import people


class TimesForm(forms.ModelForm):
    """What the lines of business are called, and the two limits."""

    class Meta:
        model = PipelineSettings
        fields = ("first_line", "second_line", "third_line", "answer_minutes", "accept_minutes")
        labels = {
            "first_line": "First line of business",
            "second_line": "Second line",
            "third_line": "Third line",
            "answer_minutes": "A new lead is answered within (minutes)",
            "accept_minutes": "A salesperson accepts within (minutes)",
        }
        help_texts = {
            "first_line": "Your name for it, like Repairs.",
            "second_line": "",
            "third_line": "",
            "answer_minutes": "Longer, and the lead stands on Today and the owner gets a text.",
            "accept_minutes": "Longer, and the next of the team is asked.",
        }


class SalespersonForm(forms.Form):
    user = forms.ModelChoiceField(queryset=User.objects.none(), widget=forms.HiddenInput)
    capacity = forms.IntegerField(label="Open deals at a time", min_value=1, max_value=500)
    phone = forms.CharField(
        label="Phone for offers", max_length=phones.LONGEST, required=False,
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
        error_messages={"max_length": "This is too long to be a phone number."},
        help_text="Offers are texted here. Empty: no texts.",
    )  # fmt: skip
    takes_offers = forms.BooleanField(label="Takes offers", required=False)

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.business = business
        members = User.objects.filter(memberships__business=business)
        self.fields["user"].queryset = members  # type: ignore[attr-defined]

    def clean_phone(self) -> str:
        raw = self.cleaned_data["phone"]
        if not raw:
            return ""
        try:
            return phones.parse(raw, region=self.business.region).e164
        except phones.PhoneError as error:
            raise ValidationError(str(error)) from error


class NewSalespersonForm(SalespersonForm):
    """Somebody of the team who is no salesperson yet."""

    user = PersonChoice(
        label="Who", queryset=User.objects.none(), empty_label="Choose somebody",
        error_messages={"required": "Choose somebody of the team.", "invalid_choice": "Choose somebody of the team."},
    )  # fmt: skip

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, business=business, **kwargs)
        self.fields["user"].queryset = people(business)  # type: ignore[attr-defined]
        self.initial.setdefault("capacity", 10)
        self.initial.setdefault("takes_offers", True)


class RuleForm(forms.Form):
    """An empty condition fits everything."""

    source = forms.ChoiceField(label="If it came by", choices=[("", "Any way"), *LeadSource.choices], required=False)
    service: Any = forms.ModelChoiceField(
        label="and is about", queryset=Service.objects.none(), required=False, empty_label="Any service",
        error_messages={"invalid_choice": "Choose one of your services."},
    )  # fmt: skip
    domain = forms.ChoiceField(label="and is in line", required=False)
    assignee = PersonChoice(
        label="it goes to", queryset=User.objects.none(), required=False, empty_label="Salespeople in turn",
        error_messages={"invalid_choice": "Choose somebody of the team."},
    )  # fmt: skip
    set_domain = forms.ChoiceField(
        label="and is put into line", required=False, help_text="Only when it came without one."
    )

    def __init__(self, *args: Any, business: Business, settings: PipelineSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["service"].queryset = Service.objects.for_business(business).filter(is_active=True)  # type: ignore[attr-defined]
        self.fields["assignee"].queryset = people(business)  # type: ignore[attr-defined]
        self.fields["domain"].choices = [("", "Any line"), *settings.domain_choices]  # type: ignore[attr-defined]
        self.fields["set_domain"].choices = [("", "As it came"), *settings.domain_choices]  # type: ignore[attr-defined]
