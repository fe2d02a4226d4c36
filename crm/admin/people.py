"""Who signs in, and the keys of programs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from crm.admin.base import StaffAdmin, signed_in
from crm.admin.lists import OfBusiness
from crm.api_keys import NewKey, issue_key, revoke_key, rotate_key
from crm.enums import KeyKind
from crm.models import ApiKey, User


def _small(form: forms.BaseForm) -> str:
    """Addresses are kept in small letters; people type as they like."""
    return str(form.cleaned_data["email"]).strip().lower()


class AddUserForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        return _small(self)


class ChangeUserForm(UserChangeForm):
    class Meta:
        model = User
        fields = "__all__"  # noqa: DJ007 - the admin's fieldsets choose

    def clean_email(self) -> str:
        return _small(self)


@admin.register(User)
class UserAdmin(StaffAdmin, auth_admin.UserAdmin):
    """People are switched off, not deleted: what they did stays theirs, and the ledger of consent names them."""

    form = ChangeUserForm
    add_form = AddUserForm
    list_display = ("email", "name", "is_staff", "is_active", "last_login")
    list_filter = ("is_active", "is_staff")
    list_per_page = 50
    ordering = ("email",)
    search_fields = ("email",)
    search_help_text = "The beginning of an e-mail address."
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ("groups", "user_permissions")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("email", "name", "usable_password", "password1", "password2")}),
    )

    def find(self, rows: QuerySet[User], words: str) -> QuerySet[User]:
        return rows.filter(email__startswith=words.lower())

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only a superuser hands out rights: nobody else can make himself, or a friend, one."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if _is_superuser(request) else (*fixed, "is_staff", "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nor take over a superuser by giving him another password."""
        return super().has_change_permission(request, obj) and (
            obj is None or not obj.is_superuser or _is_superuser(request)
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


admin.site.unregister(Group)  # importing Django's user admin has registered it


@admin.register(Group)
class GroupAdmin(StaffAdmin, auth_admin.GroupAdmin):
    """What a group of staff may do. Whoever loses a group by this keeps the account."""

    form = forms.ModelForm
    deletable = True
    list_per_page = 50
    ordering = ("name",)
    search_fields = ("name",)

    def find(self, rows: QuerySet[Group], words: str) -> QuerySet[Group]:
        return rows.filter(name__istartswith=words)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


# --- Keys ------------------------------------------------------------------------------------------------------------


@admin.register(ApiKey)
class ApiKeyAdmin(StaffAdmin):
    """A key is shown on one page, right after it was made, and can then only be replaced."""

    list_display = ("prefix", "kind", "business", "label", "state", "created_at", "last_used_at")
    list_select_related = ("business",)
    list_filter = ("kind", OfBusiness)
    search_fields = ("prefix",)
    search_help_text = "The beginning of a key as it is shown (fd_api_…), or an id."
    autocomplete_fields = ("business",)
    actions = ("rotate", "revoke")
    service_leaves_trace = frozenset({"added"})

    def find(self, rows: QuerySet[ApiKey], words: str) -> QuerySet[ApiKey]:
        return rows.filter(prefix__startswith="_".join(words.split("_")[:3]))  # a whole key is found by its beginning

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        asked = ("business", "kind", "label", "expires_at")
        return asked if obj is None else ("prefix", "state", *asked, "created_at", "last_used_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (
            ()
            if obj is None
            else ("prefix", "state", "business", "kind", "expires_at", "created_at", "last_used_at", "revoked_at")
        )

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "Revoked"
        return "In use" if key.is_usable(timezone.now()) else "Expired"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        new = issue_key(
            business=obj.business,
            kind=KeyKind(obj.kind),
            label=obj.label,
            expires_at=obj.expires_at,
            now=timezone.now(),
            actor=signed_in(request),
        )
        obj.pk, obj.prefix, obj.created_at = new.row.pk, new.row.prefix, new.row.created_at
        request.staff_new_key = new  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_once(request, request.staff_new_key)  # type: ignore[attr-defined]

    @admin.action(description="Replace by a new key", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        keys = list(queryset.select_related("business")[:2])
        if len(keys) != 1:
            self.message_user(request, "Choose one key: the new one is shown once.", "warning")
            return None
        if not self.confirmed(request):
            return self.ask(
                request,
                keys,
                question="Replace this key?",
                button="Replace it",
                explanation="It stops working at once. The new key is shown on the next page, and only there.",
            )
        try:
            new = rotate_key(key=keys[0], now=timezone.now(), actor=signed_in(request))
        except ValueError as reason:
            self.message_user(request, str(reason), "warning")
            return None
        return self._show_once(request, new)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        keys = list(queryset.select_related("business"))
        if not self.confirmed(request):
            return self.ask(
                request,
                keys,
                question="Revoke?",
                button="Revoke",
                explanation="Programs that use it are turned away at once, for good.",
            )
        revoked = sum(revoke_key(key=key, now=timezone.now(), actor=signed_in(request)) for key in keys)
        self.message_user(
            request, f"{revoked} of {len(keys)} revoked." if revoked < len(keys) else f"{revoked} revoked."
        )
        return None

    def _show_once(self, request: HttpRequest, new: NewKey) -> TemplateResponse:
        """Rendered straight into this answer, which nobody may store; the secret is put nowhere else."""
        response = TemplateResponse(
            request,
            "admin/key_once.html",
            {
                **self.admin_site.each_context(request),
                "title": "The new key",
                "key": new.row,
                "secret": new.secret,
                "opts": self.opts,
            },
        )
        response["Cache-Control"] = "no-store"
        return response
