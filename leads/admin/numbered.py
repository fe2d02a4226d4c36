"""Leads and deals go by a number that people say: found by it, and told by it when something cannot be done."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from crm.admin.base import StaffAdmin
from crm.models import Business, User
from crm.services import Refused
from leads.models import Lead
from leads.queries.pipeline import people
from leads.services import pipeline
from leads.services.sales import CannotTransfer

NOBODY: Final = "nobody"
_NUMBER: Final = re.compile(r"#?\s*([0-9]{1,19})")


def as_numbered(words: str) -> int | None:
    """Somebody typed “1042” or “#1042”."""
    found = _NUMBER.fullmatch(words)
    number = int(found[1]) if found else None
    return number if number is not None and number <= pipeline.LARGEST_NUMBER else None


def lead_name(lead: Lead) -> str:
    """“Lead 12, Ann Ames”."""
    return f"Lead {lead.number}" + (f", {lead.customer}" if lead.customer_id else "")


class ReasonedForm(forms.Form):
    """Where to, and why. Whoever gives something up says why."""

    stage = forms.ChoiceField(label="To which stage?")
    why = forms.CharField(label="Why?", max_length=300, required=False, help_text="Needed when it is lost.")

    def __init__(self, stages: list[tuple[str, str]], *args: Any) -> None:
        super().__init__(*args)
        self.fields["stage"].choices = stages  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("stage") == "lost" and not cleaned.get("why"):
            self.add_error("why", "Write in a few words why it was lost: the reports learn from it.")
        return cleaned


class SomebodyForm(forms.Form):
    """One of the team of a business; not those who may only look."""

    who = forms.ChoiceField(label="To whom?")

    def __init__(self, business: Business, *args: Any, or_nobody: bool = False) -> None:
        super().__init__(*args)
        self.people = {str(user.pk): user for user in people(business)}
        choices = [(key, f"{user.get_full_name()} ({user.email})") for key, user in self.people.items()]
        nobody = [(NOBODY, "Nobody: it is everybody's")] if or_nobody else []
        self.fields["who"].choices = [("", "Choose somebody"), *choices, *nobody]  # type: ignore[attr-defined]

    @property
    def chosen(self) -> User | None:
        """None: nobody. Read it when the form is valid."""
        return self.people.get(self.cleaned_data["who"])


class Numbered(StaffAdmin):
    refusals: ClassVar[tuple[type[Exception], ...]] = (Refused, CannotTransfer)

    def named(self, row: Any) -> str:
        raise NotImplementedError

    def ask_about(
        self, request: HttpRequest, rows: list[Any], *, question: str, button: str, **more: Any
    ) -> HttpResponse:
        """As `ask`, with every row under its number and with the business it belongs to."""
        what = [f"{self.named(row)}, {row.get_stage_display().lower()}, of {row.business}" for row in rows]
        return self.ask(
            request, rows, question=question, button=button, template="admin/leads/ask.html", what=what, **more
        )

    def one_by_one(self, request: HttpRequest, rows: list[Any], act: Callable[[Any], bool], *, done: str) -> None:
        """Do it to each row on its own: one refusal does not hold up the others, and each is told under its number.

        `act` returns False for a row that was that way already.
        """
        count = 0
        for row in rows:
            try:
                with transaction.atomic():
                    is_new = act(row)
            except self.refusals as refusal:
                self.message_user(request, f"{self.named(row)}: {refusal}", messages.WARNING)
                continue
            if not is_new:
                self.message_user(request, f"{self.named(row)}: that was so already.", messages.INFO)
            count += is_new
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)

    def their_business(self, request: HttpRequest, rows: list[Any]) -> Business | None:
        """The one they all belong to. None: they belong to several, which is told."""
        businesses = {row.business_id: row.business for row in rows}
        if len(businesses) == 1:
            return next(iter(businesses.values()))
        names = " and ".join(sorted(str(business) for business in businesses.values()))
        kind = self.opts.verbose_name_plural
        self.message_user(
            request,
            f"These {kind} belong to {names}. Choose {kind} of one business: each has its own team.",
            messages.WARNING,
        )
        return None

    def of_page(self, rows: QuerySet[Any]) -> list[Any]:
        """What was chosen, in the order of the numbers."""
        return list(rows.order_by("number"))
