"""The cache, when Redis may be away: a miss, never an error. Nothing that must be true is kept in it."""

from __future__ import annotations

from typing import Any

import structlog
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


class ForgivingRedisCache(RedisCache):
    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        try:
            return super().get(key, default, version)
        except RedisError:
            log.warning("cache_away", operation="get")
            return default

    def set(self, key: str, value: Any, timeout: Any = 300, version: int | None = None) -> None:
        try:
            super().set(key, value, timeout, version)
        except RedisError:
            log.warning("cache_away", operation="set")

    def add(self, key: str, value: Any, timeout: Any = 300, version: int | None = None) -> bool:
        """True: this caller was first. With Redis away everybody is first."""
        try:
            return bool(super().add(key, value, timeout, version))
        except RedisError:
            log.warning("cache_away", operation="add")
            return True

    def delete(self, key: str, version: int | None = None) -> bool:
        try:
            return bool(super().delete(key, version))
        except RedisError:
            log.warning("cache_away", operation="delete")
            return False

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        try:
            return int(super().incr(key, delta, version))
        except RedisError:
            log.warning("cache_away", operation="incr")
            raise ValueError(key) from None  # what a caller of incr() already expects of a key that is not there
