"""What people may type about deals, reports and duplicates, checked, with sentences that name the field."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from crm.models import Business, User
from leads.enums import DealStage, LeadSource
from leads.queries.pipeline import people

LONGEST_PERIOD: Final = timedelta(days=1_098)  # three years
_BACK: Final = [("", "deal"), ("board", "board"), ("mine", "mine"), ("today", "today")]


class MoneyField(forms.DecimalField):
    """US dollars, also as people write them: “$1,200”."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("$", "").replace(",", "") if isinstance(value, str) else value)


class PersonChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return str(obj.get_full_name())


class BackForm(forms.Form):
    """`back` says on which page the button stood, to return there."""

    back = forms.ChoiceField(choices=_BACK, required=False, widget=forms.HiddenInput)


class MoveForm(BackForm):
    to = forms.ChoiceField(choices=DealStage.choices, widget=forms.HiddenInput)
    why = forms.CharField(label="Why was it lost?", max_length=300, required=False)

    def clean_why(self) -> str:
        why: str = self.cleaned_data["why"]
        if self.cleaned_data.get("to") == DealStage.LOST and not why:
            raise ValidationError("Write in a few words why it was lost: the reports learn from it.")
        return why


class PassForm(BackForm):
    why = forms.CharField(
        label="Why do you pass?", max_length=300, required=False, help_text="Whoever gets it next reads this."
    )


class GiveForm(BackForm):
    to = PersonChoice(
        label="Give it to", queryset=User.objects.none(), empty_label="Choose somebody",
        error_messages={"required": "Choose somebody of the team.", "invalid_choice": "Choose somebody of the team."},
    )  # fmt: skip

    def __init__(self, *args: Any, business: Business, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = people(business)  # type: ignore[attr-defined]


class DealForm(forms.Form):
    value = MoneyField(
        label="Value in US dollars", max_digits=12, decimal_places=2, min_value=0, required=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        error_messages={"invalid": "Write the value as a number, like 1,200.", "min_value": "A value is not negative."},
    )  # fmt: skip
    expected_on = forms.DateField(
        label="Expected on", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Write the day as a date."},
    )  # fmt: skip


class PeriodForm(forms.Form):
    """Which days a report is about, in the business's own calendar, both included; and which leads."""

    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    source = forms.ChoiceField(choices=[("", "All sources"), *LeadSource.choices], required=False)

    def clean_first(self) -> date:
        return _this_century(self.cleaned_data["first"])

    def clean_last(self) -> date:
        return _this_century(self.cleaned_data["last"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("first"), cleaned.get("last")
        if isinstance(first, date) and isinstance(last, date):
            if last < first:
                raise ValidationError("These days end before they begin. Swap them.")
            if last - first > LONGEST_PERIOD:
                raise ValidationError("Choose three years at most.")
        return cleaned


class MergeLeadsForm(forms.Form):
    """Which two leads, by number, and which of them stays."""

    one = forms.IntegerField(min_value=1)
    other = forms.IntegerField(min_value=1)
    keep = forms.ChoiceField(choices=[("one", "one"), ("other", "other")], required=False)

    def clean_keep(self) -> str:
        return self.cleaned_data["keep"] or "one"


def _this_century(day: date) -> date:
    if not 2000 <= day.year <= 2100:
        raise ValidationError("Choose a day of this century.")
    return day
