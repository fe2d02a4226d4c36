"""How the API describes itself: what every route has in common is said once, here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from crm.api_errors import PROBLEM_JSON


class Problem(serializers.Serializer[Any]):
    """RFC 9457. `errors` names the fields of the request that need attention, each with sentences for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        """With `errors`, a name that a serializer keeps for itself."""
        sentences = serializers.ListField(child=serializers.CharField())
        return super().get_fields() | {"errors": serializers.DictField(child=sentences, required=False)}


class ApiSchema(AutoSchema):
    """Adds the refusals, and the Idempotency-Key header of every POST. A view names further refusals as `refusals`."""

    def get_override_parameters(self) -> list[Any]:
        if self.method != "POST":
            return []
        sentence = "Any text of yours, up to 255 characters. Sent again with the same body, it gets the same answer."
        return [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description=sentence)]

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        refusals = {401, 403, 422, 429, *getattr(self.view, "refusals", ())}
        if self.method in ("POST", "PUT", "PATCH"):
            refusals |= {400, 413, 415}
        problem = self.resolve_serializer(Problem, "response").ref
        for status in sorted(refusals):
            content = {PROBLEM_JSON: {"schema": problem}}
            bodies.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": content})
        return bodies
