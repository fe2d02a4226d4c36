"""What a business's own outcomes teach, in plain words, and the chance beside the score of a lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from crm.access import PageRequest, business_page
from crm.wording import say_when
from leads import learning as arithmetic
from leads.enums import ModelVerdict
from leads.models import Lead, OutcomeModel
from leads.services import learning as service
from leads.services import pipeline

# The reliability chart, in its own units: the square in which 0 to 100% lie both ways.
_LEFT: Final = 40
_TOP: Final = 12
_SIDE: Final = 240
_STRONG: Final = 0.5  # log-odds, when it is as different from the average as leads usually are
_CLEAR: Final = 0.2
_SHOWN: Final = 0.05  # less than this is nothing
_MOST_BARS: Final = 12


@dataclass(frozen=True, slots=True)
class Dot:
    """A tenth in the chart: a dot, and how far the truth may lie above or below it."""

    x: float
    y: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that was learned: to the right of the middle it speaks for a lead, to the left against. In percent."""

    label: str
    words: str
    x: float
    width: float
    speaks_for: bool


@require_safe
@business_page("leads")
def learning(request: PageRequest) -> HttpResponse:
    model = service.newest_model(request.business)
    context: dict[str, Any] = {}
    if model is None or model.verdict == ModelVerdict.TOO_FEW:
        context |= _so_far(service.closed_so_far(request.business))
    else:
        context |= _learned(model)
        context["when"] = say_when(model.trained_at, now=request.now, zone=request.business.zone)
        context["looks"] = [
            {
                "look": look,
                "who": pipeline.who(look.lead),
                "url": reverse("leads:lead", args=[request.business.slug, look.lead.number]),
                "percent": _percent(look.chance),
                "why": _why(look),
            }
            for look in service.against_the_rules(request.business, model, now=request.now)
            if look.lead is not None
        ]
    return render(request, "leads/learning.html", context)


def learned_for(lead: Lead) -> dict[str, Any] | None:
    """The context of templates/leads/learned_chance.html, as `learned`. None: there is nothing to show. One query."""
    look = service.look_at(lead, now=timezone.now())
    if look is None:
        return None
    return {
        "percent": _percent(look.chance),
        "average": _percent(look.average),
        "closed": look.closed,
        "reasons": look.reasons,
        "url": reverse("leads:learning", args=[lead.business.slug]),
    }


def _so_far(closed: service.Closed) -> dict[str, Any]:
    """How far it is to the first lesson."""
    missing = arithmetic.NEEDED_OF_EACH - min(closed.won, closed.lost)
    kind = "won" if closed.won < closed.lost else "lost"
    if closed.count < arithmetic.NEEDED:
        done, total, noun = closed.count, arithmetic.NEEDED, "closed leads"
    elif missing > 0:
        done, total, noun = min(closed.won, closed.lost), arithmetic.NEEDED_OF_EACH, f"{kind} leads"
    else:
        done, total, noun = closed.count, 0, ""
    return {"closed": closed, "done": done, "total": total, "noun": noun, "needed": arithmetic.NEEDED,
            "needed_of_each": arithmetic.NEEDED_OF_EACH}  # fmt: skip


def _learned(model: OutcomeModel) -> dict[str, Any]:
    """What the page says about a model that was tried."""
    assert model.brier is not None
    assert model.base_brier is not None
    curve = [arithmetic.Tenth(**tenth) for tenth in model.curve]
    return {
        "model": model,
        "is_useful": model.verdict == ModelVerdict.USEFUL,
        "count": model.won + model.lost,
        "average": _percent(model.parameters["base_rate"]),
        "brier": f"{model.brier:.3f}",
        "base_brier": f"{model.base_brier:.3f}",
        "less_error": round((1 - model.brier / model.base_brier) * 100),
        "dots": [_dot(tenth) for tenth in curve],
        "tenths": [_row(tenth) for tenth in curve],
        "ticks": [{"at": tick, "x": _across(tick / 100), "y": _up(tick / 100)} for tick in (0, 25, 50, 75, 100)],
        "bars": _bars(model.parameters),
        "again_after": service.AGAIN_AFTER,
    }


def _why(look: service.Look) -> str:
    """For it: came from a partner, answered within 3 minutes. Against it: came in on a weekend."""
    sides = {
        "For it": [reason.text for reason in look.reasons if reason.weight > 0],
        "Against it": [reason.text for reason in look.reasons if reason.weight < 0],
    }
    return " ".join(f"{side}: {', '.join(texts)}." for side, texts in sides.items() if texts)


def _percent(share: float) -> int:
    return round(share * 100)


def _across(share: float) -> float:
    return round(_LEFT + share * _SIDE, 1)


def _up(share: float) -> float:
    return round(_TOP + (1 - share) * _SIDE, 1)


def _dot(tenth: arithmetic.Tenth) -> Dot:
    low, high = arithmetic.likely_range(tenth)
    return Dot(x=_across(tenth.said), y=_up(tenth.seen), top=_up(high), bottom=_up(low))


def _row(tenth: arithmetic.Tenth) -> dict[str, Any]:
    low, high = arithmetic.likely_range(tenth)
    return {
        "said": _percent(tenth.said),
        "seen": _percent(tenth.seen),
        "range": f"{_percent(low)} to {_percent(high)}%",
        "count": tenth.count,
    }


def _bars(parameters: dict[str, Any]) -> list[Bar]:
    """The strongest first."""
    steepness = arithmetic.steepness(parameters)
    weights = {feature["name"]: feature["coefficient"] * steepness for feature in parameters["features"]}
    heard = sorted((name for name in weights if abs(weights[name]) >= _SHOWN), key=lambda name: -abs(weights[name]))
    top = max((abs(weight) for weight in weights.values()), default=1.0)
    bars = []
    for name in heard[:_MOST_BARS]:
        weight = weights[name]
        width = round(abs(weight) / top * 50, 1)
        how = "strongly" if abs(weight) >= _STRONG else "clearly" if abs(weight) >= _CLEAR else "a little"
        bars.append(
            Bar(
                label=arithmetic.NAMES[name], words=f"{'For' if weight > 0 else 'Against'}, {how}",
                x=50 if weight > 0 else 50 - width, width=width, speaks_for=weight > 0,
            )
        )  # fmt: skip
    return bars
