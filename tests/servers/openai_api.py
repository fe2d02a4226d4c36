"""A language model's /chat/completions, as OpenAI words it, with the answers a test puts into its mouth.

https://platform.openai.com/docs/api-reference/chat. It insists on the declared shape (`response_format` of type
json_schema) and on a key, counts tokens as it is told, and can be slow, broken or nonsense.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from crm import llm
from tests.servers.loopback import Dropped, Loopback


@dataclass(frozen=True)
class Mood:
    """How the next answers are given."""

    said: dict[str, Any] | str = field(default_factory=dict)  # a dict is given as JSON
    tokens: tuple[int, int] = (120, 30)  # prompt, completion
    status: int = 200  # else an error body with this status
    slow: float = 0  # seconds before the first byte
    drip: float = 0  # seconds between the bytes
    finish: str = "stop"
    refusal: str | None = None
    raw: str | None = None  # this body and nothing else


class OpenAiApi(Loopback):
    """`with OpenAiApi() as model:` and point OPENAI_BASE_URL at `model.base_url`."""

    def __init__(self, *, key: str = "sk-test-0123456789") -> None:
        super().__init__()
        self.key = key
        self.mood = Mood()
        self.thinks: Callable[[dict[str, Any]], Mood] | None = None  # the answer to this very question; else the mood's
        self.asked: list[dict[str, Any]] = []
        self._turn = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        if (method, path) != ("POST", "/v1/chat/completions"):
            return _error(404, f"Invalid URL ({method} {path})", None)
        request = json.loads(body)
        with self._turn:
            self.asked.append(request)
        mood = self.thinks(request) if self.thinks else self.mood
        if mood.slow and self.closing.wait(mood.slow):
            raise Dropped
        if mood.raw is not None:
            return mood.status, mood.raw
        if mood.status != 200:
            return _error(mood.status, "The server had an error while processing your request.", None)
        if request.get("response_format", {}).get("type") != "json_schema":
            return _error(400, "This stand-in wants a response_format of type json_schema.", None)
        said = mood.said if isinstance(mood.said, str) else json.dumps(mood.said)
        completion = _completion(request["model"], said, mood)
        return (200, self._drip(completion, mood.drip)) if mood.drip else (200, completion)

    def _drip(self, completion: dict[str, Any], pause: float) -> Iterator[bytes]:
        for byte in json.dumps(completion).encode():
            if self.closing.wait(pause):
                return
            yield bytes([byte])


@contextmanager
def in_place_of_openai(settings: Any) -> Iterator[OpenAiApi]:
    """The house asks this server for as long as the test runs. `settings` is pytest-django's."""
    with OpenAiApi() as server:
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = server.key, server.base_url
        settings.OPENAI_MODEL = "gpt-4o-mini"
        llm._client.cache_clear()
        yield server
    llm._client.cache_clear()


def _completion(model: str, said: str, mood: Mood) -> dict[str, Any]:
    prompt, completion = mood.tokens
    message = {"role": "assistant", "content": None if mood.refusal else said, "refusal": mood.refusal}
    return {
        "id": "chatcmpl-0001",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": f"{model}-2026-01-01",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": mood.finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "system_fingerprint": None,
    }


def _error(status: int, message: str, code: str | None) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": "error", "param": None, "code": code}}
