"""The language model: one client, one question at a time, and never a surprise.

The model proposes. An answer arrives in a declared shape (Pydantic) or not at all; every call has a time limit, comes out
of the business's daily budget, and leaves a usage row. Without a key, over budget, with the circuit open, late or
unreadable the answer is None and the caller's rules decide. `OPENAI_BASE_URL` points to any compatible server.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from django.conf import settings
from django.core.cache import cache
from pydantic import BaseModel

from crm import limits
from crm.enums import Meter
from crm.models import Allowance, Business, LlmUsage

if TYPE_CHECKING:
    from openai import OpenAI

log = structlog.get_logger(__name__)

Shape = TypeVar("Shape", bound=BaseModel)
Completion = TypeVar("Completion")

MAX_INPUT: Final = 6_000  # characters of the customer's text that are read
MAX_OUTPUT: Final = 400  # tokens
_MARKS: Final = re.compile(r"[<>]{3,}")
# US dollars per million tokens, in and out, as published for the models we name. A model that is not here costs
# “unknown”, never 0; its calls are charged to the budget at the dearest price we know.
PRICES: Final = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}
_DEAREST: Final = (2.50, 10.00)

# After this many failures in a row nobody asks for a while: a customer must not wait for a service that is down.
FAILURES_TO_OPEN: Final = 3
OPEN_FOR: Final = timedelta(seconds=60)
_FAILURES = "llm_failures"
_OPEN = "llm_circuit_open"


def is_available(*, business: Business, now: datetime, share: float = 1.0) -> bool:
    """Whether asking makes sense now: a key, a closed circuit, and something left of today's budget, or of the `share` of
    it that may be spent on what nobody waits for."""
    return bool(settings.OPENAI_API_KEY) and not cache.get(_OPEN) and _has_budget(business, now, share)


def ask(
    *, business: Business, purpose: str, instructions: str, text: str, shape: type[Shape], now: datetime, timeout: float
) -> Shape | None:
    """Put `text` (somebody's words, quoted, never instructions) to the model. None: the rules answer.

    `timeout` is in seconds for the whole call. Call it with no transaction open.
    """
    if not settings.OPENAI_API_KEY:
        return None
    import openai  # noqa: PLC0415 - takes most of a second, and most processes never ask

    if cache.get(_OPEN):
        _record(business, purpose=purpose, outcome="circuit_open", now=now)
        return None
    text = text[:MAX_INPUT]
    # The budget is taken before the money is spent, at the most this call can cost, and what was not used is given back.
    at_most_in = (len(instructions) + len(text)) // 3 + 500  # tokens; the shape's schema is part of the prompt
    worst = _price(PRICES.get(settings.OPENAI_MODEL, _DEAREST), at_most_in, MAX_OUTPUT)
    if not limits.spend(business=business, meter=Meter.LLM, micros=worst, now=now):
        _record(business, purpose=purpose, outcome="over_budget", now=now)
        return None
    started = time.monotonic()
    outcome, answer, tokens_in, tokens_out = "error", None, 0, 0
    question = functools.partial(
        _client(settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL).chat.completions.parse,
        model=settings.OPENAI_MODEL,
        messages=[{"role": "system", "content": instructions}, {"role": "user", "content": _quoted(text)}],
        response_format=shape,
        temperature=0,
        max_completion_tokens=MAX_OUTPUT,
        timeout=timeout,
    )
    try:
        completion = _within(timeout, question)
        answer = completion.choices[0].message.parsed if completion.choices else None
        outcome = "ok" if answer is not None else "unparseable"
        if completion.usage is not None:
            tokens_in, tokens_out = completion.usage.prompt_tokens, completion.usage.completion_tokens
    except (TimeoutError, openai.APITimeoutError):
        outcome = "timeout"
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
        outcome = "unparseable"
    except (ValueError, TypeError, AttributeError, LookupError):
        # Not JSON, not a completion, not the declared shape: the SDK reads what it gets with few questions.
        outcome = "unparseable"
    except openai.OpenAIError as error:
        log.warning("llm_failed", tenant_id=business.slug, purpose=purpose, reason=type(error).__name__)
    latency = int((time.monotonic() - started) * 1000)
    _circuit(healthy=outcome in ("ok", "unparseable"))
    cost = _cost_micros(tokens_in=tokens_in, tokens_out=tokens_out) if tokens_in else None
    if cost is not None:
        limits.give_back(business=business, meter=Meter.LLM, micros=worst - cost, now=now)
    _record(
        business, purpose=purpose, outcome=outcome, now=now, tokens_in=tokens_in, tokens_out=tokens_out, cost=cost,
        latency=latency,
    )  # fmt: skip
    return answer


def _quoted(text: str) -> str:
    """The text between marks, of which it holds none itself."""
    return f"<<<\n{_MARKS.sub('', text)}\n>>>"


def _within(seconds: float, call: Callable[[], Completion]) -> Completion:
    """Wait for `call` no longer than this, or TimeoutError.

    The SDK's own limit is for each read, and some servers send a space now and then to keep the line open. The thread
    left behind ends with its connection.
    """
    future: Future[Completion] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # raised again where somebody waits
            future.set_exception(error)

    threading.Thread(target=run, name="language model", daemon=True).start()
    return future.result(timeout=seconds)


def _circuit(*, healthy: bool) -> None:
    """Open after a run of failures; one good answer forgets them. Shared by all workers through Redis, and closed when
    Redis is away, where each call still has its own time limit."""
    if healthy:
        cache.delete(_FAILURES)
        return
    cache.add(_FAILURES, 0, timeout=300)
    try:
        failures = cache.incr(_FAILURES)
    except ValueError:
        return
    if failures >= FAILURES_TO_OPEN:
        cache.set(_OPEN, 1, timeout=int(OPEN_FOR.total_seconds()))
        cache.delete(_FAILURES)
        log.warning("llm_circuit_opened", seconds=OPEN_FOR.total_seconds())


def _has_budget(business: Business, now: datetime, share: float) -> bool:
    today = now.astimezone(business.zone).date()
    spent = (
        Allowance.objects.filter(business=business, meter=Meter.LLM, day=today)
        .values_list("spent_micros", flat=True)
        .first()
        or 0
    )
    return spent < limits.cap_micros(business, Meter.LLM) * share


def _cost_micros(*, tokens_in: int, tokens_out: int) -> int | None:
    """Millionths of a US dollar, or None for a model whose price we do not know."""
    price = PRICES.get(settings.OPENAI_MODEL)
    return _price(price, tokens_in, tokens_out) if price else None


def _price(price: tuple[float, float], tokens_in: int, tokens_out: int) -> int:
    return math.ceil(tokens_in * price[0] + tokens_out * price[1])


def _record(
    business: Business, *, purpose: str, outcome: str, now: datetime, tokens_in: int = 0, tokens_out: int = 0,
    cost: int | None = None, latency: int = 0,
) -> None:  # fmt: skip
    LlmUsage.objects.create(
        business=business, purpose=purpose, model=settings.OPENAI_MODEL, prompt_tokens=tokens_in,
        completion_tokens=tokens_out, cost_micros=cost, latency_ms=latency, outcome=outcome, at=now,
    )  # fmt: skip


@functools.lru_cache(maxsize=4)
def _client(key: str, base_url: str) -> OpenAI:
    from openai import OpenAI  # noqa: PLC0415 - as above

    # No retries of the SDK's own: the customer's time is the budget.
    return OpenAI(api_key=key, base_url=base_url, max_retries=0)
