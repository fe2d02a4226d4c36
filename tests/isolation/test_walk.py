"""The walk: every address of the house, visited as the neighbour.

Charlie owns the shop next door. Whatever he opens, posts or asks for with Alice's ids, he gets what he would get for ids that
never were, and nothing of hers is in it. The addresses are read from the URLconf, so a new page is walked without being
added here; a new kind of parameter makes the walk fail until it knows one of Alice's.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from booking.models import Appointment, Service, StaffMember
from crm import services
from crm.api_keys import issue_key
from crm.enums import KeyKind, TaskReason
from crm.models import Customer, Message
from crm.scoping import every_business, only
from leads.models import Deal, Lead, LeadActivity, Proposal, SavedView, StageChange
from marketplace.models import Export, ExportDownload, Invoice, Purchase, Quote, RecallNotice, Return, Sale
from telephony.gateways import simulated
from tests.marketplace.stock import a_buyer
from tests.marketplace.trade import trade
from tests.pages import work_leads

SECRETS = ("Sally", "Hotchkiss", "555-0177", "5550100177", "15550100177", "12 Hidden Lane", "alice")


@dataclass(frozen=True)
class Alices:
    """One of each kind of row of hers; leads and deals go by their numbers, too."""

    ids: dict[str, str]
    handle: str  # of her open proposal


@pytest.fixture
def hers(cast, now) -> Alices:
    simulated.text_us(from_number="+15550100177", to_number="+15552000001", body="need ac repair asap")
    a_buyer(cast.next_door)  # both buy leads, so that his own doors stand open
    bought = trade(cast.shop, now=now, full_name="Sally Sold", address="12 Hidden Lane")
    with only(cast.shop):
        customer = Customer.objects.get()
        customer.name, customer.address = "Sally Secret", "12 Hidden Lane"
        customer.save()
        twin = Customer.objects.create(business=cast.shop, name="Sally Second", phone="+15550100178")
        merge = services.merge_customers(kept=customer, dropped=twin, actor=cast.alice, now=now)
        task = services.add_task(
            business=cast.shop, customer=customer, reason=TaskReason.ASKED_A_PERSON, title="Call Sally", now=now
        )
        job = Appointment.objects.create(
            business=cast.shop, customer=customer, staff=StaffMember.objects.first(), service=Service.objects.first(),
            service_name="AC Repair", starts_at=now + timedelta(days=9), ends_at=now + timedelta(days=9, hours=1),
            status="SCHEDULED", created_at=now,
        )  # fmt: skip
        message = Message.objects.filter(direction="outbound", audience="customer").first()
        proposal, lead = Proposal.objects.get(), Lead.objects.get()
        ids = {
            "appointment": job.pk, "conversation": message.conversation_id, "customer": customer.pk, "message": message.pk,
            "task": task.pk, "merge": merge.pk, "proposal": proposal.pk, "lead": lead.pk, "quote": bought.quote.pk,
            "purchase": bought.purchase.pk, "sale": bought.sale.pk, "export": bought.export.pk,
            "invoice": bought.invoice.pk, "delivery": bought.delivery.pk, "notice": bought.notice.pk,
        }  # fmt: skip
    work = work_leads(cast.shop, user=cast.alice, now=now)
    ids |= {"deal": work.deal.pk, "view": work.view.pk, "rule": work.rule.pk, "lead-merge": work.merge.pk}
    ids |= {"lead-number": work.ready.number, "deal-number": work.deal.number}
    return Alices(ids={kind: str(pk) for kind, pk in ids.items()}, handle=proposal.message_id)


def pages() -> Iterator[tuple[str, dict[str, str]]]:
    """Every address below /app/ that names a business, with the names and kinds of its other parameters."""
    found: dict[str, URLPattern] = {}

    def walk(patterns: list[URLPattern | URLResolver], prefix: str) -> None:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern.url_patterns, route)
            elif route.startswith("app/<slug:slug>"):
                found.setdefault(route, pattern)

    walk(get_resolver().url_patterns, "")
    for route, pattern in sorted(found.items()):
        yield route, {name: type(kind).__name__ for name, kind in pattern.pattern.converters.items() if name != "slug"}


PAGES = list(pages())


def addresses(route: str, parameters: dict[str, str], *, slug: str, ids: dict[str, str]) -> Iterator[str]:
    """The address with each of the given ids in turn; a number fits where a number is asked for, an id where an id is."""
    if not parameters:
        yield "/" + route.replace("<slug:slug>", slug)
        return
    for kind, pk in ids.items():
        if pk.isdigit() != ("IntConverter" in parameters.values()):
            continue
        address = "/" + route.replace("<slug:slug>", slug)
        for name, converter in parameters.items():
            if converter == "UUIDConverter":
                address = address.replace(f"<uuid:{name}>", pk)
            elif converter == "IntConverter":
                address = address.replace(f"<int:{name}>", pk)
            elif (converter, name) == ("SlugConverter", "kind"):
                address = address.replace("<slug:kind>", kind)
            else:
                raise AssertionError(f"{route}: the walk does not know what to put for {name}")
        yield address


def test_the_walk_knows_all_the_rooms():
    assert len(PAGES) >= 30
    assert any("inbox" in route for route, _ in PAGES)
    assert any("calendar" in route for route, _ in PAGES)
    assert any("buy/purchases" in route for route, _ in PAGES)


def test_the_neighbour_gets_what_he_would_get_for_a_business_that_never_was(cast, hers):
    charlie = Client()
    charlie.force_login(cast.charlie)
    before = snapshot()
    nowhere = {kind: str(10**18) if pk.isdigit() else str(uuid.uuid4()) for kind, pk in hers.ids.items()}
    for (route, parameters), method in itertools.product(PAGES, (charlie.get, charlie.post)):
        nobody = method(next(addresses(route, parameters, slug="nobody", ids=hers.ids)))
        for address in addresses(route, parameters, slug="alice", ids=hers.ids):
            answer = method(address)
            assert answer.status_code == nobody.status_code, address
            assert answer.status_code in (404, 405), address  # 405: a page that is only posted to
            assert neutral(answer.content, "alice") == neutral(nobody.content, "nobody"), address
        if not parameters:
            continue
        # Her ids below his own business: not found either, as ids that never were.
        nothing = method(next(addresses(route, parameters, slug="charlie", ids=nowhere)))
        for address in addresses(route, parameters, slug="charlie", ids=hers.ids):
            answer = method(address)
            assert answer.status_code == nothing.status_code, address
            assert answer.status_code in (404, 405), address
            for secret in SECRETS:
                assert secret.encode() not in answer.content, (address, secret)
    assert snapshot() == before


def test_his_own_pages_show_nothing_of_hers(cast, hers):
    charlie = Client()
    charlie.force_login(cast.charlie)
    seen = 0
    for route, parameters in PAGES:
        if parameters:
            continue
        for query in ("", "?q=Sally", "?q=5550100177", "?show=all"):
            answer = charlie.get("/" + route.replace("<slug:slug>", "charlie") + query, follow=True)
            if answer.status_code != 200:
                continue
            seen += 1
            body = (
                answer.getvalue().replace(b"?q=Sally", b"").replace(b'value="Sally"', b"").replace(b"5550100177", b"")
            )
            body = body.replace("“Sally”".encode(), b"")
            for secret in ("Sally Secret", "Sally Second", "Sally Sold", "Hotchkiss", "12 Hidden Lane", "555-0177"):
                assert secret.encode() not in body, (route, query, secret)
    assert seen >= 20


def test_without_a_login_every_page_leads_to_the_login(cast, hers):
    for route, parameters in PAGES:
        for address in addresses(
            route, parameters, slug="alice", ids={kind: hers.ids[kind] for kind in ("customer", "lead-number")}
        ):
            answer = Client().get(address)
            if answer.status_code == 405:  # a page that is only posted to
                answer = Client().post(address)
            assert (answer.status_code, answer.headers.get("Location", "").split("?")[0]) == (
                302,
                "/accounts/login/",
            ), address


def test_his_key_opens_nothing_of_hers(cast, hers, now):
    key = issue_key(business=cast.next_door, kind=KeyKind.API, now=now).secret
    client = Client(headers={"X-API-Key": key})
    before = snapshot()
    assert client.get("/jobs").json() == []
    assert client.get(f"/jobs?before={uuid.UUID(int=2**128 - 1)}").json() == []
    lead = {"event_id": "e1", "tenant_id": "alice", "name": "C", "phone": "+15550100999", "service": "AC Repair"}
    never = lead | {"tenant_id": "nobody"}
    for path in ("/lead", "/lead/propose", "/api/v1/lead", "/v1/lead"):
        hers_answer, nobodys = (client.post(path, body, "application/json") for body in (lead, never))
        assert (hers_answer.status_code, hers_answer.json()) == (404, nobodys.json()), path
    answer = {"message_id": hers.handle, "from_phone": "+15550100177", "body": "1"}
    assert client.post("/sms/callback", answer, "application/json").json() == {"status": "IGNORED"}
    chat = client.post("/chat/reply", {"from_phone": "+15550100177", "text": "1"}, "application/json").json()
    assert (chat["status"], chat["message"]) == ("HANDOFF", "No active proposal found.")
    assert snapshot() == before


def test_the_console_and_its_autocompletes_are_closed_to_owners(cast, hers):
    charlie = Client()
    charlie.force_login(cast.charlie)
    closed = [reverse("admin:index"), reverse("admin:autocomplete")]
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        closed.append(reverse(f"admin:{name}_changelist"))
        closed.append(
            reverse(f"admin:{name}_change", args=[hers.ids["customer"] if model is Customer else uuid.uuid4()])
        )
    for address in closed:
        for query in ("", "?term=Sally&app_label=booking&model_name=appointment&field_name=customer"):
            answer = charlie.get(address + query)
            assert answer.status_code in (302, 403), address
            assert b"Sally" not in answer.content, address


def neutral(page: bytes, slug: str) -> bytes:
    """A page without what differs from request to request: the address itself and the CSRF token."""
    text = page.decode().replace(slug, "SLUG")
    lines = [line for line in text.splitlines() if "csrf" not in line.lower() and "hx-headers" not in line]
    return "\n".join(lines).encode()


def snapshot() -> list[tuple[object, ...]]:
    """Everything of Alice's that a visit could have changed."""
    with every_business():
        return [
            *Appointment.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "status"),
            *Proposal.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "status"),
            *Customer.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "name"),
            *Message.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "status"),
            *(
                (model.__name__, model.objects.filter(business__slug="alice").count())
                for model in (Quote, Purchase, Sale, Return, Export, ExportDownload, Invoice)
            ),
            *Lead.objects.filter(business__slug="alice")
            .order_by("pk")
            .values_list("pk", "stage", "assigned_to", "score"),
            *Deal.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "stage", "owner"),
            *(
                (model.__name__, model.objects.filter(business__slug="alice").count())
                for model in (LeadActivity, StageChange, SavedView)
            ),
            *RecallNotice.objects.filter(business__slug="alice").order_by("pk").values_list("pk", "acknowledged_at"),
        ]
