"""What a buyer may type on the shop's pages, checked, with sentences that name the field."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from crm.forms import LinesField
from marketplace.allocation import MOST, Criterion
from marketplace.enums import AgeBucket, Classification, ExportProfile, ReturnReason

_LONGEST_PLACE: Final = 100  # characters, as on the shelf
_HOW_MANY: Final = f"Write how many leads you want: 1 to {MOST:,}."


class LineForm(forms.Form):
    """So many leads of one kind. The kind stands in hidden fields: people choose it by tapping, not by typing."""

    classification = forms.ChoiceField(choices=Classification.choices)
    age_bucket = forms.ChoiceField(choices=AgeBucket.choices)
    state = forms.CharField(max_length=_LONGEST_PLACE, required=False, strip=False)
    county = forms.CharField(max_length=_LONGEST_PLACE, required=False, strip=False)
    quantity = forms.IntegerField(
        min_value=1,
        max_value=MOST,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), _HOW_MANY),
    )

    def criterion(self) -> Criterion:
        return Criterion(**{name: self.cleaned_data[name] for name in LineForm.base_fields})

    @property
    def sentence(self) -> str:
        """What is wrong, for somebody who typed a number and nothing else."""
        return _HOW_MANY if set(self.errors) == {"quantity"} else "Choose the leads again: this page was out of date."


class AddForm(LineForm):
    """`once` tells a second click from a second wish."""

    once = forms.UUIDField()


class ChangeForm(LineForm):
    """Another quantity or another kind in a line of a quote, or (`remove`) no such line."""

    quote = forms.UUIDField()
    line = forms.IntegerField(min_value=0)
    remove = forms.BooleanField(required=False)


class QuoteForm(forms.Form):
    quote = forms.UUIDField()


class DownloadForm(forms.Form):
    profile = forms.ChoiceField(choices=ExportProfile.choices)


class ReturnForm(forms.Form):
    reason = forms.ChoiceField(
        label="What is wrong with it?",
        choices=ReturnReason.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what is wrong with it."},
    )
    note = LinesField(
        label="Anything that helps us decide",
        required=False,
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="When you called, what you heard.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("reason") == ReturnReason.OTHER and not cleaned.get("note"):
            self.add_error("note", "Say what it is.")
        return cleaned
