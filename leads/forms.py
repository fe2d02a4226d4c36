"""What people may say about a lead, checked, with sentences that name the field."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm import phones
from crm.forms import LinesField, OnceForm
from crm.models import Business, User
from leads.enums import ActivityKind, Stage
from leads.models import Lead, PipelineSettings
from leads.services.pipeline import Contact

TOMORROW, IN_THREE_DAYS = "tomorrow", "three_days"
_PRESETS: Final = {TOMORROW: 1, IN_THREE_DAYS: 3}  # days from today, at nine
_MOMENT: Final = {"type": "datetime-local"}
_CLOCKS_DIFFER: Final = timedelta(minutes=5)  # theirs and ours


class MoveForm(forms.Form):
    """Where a lead goes, and where it stood on the page that asked."""

    to = forms.ChoiceField(choices=Stage.choices, error_messages={"invalid_choice": "Choose one of the stages."})
    seen = forms.ChoiceField(choices=Stage.choices, required=False)
    why = forms.CharField(max_length=300, required=False)


class LostForm(MoveForm):
    why = forms.CharField(
        label="Why is it lost?", max_length=300,
        error_messages={"required": "Say in a few words why it is lost: it teaches which leads are worth the work."},
    )  # fmt: skip


class TransferForm(forms.Form):
    seen = forms.ChoiceField(choices=Stage.choices, required=False)


class ActivityForm(OnceForm):
    kind = forms.ChoiceField(choices=ActivityKind.choices, label="What", initial=ActivityKind.CALL)
    text = LinesField(
        label="How it went", max_length=10_000, strip=True, widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Write down what happened, in a few words."},
    )  # fmt: skip
    at = forms.DateTimeField(
        label="When", required=False, widget=forms.DateTimeInput(attrs=_MOMENT, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: just now.", error_messages={"invalid": "Write the time like 2026-05-03T14:30."},
    )  # fmt: skip

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now

    def clean_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["at"]
        if at is not None and at > self.now + _CLOCKS_DIFFER:
            raise ValidationError("This has not happened yet. For something to come, set the next step.")
        return at


class FollowUpForm(forms.Form):
    """The next step. Days are those of the business's calendar, which is the active time zone."""

    title = forms.CharField(
        label="What to do", max_length=200, error_messages={"required": "Say what is to be done: Call them back."}
    )
    due_at = forms.DateTimeField(
        label="When", required=False, widget=forms.DateTimeInput(attrs=_MOMENT, format="%Y-%m-%dT%H:%M"),
        error_messages={"invalid": "Write the time like 2026-05-03T14:30."},
    )  # fmt: skip
    preset = forms.ChoiceField(choices=[(name, name) for name in _PRESETS], required=False)

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if preset := cleaned.get("preset"):
            local = timezone.localtime(self.now)
            day = local.date() + timedelta(days=_PRESETS[preset])
            cleaned["due_at"] = datetime.combine(day, time(9), tzinfo=local.tzinfo)
            self.errors.pop("due_at", None)
        elif "due_at" not in self.errors and cleaned.get("due_at") is None:
            self.add_error("due_at", "Choose when, or one of the buttons below.")
        elif cleaned.get("due_at") and cleaned["due_at"] <= self.now:
            self.add_error("due_at", "This time is over. Choose one that is still to come.")
        return cleaned


