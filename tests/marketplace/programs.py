"""A buyer's program that calls the API, for the tests."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum
from django.http import HttpResponse
from django.test import Client

from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.models import Business, IdempotencyKey
from crm.scoping import every_business
from marketplace.models import (
    Buyer,
    Export,
    ExportDownload,
    InventoryItem,
    JournalEntry,
    KnownPhone,
    KnownUpload,
    Purchase,
    Quote,
    RecallNotice,
    Return,
    Sale,
)
from tests.conftest import NOW

EVERYTHING = (
    Quote, Purchase, Sale, JournalEntry, Export, ExportDownload, Return, KnownPhone, KnownUpload, IdempotencyKey,
)  # fmt: skip


class Program:
    """Speaks for one business, through one of the doors."""

    def __init__(self, business: Business | None, *, door: str = "/api/v1", kind: KeyKind = KeyKind.API) -> None:
        secret = issue_key(business=business, kind=kind, now=NOW).secret
        self.prefix = secret.rpartition("_")[0]
        is_buyers = kind in (KeyKind.API, KeyKind.OWNER)
        header = {"X-API-Key": secret} if is_buyers else {"Authorization": f"Bearer {secret}"}
        self._client, self._door = Client(headers=header), door

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> HttpResponse:
        return self._client.get(self._door + path, query or {}, headers=headers)

    def post(
        self, path: str, body: Any, *, key: str = "", kind: str = "application/json", method: str = "post"
    ) -> HttpResponse:
        headers = {"Idempotency-Key": key} if key else {}
        return getattr(self._client, method)(self._door + path, body, content_type=kind, headers=headers)

    def said(self, path: str, body: Any = None, *, key: str = "", status: int = 200) -> Any:
        """The answer of a POST, or of a GET when there is no body."""
        response = self.get(path) if body is None else self.post(path, body, key=key)
        assert response.status_code == status, response.content
        return response.json()


def refused(response: HttpResponse, status: int) -> dict[str, Any]:
    """The problem, checked to be one."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    problem: dict[str, Any] = response.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["detail"]
    return problem


def content(response: HttpResponse) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def written() -> dict[str, Any]:
    """How much there is of everything a caller could change."""
    with every_business():
        return {model.__name__: model.objects.count() for model in EVERYTHING} | {
            "sold": InventoryItem.objects.filter(sold_at__isnull=False).count(),
            "heard": RecallNotice.objects.filter(acknowledged_at__isnull=False).count(),
            "money": Buyer.objects.aggregate(money=Sum("balance"))["money"],
            "webhooks": list(Buyer.objects.order_by("pk").values_list("webhook_url", flat=True)),
        }
