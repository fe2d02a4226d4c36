"""What people may type on the ground floor's pages, checked, with sentences that name the field."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from crm import phones
from crm.messaging import MAX_LENGTH
from crm.models import Business, Customer

MAX_TAGS = 20


def lines(text: str) -> str:
    """Forms send line breaks as two characters; a text and its segments have one."""
    return text.replace("\r\n", "\n")


class LinesField(forms.CharField):
    """Text of several lines, with one character per line break."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return lines(super().to_python(value) or "")


class OnceForm(forms.Form):
    """A form whose sending counts once, however often the button is hit: it carries a token of its own."""

    once = forms.UUIDField(widget=forms.HiddenInput, error_messages={"required": "Reload the page and try again."})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_bound:
            self.initial["once"] = uuid.uuid4()

    def new_token(self) -> None:
        """Shown again after a refusal: the next sending is another one."""
        sent: Any = self.data
        self.data = fresh = sent.copy()
        fresh["once"] = str(uuid.uuid4())


class ReplyForm(OnceForm):
    """The reply box. How long a text may be is the sending door's to say, so only the absurd is refused here."""

    body = LinesField(
        max_length=10 * MAX_LENGTH,
        strip=True,
        error_messages={
            "required": "Write something first.",
            "max_length": f"This is far too long: at most {MAX_LENGTH:,} characters fit.",
        },
    )


class CustomerForm(OnceForm):
    """A customer as a person enters or corrects them. `cleaned_data["phone"]` is a phones.Phone or None."""

    name = forms.CharField(max_length=120, required=False)
    phone = forms.CharField(
        max_length=phones.LONGEST, required=False, widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
        error_messages={"max_length": "This is too long to be a phone number."},
    )  # fmt: skip
    email = forms.EmailField(label="E-mail", max_length=254, required=False)
    address = forms.CharField(max_length=200, required=False)
    notes = LinesField(max_length=10_000, required=False, widget=forms.Textarea(attrs={"rows": 3}))
    tags = forms.CharField(max_length=1_000, required=False, help_text="Separate them with commas: VIP, gate code.")

    def __init__(self, *args: Any, business: Business, customer: Customer | None = None, **kwargs: Any) -> None:
        self.business = business
        if customer is not None:
            shown = {name: getattr(customer, name) for name in ("name", "email", "address", "notes")}
            shown["phone"] = phones.pretty(customer.phone, region=business.region) if customer.phone else ""
            shown["tags"] = ", ".join(customer.tags)
            kwargs["initial"] = shown
        super().__init__(*args, **kwargs)

    def clean_phone(self) -> phones.Phone | None:
        raw = self.cleaned_data["phone"]
        if not raw:
            return None
        try:
            return phones.parse(raw, region=self.business.region)
        except phones.PhoneError as error:
            raise ValidationError(str(error)) from error

    def clean_tags(self) -> list[str]:
        tags = list(
            dict.fromkeys(tag for part in self.cleaned_data["tags"].split(",") if (tag := " ".join(part.split())))
        )
        if len(tags) > MAX_TAGS:
            raise ValidationError(f"At most {MAX_TAGS} tags fit.")
        if any(len(tag) > 40 for tag in tags):
            raise ValidationError("A tag has at most 40 characters.")
        return tags

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not cleaned["name"] and not cleaned["phone"]:
            raise ValidationError("Give at least a name or a phone number.")
        return cleaned

    def fields_of_customer(self) -> dict[str, Any]:
        """The cleaned values as fields of the model."""
        phone: phones.Phone | None = self.cleaned_data["phone"]
        fields = {name: self.cleaned_data[name] for name in ("name", "email", "address", "notes", "tags")}
        return fields | {"phone": phone.e164 if phone else None, "phone_raw": phone.raw if phone else ""}


class OptOutForm(forms.Form):
    words = forms.CharField(
        label="What they said", max_length=500, widget=forms.TextInput(attrs={"placeholder": "Please no more texts"}),
        error_messages={"required": "Write what they said: it is the proof."},
    )  # fmt: skip


class MergeForm(forms.Form):
    """Which other customer is the same person, and which of the two stays."""

    other = forms.UUIDField()
    keep = forms.ChoiceField(choices=[("this", "this"), ("other", "other")], initial="this")


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=[("auto", "auto"), ("light", "light"), ("dark", "dark")])
    next = forms.CharField(required=False, max_length=2_000)
