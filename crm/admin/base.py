"""What every table of the staff console shares: quick lists, a trace of each change, no row that mixes businesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import PROTECT, ForeignKey, Model, QuerySet, UUIDField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from crm.admin import changes as changed
from crm.admin.changes import Changes
from crm.admin.lists import AboutPaginator, as_key
from crm.models import Business, User
from crm.scoping import TenantForeignKey
from crm.services import Refused, audit


class SameBusinessForm(forms.ModelForm):
    """Refuses, with a sentence, what the composite foreign keys would refuse with an error page.

    `refusal` is what a service said no to when this form was saved a moment ago; it is shown with what was typed.
    """

    refusal: ClassVar[str] = ""

    def business(self) -> Business | None:
        """The one that was chosen, or the one the row belongs to already."""
        chosen = self.cleaned_data.get("business")
        if isinstance(chosen, Business):
            return chosen
        return self.instance.business if getattr(self.instance, "business_id", None) else None

    def clean(self) -> dict[str, Any]:
        super().clean()
        business = self.business()
        for field in self.instance._meta.fields:
            other = self.cleaned_data.get(field.name)
            if (
                business is not None
                and isinstance(field, TenantForeignKey)
                and other is not None
                and other.business_id != business.pk
            ):
                self.add_error(field.name, f"“{other}” belongs to another business. Choose one of {business}.")
        if self.refusal and not self.errors:
            raise ValidationError(self.refusal)
        return self.cleaned_data

    def _get_validation_exclusions(self) -> set[str]:
        # Uniqueness within the business is checked here too when the business itself can no longer be changed.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"business"} if getattr(self.instance, "business_id", None) else excluded


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=300, help_text="It stays in the audit, for whoever asks later.")


class _Choose(AutocompleteSelect):
    """Suggests only rows of one business, once it is known which."""

    business_id: Any = None

    def get_url(self) -> str:
        return super().get_url() + (f"?of={self.business_id}" if self.business_id else "")

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [key for key in value if self._is_key(key)], attr)

    def _is_key(self, value: Any) -> bool:
        try:
            self.field.target_field.to_python(value)
        except ValidationError:  # typed into the address by hand; the form says what is wrong with it
            return False
        return True


class StaffAdmin(admin.ModelAdmin):
    """A table that staff may change. Every change leaves an AuditEvent; nothing is deleted unless it is `deletable`."""

    form: type[forms.ModelForm[Any]] = SameBusinessForm
    paginator = AboutPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table
    list_per_page = 50
    list_max_show_all = 50
    ordering: ClassVar[Any] = ("-pk",)  # keys sort by age, so this is newest first and served by the primary key
    sortable_by = ()  # a click on a heading would sort a million rows
    view_on_site = False

    deletable: ClassVar[bool] = False
    instead_of_deleting: ClassVar[str] = ""  # what to do with a row that others need
    list_only: ClassVar[frozenset[str]] = frozenset()  # actions that need more than one row
    refusals: ClassVar[tuple[type[Exception], ...]] = (Refused,)  # what its services raise when they say no
    service_leaves_trace: ClassVar[frozenset[str]] = frozenset()  # of "added" and "changed"

    # --- Finding ---

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.replace("\x00", "").strip()
        if not words:
            return queryset, False
        key = as_key(words)
        if key is not None and isinstance(self.opts.pk, UUIDField):
            return queryset.filter(pk=key), False
        return self.find(queryset, words), False

    def find(self, rows: QuerySet[Any], words: str) -> QuerySet[Any]:
        """The rows that words in the search box mean, by an index."""
        return rows.none()

    # --- Who may ---

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletable and super().has_delete_permission(request, obj)

    def may(self, request: HttpRequest, what: str) -> bool:
        """Whether this person holds the permission to add, change, delete or view such rows at all."""
        return signed_in(request).has_perm(f"{self.opts.app_label}.{what}_{self.opts.model_name}")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A row stays with its business."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        has_business = any(field.name == "business" for field in self.opts.fields)
        return (*fixed, "business") if obj is not None and has_business and "business" not in fixed else fixed

    # --- Forms ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        request.staff_business_id = getattr(obj, "business_id", None)  # type: ignore[attr-defined]
        form = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "staff_refusal", "")
        return type(form.__name__, (form,), {"refusal": refusal}) if refusal else form

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = _Choose(db_field, self.admin_site)
            business_id = getattr(request, "staff_business_id", None)
            if isinstance(db_field, TenantForeignKey) and business_id:
                kwargs["widget"].business_id = business_id
                kwargs["queryset"] = db_field.remote_field.model._default_manager.filter(business_id=business_id)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, cast(HttpRequest, request), **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # One form is one thing; only a look at the other row is offered beside it.
            field.widget.can_add_related = field.widget.can_change_related = field.widget.can_delete_related = False
        return field

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except self.refusals as reason:  # nothing was saved; show why beside what was typed
            request.staff_refusal = str(reason)  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None and not context.get("is_popup"):
            context["staff_actions"] = [
                (name, str(label))
                for name, (_, _, label) in self.get_actions(request).items()
                if name not in self.list_only
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Lists ---

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(
            request, {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        )

    # --- Actions ---

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # rows go one by one, after a look at what hangs on them
        return actions

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        if request.POST.get("select_across") == "1":
            self.message_user(request, "Choose the rows on this page. Nothing has been changed.", messages.WARNING)
            return None
        response = super().response_action(request, queryset, *args, **kwargs)
        back = request.POST.get("back", "")
        done = isinstance(response, HttpResponseRedirect) and response.url == request.get_full_path()
        if done and back and url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
            return HttpResponseRedirect(back)
        return response

    def ask(
        self,
        request: HttpRequest,
        rows: Iterable[Model],
        *,
        question: str,
        button: str,
        explanation: str = "",
        form: forms.Form | None = None,
        template: str = "admin/ask.html",
        **context: Any,
    ) -> TemplateResponse:
        """A page between choosing an action and doing it. Confirmed, it comes back with `confirmed` in the form."""
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": question,
                "explanation": explanation,
                "rows": list(rows),
                "form": form,
                "button": button,
                "action": request.POST["action"],
                "back": request.POST.get("back", ""),
                "opts": self.opts,
                "checkbox": ACTION_CHECKBOX_NAME,
                "media": self.media,
                **context,
            },
        )

    def confirmed(self, request: HttpRequest) -> bool:
        return "confirmed" in request.POST

    def for_each(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        act: Callable[[Any], bool],
        *,
        done: str,
        action: str = "",
        column: str = "status",
    ) -> None:
        """Do it to every chosen row on its own: one refusal does not hold up the others, and each is told by name.

        `act` returns False for a row that was that way already. `done` says what happened to the others, in a word or
        two after their number. The change of `column` is kept in the audit as `action`, unless the service does that.
        """
        count = 0
        for row in rows:
            before = str(getattr(row, column) or "")
            try:
                with transaction.atomic():
                    if not act(row):
                        self.message_user(request, f"{row}: that was so already.", messages.INFO)
                        continue
                    if action:
                        row.refresh_from_db(fields=[column])
                        self.trace(
                            request, row, action=action, changes={column: [before, str(getattr(row, column) or "")]}
                        )
            except self.refusals as refusal:
                self.message_user(request, f"{row}: {refusal}", messages.WARNING)
                continue
            count += 1
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)

    # --- Deleting ---

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        held = _held_by(row) if row is not None and self.has_delete_permission(request, row) else []
        if held:
            self.message_user(
                request,
                f"“{row}” stays, because {_and(held)} still need it. {self.instead_of_deleting}".strip(),
                messages.ERROR,
            )
            return HttpResponseRedirect(self.url_of(row))
        return super().delete_view(request, object_id, extra_context)

    # --- The trace ---

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        request.staff_changes = changed.of_form(form, formsets)  # type: ignore[attr-defined]
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if "added" not in self.service_leaves_trace:
            self.trace(request, obj, action=f"{self.opts.verbose_name} added", changes=_taken(request))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        changes = _taken(request)
        if changes and "changed" not in self.service_leaves_trace:
            self.trace(request, obj, action=f"{self.opts.verbose_name} changed", changes=changes)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            self.trace(request, row, action=f"{self.opts.verbose_name} deleted")
        return super().log_deletions(request, queryset)

    def trace(
        self, request: HttpRequest, row: Any, *, action: str, changes: Changes | None = None, reason: str = ""
    ) -> None:
        """Who did what, from what to what. Call it in the transaction of the change."""
        business = row if isinstance(row, Business) else getattr(row, "business", None)
        audit(
            business=business,
            actor=signed_in(request),
            action=action,
            target=self.called(row),
            changes=changes,
            reason=reason,
            now=timezone.now(),
        )

    def called(self, row: Any) -> str:
        """What the audit calls a row: readable, and with the id by which it is found."""
        return f"{self.opts.verbose_name} {str(row)[:50]} ({row.pk})"

    # --- Addresses ---

    def url_of(self, row: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])


class ReadOnlyAdmin(StaffAdmin):
    """A table that is written by the system alone: staff may look, and act through its actions if there are any."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """For `@admin.action(permissions=["act"])`."""
        return self.may(request, "change")


def link(row: Any, words: str = "") -> SafeString | str:
    """A row of another table, as a link to its page."""
    if row is None:
        return "–"
    return format_html(
        '<a href="{}">{}</a>',
        reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]),
        words or str(row),
    )


def list_url(model: type[Model], **params: Any) -> str:
    """The address of a filtered list."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return address + ("?" + "&".join(f"{name}={value}" for name, value in params.items()) if params else "")


def signed_in(request: HttpRequest) -> User:
    """Who is at the console; it lets nobody else in."""
    return cast(User, request.user)


def _taken(request: HttpRequest) -> Changes:
    return getattr(request, "staff_changes", {})


def _held_by(row: Model) -> list[str]:
    """The kinds of rows that point at this one and would be lost with it. One look each, however many there are."""
    return [
        str(relation.related_model._meta.verbose_name_plural)
        for relation in row._meta.related_objects
        if relation.on_delete is PROTECT
        and relation.related_model._base_manager.filter(**{relation.field.name: row}).exists()
    ]


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
