"""The same request twice is one request.

A claim is a row written in the transaction of the effects: a repeat waits on the unique key until the first has
committed, then reads the answer the first one got. If the first rolls back, the repeat goes ahead as the first.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from crm import rows
from crm.api_body import JsonBody
from crm.api_errors import Unprocessable
from crm.models import ApiKey, Business, IdempotencyKey
from crm.security import sender

KEEP = timedelta(days=30)  # how long a repeat gets the stored answer


class DifferentRequest(Exception):
    """The key was used before, for another request."""


@dataclass
class Claim:
    """`answer` is None for the first request; set it with `keep()` before the transaction commits."""

    row_id: int
    status: int | None
    answer: Any

    @property
    def is_repeat(self) -> bool:
        return self.status is not None

    def keep(self, *, status: int, answer: Any) -> None:
        rows.execute(
            "UPDATE crm_idempotencykey SET status = %s, answer = %s WHERE id = %s",
            [status, json.dumps(answer, cls=DjangoJSONEncoder), self.row_id],
        )


def fingerprint(payload: Any) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()


def claim(*, business: Business | None, scope: str, key: str, payload: Any) -> Claim:
    """Claim a key inside the caller's transaction. Raises DifferentRequest when it was used for another payload."""
    mark = fingerprint(payload)
    business_id = business.pk if business else None
    cursor = rows.execute(
        "INSERT INTO crm_idempotencykey (business_id, scope, key, fingerprint, created_at)"
        " VALUES (%s, %s, %s, %s, now()) ON CONFLICT DO NOTHING RETURNING id",
        [business_id, scope, key, mark],
    )
    inserted = cursor.fetchone()
    if inserted is not None:
        return Claim(row_id=inserted[0], status=None, answer=None)
    kept = IdempotencyKey.objects.get(business=business, scope=scope, key=key)
    if kept.fingerprint != mark:
        raise DifferentRequest
    return Claim(row_id=kept.pk, status=kept.status, answer=json.loads(kept.answer) if kept.answer else None)


def forget_old_answers(*, now: datetime) -> int:
    deleted, _ = IdempotencyKey.objects.filter(created_at__lt=now - KEEP).delete()
    return deleted


class IdempotentPosts(APIView):
    """Base of every view with POST: honours the `Idempotency-Key` header (a quoted string or a bare one, up to 255).

    Every answer that is returned is kept. A refusal that is raised leaves nothing behind, its key neither.
    """

    parser_classes = (JsonBody,)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "post" in cls.__dict__:
            cls.post = _once(cls.__dict__["post"])  # type: ignore[attr-defined]


def _once(post: Callable[..., Response]) -> Callable[..., Response]:
    @functools.wraps(post)
    def answer_once(view: APIView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.META.get("HTTP_IDEMPOTENCY_KEY", "").strip().strip('"')
        if not key:
            return post(view, request, *args, **kwargs)
        if len(key) > 255 or "\x00" in key:
            raise Unprocessable("Idempotency-Key: use at most 255 characters.")
        caller = request.auth if isinstance(request.auth, ApiKey) else None
        # Keys are each caller's own: two web forms that both count from 1 must not meet.
        whose = caller.prefix if caller else f"open:{sender(request._request)}"
        with transaction.atomic():
            try:
                mine = claim(
                    business=caller.business if caller else None, scope=f"header:{whose}", key=key,
                    payload=[request.path, request.data],
                )  # fmt: skip
            except DifferentRequest:
                raise Unprocessable(
                    "Idempotency-Key: this key was used before with another request. Use a new key for a new request."
                ) from None
            if mine.is_repeat:
                return Response(mine.answer, status=mine.status, headers={"Idempotency-Replayed": "true"})
            response = post(view, request, *args, **kwargs)
            mine.keep(status=response.status_code, answer=response.data)
            return response

    return answer_once
