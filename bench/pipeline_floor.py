"""The floor of the pipeline's API: bare DRF views that write the same rows with hand-written SQL, and nothing else.

No key, no throttle, no middleware, no rules, no model objects, no locks beyond what the statements need.
"""

from __future__ import annotations

import os
from typing import Any

from django.db import connection, transaction
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from crm.keys import uuid7

_LEAD = """
    INSERT INTO leads_lead (id, business_id, source, business_domain, stage, status, event_id, asked_for, notes, activity_count,
        lost_because, outcome, created_at, rescore_at)
    VALUES (%s, %s, %s, %s, 'new', 'new', '', '', '', 0, '', '', now(), now()) RETURNING number
"""
_ASSESSMENT = """
    INSERT INTO leads_assessment (id, business_id, lead_id, score, baseline, reading, silence, recommendation, reason, factors,
        evidence, summary, model, prompt_version, activity_count, created_at)
    VALUES (%s, %s, %s, 0.6, 0.6, 0, 0, 'transfer_to_sales', %s, %s, '[]', '', '', '', 0, now())
"""
_REASON = "Partner leads have higher conversion rates. | Clear business domain identified. | Low engagement."
_FACTORS = '[{"name": "source", "points": "0.3", "text": "Partner leads have higher conversion rates."}]'


def _measure(response: Any) -> None:
    response.headers["Content-Length"] = str(len(response.content))


class Bare(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes: list[Any] = []

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """With a length, as Django's middleware does it, so that the connection is kept."""
        response.add_post_render_callback(_measure)
        return super().finalize_response(request, response, *args, **kwargs)


class Leads(Bare):
    def post(self, request: Request) -> Response:
        source, domain = request.data["source"], request.data["business_domain"]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LEAD, [uuid7(), os.environ["BENCH_BUSINESS"], source, domain])
            number = cursor.fetchone()[0]
        answer = {"id": number, "source": source, "stage": "new", "business_domain": domain}
        return Response(answer | {"activity_count": 0, "ai_score": None}, status=201)


class Analyze(Bare):
    def post(self, request: Request, number: int) -> Response:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM leads_lead WHERE number = %s FOR NO KEY UPDATE", [number])
            lead_id = cursor.fetchone()[0]
            cursor.execute(_ASSESSMENT, [uuid7(), os.environ["BENCH_BUSINESS"], lead_id, _REASON, _FACTORS])
            cursor.execute("UPDATE leads_lead SET score = 0.6, rescore_at = now() WHERE id = %s", [lead_id])
        return Response({"score": 0.6, "recommendation": "transfer_to_sales", "reason": _REASON})


urlpatterns = [path("leads/", Leads.as_view()), path("leads/<int:number>/analyze", Analyze.as_view())]