class AssignForm(forms.Form):
    to = forms.ChoiceField(label="Whose lead it is", required=False)

    def __init__(self, *args: Any, team: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by_id = {str(user.pk): user for user in team}
        choices = [("", "Nobody's"), *((pk, user.get_full_name()) for pk, user in self.by_id.items())]
        self.fields["to"].choices = choices  # type: ignore[attr-defined]
        self.fields["to"].error_messages["invalid_choice"] = "Choose somebody of the team."

    @property
    def user(self) -> User | None:
        return self.by_id.get(self.cleaned_data["to"])


class _PersonForm(forms.Form):
    """Who the lead is, and what they want."""

    name = forms.CharField(max_length=120, required=False)
    phone = forms.CharField(
        max_length=phones.LONGEST, required=False, widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
        error_messages={"max_length": "This is too long to be a phone number."},
    )  # fmt: skip
    email = forms.EmailField(label="E-mail", max_length=254, required=False)
    asked_for = forms.CharField(label="What they ask for", max_length=200, required=False)
    business_domain = forms.ChoiceField(label="Line of business", required=False)
    notes = LinesField(max_length=10_000, required=False, widget=forms.Textarea(attrs={"rows": 3}))

    def __init__(self, *args: Any, business: Business, ways: PipelineSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.business = business
        lines = [("", "Not known yet"), *ways.domain_choices]
        self.fields["business_domain"].choices = lines  # type: ignore[attr-defined]

    def clean_phone(self) -> phones.Phone | None:
        raw = self.cleaned_data["phone"]
        if not raw:
            return None
        try:
            return phones.parse(raw, region=self.business.region)
        except phones.PhoneError as error:
            raise ValidationError(str(error)) from error

    @property
    def contact(self) -> Contact:
        said = self.cleaned_data
        return Contact(name=said["name"], phone=said["phone"], email=said["email"])


class EditForm(_PersonForm):
    """What is on file about a lead and, where it has one, its customer."""

    def __init__(self, *args: Any, lead: Lead, **kwargs: Any) -> None:
        shown = {"asked_for": lead.asked_for, "business_domain": lead.business_domain, "notes": lead.notes}
        self.on_file: dict[str, str] = {}
        if (customer := lead.customer) is not None:
            phone = phones.pretty(customer.phone, region=lead.business.region) if customer.phone else ""
            self.on_file = {"name": customer.name, "phone": phone, "email": customer.email}
        super().__init__(*args, initial=shown | self.on_file, **kwargs)
        self.lead = lead

    def clean(self) -> dict[str, Any]:
        """What is on file about a person is not taken away here: it is their customer's, and other leads' too."""
        cleaned = super().clean() or {}
        for name, known in self.on_file.items():
            if known and name in cleaned and not cleaned[name]:
                self.add_error(name, self._open_the_customer())
        return cleaned

    def _open_the_customer(self) -> SafeString:
        url = reverse("crm:customer", args=[self.business.slug, self.lead.customer_id])
        return format_html('It is on file. To take it away, open the <a href="{}">customer</a>.', url)

    @property
    def changes(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("asked_for", "business_domain", "notes")}

    @property
    def contact(self) -> Contact:
        """What is new about them: the same number written another way is no change."""
        said, customer = super().contact, self.lead.customer
        if customer is None:
            return said
        phone = said.phone if said.phone and said.phone.e164 != customer.phone else None
        name = said.name if said.name != customer.name else ""
        return Contact(name=name, phone=phone, email=said.email if said.email != customer.email else "")


class NewLeadForm(_PersonForm, OnceForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not any(cleaned[name] for name in ("name", "phone", "email", "asked_for")):
            raise ValidationError("Say at least who it is or what they ask for.")
        return cleaned


class SaveViewForm(forms.Form):
    name = forms.CharField(
        label="Name of the view", max_length=40, error_messages={"required": "Give the view a name: Hot ones."}
    )
    is_shared = forms.BooleanField(label="For everybody here", required=False)


class BulkForm(forms.Form):
    """One act for many leads."""

    MOST = 200

    act = forms.ChoiceField(
        widget=forms.Select(attrs={"aria-label": "With the ticked leads"}),
        error_messages={"required": "Choose what to do with them."},
    )
    why = forms.CharField(max_length=300, required=False)

    def __init__(self, *args: Any, team: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by_id = {str(user.pk): user for user in team}
        self.fields["act"].choices = [  # type: ignore[attr-defined]
            ("", "With the ticked ones…"),
            (
                "Move to",
                [(f"move:{stage}", Stage(stage).label) for stage in (Stage.CONTACTED, Stage.QUALIFIED, Stage.LOST)],
            ),
            (
                "Give to",
                [*((f"give:{pk}", user.get_full_name()) for pk, user in self.by_id.items()), ("give:", "Nobody")],
            ),
            ("Score", [("score:", "Score again")]),
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("act") == f"move:{Stage.LOST}" and not cleaned.get("why"):
            self.add_error("why", "Say in a few words why they are lost.")
        return cleaned
