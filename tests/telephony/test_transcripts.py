"""Conversations as people have them, kept as plain text in tests/transcripts and replayed through the signed webhook."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.utils import timezone

from booking import setup
from booking.models import Appointment, StaffMember
from crm import consent, optout, segments
from crm.enums import ConsentSource
from crm.models import Consent, Conversation, Message, Task
from crm.scoping import every_business
from crm.services import hand_back, remember_customer, take_over
from leads.models import Lead, Proposal
from telephony.models import InboundEvent
from tests.conftest import Cast
from tests.servers.carrier import Carrier

PHONE = "+15551234567"
FILES = sorted(path for path in (Path(__file__).parent.parent / "transcripts").glob("*.txt") if path.stem != "README")
TREATMENTS = ("botox", "filler", "wrinkle")


@dataclass
class Stage:
    """Where a conversation is played."""

    cast: Cast
    clock: time_machine.Coordinates
    answers: list[str]


def thread() -> Conversation:
    return Conversation.objects.get(their_address=PHONE)


# --- @ scenes --------------------------------------------------------------------------------------------------------


def minutes_pass(stage: Stage, minutes: str) -> None:
    stage.clock.shift(timedelta(minutes=int(minutes)))


def speaks(stage: Stage, language: str) -> None:
    stage.cast.shop.language = language
    stage.cast.shop.save()


def public_phone(stage: Stage, phone: str) -> None:
    stage.cast.shop.public_phone = phone
    stage.cast.shop.save()


def private_health(stage: Stage) -> None:
    stage.cast.shop.private_health = True
    stage.cast.shop.save()
    setup.add_services(stage.cast.shop, [setup.ServiceDraft("Botox", 60), setup.ServiceDraft("Filler", 60)])


def nobody_works(stage: Stage) -> None:
    StaffMember.objects.filter(business=stage.cast.shop).update(is_active=False)


def offered_time_is_taken(stage: Stage) -> None:
    """Somebody else has it, with everybody who could come."""
    lost = Appointment.objects.filter(customer__phone=PHONE).order_by("-created_at").first()
    assert lost is not None
    Appointment.objects.filter(pk=lost.pk, status="HELD").update(status="RELEASED")
    other, _ = remember_customer(business=stage.cast.shop, phone="+15557654321")
    for staff in StaffMember.objects.filter(business=stage.cast.shop):
        Appointment.objects.create(
            business=stage.cast.shop, customer=other, staff=staff, service_name="Plumbing", status="SCHEDULED",
            starts_at=lost.starts_at - timedelta(minutes=30), ends_at=lost.starts_at + timedelta(minutes=30),
            created_at=timezone.now(),
        )  # fmt: skip


def starts_again(stage: Stage) -> None:
    consent.grant(business=stage.cast.shop, phone=PHONE, source=ConsentSource.STAFF, words="", now=timezone.now())


SCENES: dict[str, Callable[..., None]] = {
    r"(\d+) minutes pass": minutes_pass,
    r"language (\w+)": speaks,
    r"public phone (.+)": public_phone,
    r"private health": private_health,
    r"nobody works": nobody_works,
    r"the offered time is taken": offered_time_is_taken,
    r"starts again": starts_again,
    r"Bob takes over": lambda stage: take_over(conversation=thread(), user=stage.cast.bob, now=timezone.now()),
    r"Bob hands back": lambda stage: hand_back(conversation=thread(), user=stage.cast.bob, now=timezone.now()),
}

# --- ! facts ---------------------------------------------------------------------------------------------------------


def last_receipt() -> InboundEvent:
    return InboundEvent.objects.order_by("-received_at", "-id")[0]


def listed(values: object) -> str:
    return ", ".join(sorted(map(str, values))) or "none"  # type: ignore[call-overload]


def owner_texts() -> list[str]:
    return list(Message.objects.filter(audience="owner").order_by("created_at", "id").values_list("body", flat=True))


FACTS: dict[str, Callable[[], str]] = {
    "step": lambda: last_receipt().step,
    "reason": lambda: last_receipt().reason,
    "appointments": lambda: listed(Appointment.objects.filter(customer__phone=PHONE).values_list("status", flat=True)),
    "offers": lambda: listed(Proposal.objects.values_list("status", flat=True)),
    "lead": lambda: Lead.objects.order_by("-created_at", "-id")[0].status,
    "tasks": lambda: listed(Task.objects.filter(done_at__isnull=True).values_list("reason", flat=True)),
    "consent": lambda: Consent.objects.order_by("-at", "-id")[0].action,
    "ledger": lambda: ", ".join(Consent.objects.order_by("at", "id").values_list("action", flat=True)) or "none",
    "waiting": lambda: "yes" if thread().waiting_since else "no",
    "owner": lambda: owner_texts()[-1],
    "owner alerts": lambda: str(len(owner_texts())),
}


def fits(said: str, expected: str) -> bool:
    if expected.startswith("/") and expected.endswith("/"):
        return re.fullmatch(expected[1:-1], said, re.DOTALL) is not None
    return said.startswith(expected)


# --- The play --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_conversation_goes_as_written(path: Path, cast: Cast, carrier: Carrier, clock):
    stage = Stage(cast=cast, clock=clock, answers=[])
    clock.shift(timedelta(minutes=-10))  # ten to nine, so that the day's first slots are whole hours
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        mark, _, rest = line.partition(" ")
        where = f"{path.name}:{number}: {line}"
        if mark == ">":
            assert stage.answers == [], f"{where}: the answer before was not looked at: {stage.answers}"
            clock.shift(timedelta(seconds=5))
            stage.answers = carrier.text(rest)
        elif mark == "<" and not rest:
            assert stage.answers == [], where
        elif mark == "<":
            assert len(stage.answers) == 1, f"{where}: {stage.answers}"
            said = stage.answers.pop()
            assert fits(said, rest), f"{where}: {said}"
        elif mark == "!":
            name, _, value = rest.partition(": ")
            assert fits(FACTS[name](), value), f"{where}: {FACTS[name]()}"
        elif mark == "@":
            act, match = next((act, found) for scene, act in SCENES.items() if (found := re.fullmatch(scene, rest)))
            act(stage, *match.groups())
        else:
            assert mark in ("#", ""), where
    assert stage.answers == [], "the last answer was not looked at"
    the_texts_keep_our_promises(cast)


def the_texts_keep_our_promises(cast: Cast) -> None:
    """Whatever was said: in the cheap alphabet, inviting none of the carriers' words, and discreet where it has to be."""
    for text in Message.objects.filter(direction="outbound"):
        assert segments.count(text.body).encoding == "GSM-7", text.body
        if text.audience == "customer":
            assert optout.invites_reserved_words(text.body) == (), text.body
        if cast.shop.private_health:
            assert [word for word in TREATMENTS if word in text.body.lower()] == [], text.body
