"""What people type to open an account as a buyer, and on its pages; checked, with sentences that name the field."""

from __future__ import annotations

import io
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string

from crm import phones
from crm.models import Business, User
from marketplace.models import Buyer
from marketplace.services import buyers, known

# The zones of most buyers, as people there call them.
US_ZONES: Final = (
    ("America/New_York", "Eastern (New York)"),
    ("America/Chicago", "Central (Chicago)"),
    ("America/Denver", "Mountain (Denver)"),
    ("America/Phoenix", "Arizona (Phoenix)"),
    ("America/Los_Angeles", "Pacific (Los Angeles)"),
    ("America/Anchorage", "Alaska (Anchorage)"),
    ("Pacific/Honolulu", "Hawaii (Honolulu)"),
    ("America/Puerto_Rico", "Atlantic (Puerto Rico)"),
)
# And of those who buy from elsewhere: one for each clock, so that the list can be read. Staff can set any other.
OTHER_ZONES: Final = (
    "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "America/Argentina/Buenos_Aires",
    "America/Bogota", "America/Cancun", "America/Edmonton", "America/Halifax", "America/Jamaica", "America/Lima",
    "America/Mexico_City", "America/Sao_Paulo", "America/St_Johns", "America/Tijuana", "America/Toronto",
    "America/Vancouver", "America/Winnipeg", "Asia/Dhaka", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jerusalem",
    "Asia/Karachi", "Asia/Kolkata", "Asia/Manila", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Athens",
    "Europe/Berlin", "Europe/Istanbul", "Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Paris",
    "Europe/Rome", "Europe/Warsaw", "Pacific/Auckland", "Pacific/Guam",
)  # fmt: skip
ZONES: Final = (
    ("United States", US_ZONES),
    ("Elsewhere", tuple((name, name.replace("_", " ")) for name in OTHER_ZONES)),
)
LARGEST_FILE: Final = 100_000_000  # bytes; a million hashes are 65 MB
LARGEST_PASTE: Final = 500_000  # characters


class ContactForm(forms.Form):
    """Whom we write to and call about the account. `cleaned_data["phone"]` is E.164."""

    contact_name = forms.CharField(
        label="Your name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": "Tell us your name."},
    )  # fmt: skip
    email = forms.EmailField(
        label="E-mail", max_length=254,
        error_messages={
            "required": "We need an address to write to.",
            "invalid": "This is not an e-mail address. Write it like jane@example.com.",
        },
    )  # fmt: skip
    phone = forms.CharField(
        max_length=phones.LONGEST, widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
        error_messages={
            "required": "Give us a number: we may call about your account.",
            "max_length": "This is too long to be a phone number.",
        },
    )  # fmt: skip
    region = "US"

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()

    def clean_phone(self) -> str:
        try:
            return phones.parse(self.cleaned_data["phone"], region=self.region).e164
        except phones.PhoneError as error:
            raise ValidationError(str(error)) from error


class SignUpForm(ContactForm):
    company = forms.CharField(
        max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"}),
        error_messages={"required": "Tell us the company that buys."},
    )  # fmt: skip
    time_zone = forms.ChoiceField(choices=ZONES, label="Time zone", initial=US_ZONES[0][0])
    password = forms.CharField(
        max_length=128, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Choose a password."},
    )  # fmt: skip
    field_order = ("company", "contact_name", "email", "phone", "time_zone", "password")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].widget.attrs["autocomplete"] = "username"  # what they will sign in with
        self.fields["email"].help_text = "You will sign in with it."
        self.fields["phone"].help_text = "We may call before we open your account."
        self.fields["password"].help_text = render_to_string("marketplace/front/password_rules.html")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "password" in cleaned:
            known_so_far = {name: cleaned.get(name, "") for name in ("company", "contact_name", "email")}
            try:
                buyers.check_password(cleaned["password"], **known_so_far)
            except ValidationError as error:
                self.add_error("password", error)
        return cleaned


class ResendForm(forms.Form):
    email = forms.EmailField(
        label="E-mail", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"}),
        error_messages={
            "required": "Tell us the address you signed up with.",
            "invalid": "This is not an e-mail address. Write it like jane@example.com.",
        },
    )  # fmt: skip


class AskForm(ContactForm):
    """A business that is here already asks to buy."""

    def __init__(self, *args: Any, business: Business, user: User, **kwargs: Any) -> None:
        phone = business.owner_phone or business.public_phone
        shown = phones.pretty(phone, region=business.region) if phone else ""
        kwargs["initial"] = {"contact_name": user.name, "email": user.email, "phone": shown}
        super().__init__(*args, **kwargs)
        self.region = business.region
        self.fields["email"].help_text = "We send a link to it, to see that it is yours."


class SettingsForm(ContactForm):
    into_leads = forms.BooleanField(
        label="Add purchases to Leads", required=False,
        help_text="Every lead you buy appears in Leads with its price. It brings no permission to text.",
    )  # fmt: skip

    def __init__(self, *args: Any, buyer: Buyer, **kwargs: Any) -> None:
        region = buyer.business.region
        kwargs["initial"] = {
            "contact_name": buyer.contact_name,
            "email": buyer.email,
            "phone": phones.pretty(buyer.phone, region=region) if buyer.phone else "",
            "into_leads": buyer.into_leads,
        }
        super().__init__(*args, **kwargs)
        self.region = region
        self.fields[
            "email"
        ].help_text = (
            "What we decide about your account goes here. A new address has to be confirmed before you can buy again."
        )


class KnownForm(forms.Form):
    """A list of people a buyer has, as a file or pasted."""

    file = forms.FileField(
        label="A file, CSV or text", required=False, allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv,text/plain"}),
    )  # fmt: skip
    pasted = forms.CharField(
        label="or paste them here", required=False, max_length=LARGEST_PASTE, widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"max_length": "This is too much to paste. Send it as a file."},
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        file = cleaned.get("file")
        if file is not None and file.size > LARGEST_FILE:
            self.add_error("file", f"This file is too large: at most {LARGEST_FILE // 1_000_000} MB fit. Split it.")
        elif not self.errors and file is None and not cleaned["pasted"]:
            raise ValidationError("Choose a file or paste some numbers.")
        return cleaned

    def list_and_name(self) -> tuple[known.Readable, str]:
        """The list to read, and what to call it."""
        file = self.cleaned_data["file"]
        if file is not None:
            return file, file.name
        return io.BytesIO(self.cleaned_data["pasted"].encode()), "Pasted"


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="Address", max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/recalls", "autocomplete": "off"}),
        error_messages={"required": "Write the address that receives our messages."},
    )  # fmt: skip
