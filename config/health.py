"""For load balancers and people on call."""

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from redis import Redis
from redis.exceptions import RedisError


def healthz(_request: HttpRequest) -> JsonResponse:
    """This process answers. Asks nobody else, so a slow database does not get healthy processes killed."""
    return JsonResponse({"ok": True, "status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when Postgres and Redis answer, else 503 naming the one that is away."""
    checks = {"database": _database_answers(), "redis": _redis_answers()}
    ready = all(checks.values())
    return JsonResponse({"ok": ready, "status": "ok" if ready else "degraded", **checks}, status=200 if ready else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)
    except Error:
        return False


def _redis_answers() -> bool:
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as redis:
            return bool(redis.ping())
    except RedisError:
        return False
