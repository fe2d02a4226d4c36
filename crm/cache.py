"""The cache, when Redis may be away: a miss, never an error. Nothing that must be true is kept in it."""

from __future__ import annotations

from typing import Any, cast

import structlog
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

_clients: dict[int, Any] = {}  # by connection pool; a client is safe to share between threads


class OneClient(RedisCacheClient):
    """Keeps its clients: Django's own makes a new one for every call, which costs more than the call."""

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        pool = self._get_connection_pool(write)  # type: ignore[attr-defined]  # the stubs leave it out
        client = _clients.get(id(pool))
        if client is None:
            client = _clients[id(pool)] = self._client(connection_pool=pool)  # type: ignore[attr-defined]
        return client

    def count(self, key: str, *, timeout: int) -> int:
        """One more of these within `timeout` seconds of the first. One trip; the key always has its end."""
        pipeline = self.get_client(key, write=True).pipeline(transaction=False)
        pipeline.set(key, 0, ex=timeout, nx=True)
        pipeline.incr(key)
        return int(pipeline.execute()[1])


class ForgivingRedisCache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = OneClient

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

    def count(self, key: str, *, timeout: int) -> int:
        """How many there have been within `timeout` seconds of the first, this one included. With Redis away: 0."""
        try:
            return cast(OneClient, self._cache).count(self.make_and_validate_key(key), timeout=timeout)
        except RedisError:
            log.warning("cache_away", operation="count")
            return 0

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        try:
            return int(super().incr(key, delta, version))
        except RedisError:
            log.warning("cache_away", operation="incr")
            raise ValueError(key) from None  # what a caller of incr() already expects of a key that is not there
