"""Why a lead or a deal stays where it is, as pages say it: with where it can go instead. Programs are told in the words of
the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crm.services import Refused
from leads import lifecycle
from leads.enums import DealStage, Stage
from leads.models import Deal, Lead


def lead_stays(lead: Lead, *, to: str, reason: Exception) -> str:
    """`reason` is what a move to `to` was refused with."""
    ways = lifecycle.LEAD[lead.stage]
    if lead.merged_into_id is not None or to in ways or lead.stage == Stage.TRANSFERRED:
        return sentence(reason)
    if not ways:
        return f"A {lead.get_stage_display().lower()} lead stays {lead.get_stage_display().lower()}."
    return f"From {lead.get_stage_display()} a lead goes to {_either([Stage(way).label for way in ways])}."


def deal_stays(deal: Deal, *, to: str, reason: Exception) -> str:
    """`reason` is what a move to `to` was refused with."""
    ways = lifecycle.DEAL[deal.stage]
    if not ways or to in ways:
        return sentence(reason)
    return f"From {deal.get_stage_display()} a deal goes to {_either([DealStage(way).label for way in ways])}."


@contextmanager
def moving_lead(lead: Lead, *, to: str) -> Iterator[None]:
    """A move inside that is not allowed becomes Refused, in the words for people."""
    try:
        yield
    except lifecycle.NotAllowed as reason:
        raise Refused(lead_stays(lead, to=to, reason=reason)) from reason


@contextmanager
def moving_deal(deal: Deal, *, to: str) -> Iterator[None]:
    """As `moving_lead`."""
    try:
        yield
    except lifecycle.NotAllowed as reason:
        raise Refused(deal_stays(deal, to=to, reason=reason)) from reason


def sentence(reason: Exception) -> str:
    """With its full stop."""
    said = str(reason)
    return said if said.endswith(".") else f"{said}."


def _either(labels: list[str]) -> str:
    return " or ".join(labels)
