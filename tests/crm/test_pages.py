"""The ground floor's pages: doors, inbox and thread, customers, tasks."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse

from booking import urls as booking_urls
from crm import consent, services
from crm import urls as crm_urls
from crm.enums import ConsentSource, MessageKind, MessageStatus, Role
from crm.models import (
    Activity,
    Business,
    Consent,
    Conversation,
    Customer,
    CustomerMerge,
    Membership,
    Message,
    Task,
    User,
)
from crm.scoping import every_business, only
from crm.services import add_member, tell_customer
from leads import urls as leads_urls
from leads.models import (
    Assessment,
    AssignmentRule,
    Deal,
    DealOffer,
    Lead,
    LeadActivity,
    LeadMerge,
    PipelineSettings,
    Salesperson,
    SavedView,
    StageChange,
)
from marketplace import urls as marketplace_urls
from marketplace.models import (
    Buyer,
    Export,
    ExportDownload,
    KnownPhone,
    KnownUpload,
    Purchase,
    Quote,
    RecallNotice,
    Return,
    Sale,
    WebhookDelivery,
)
from tests.marketplace.stock import a_buyer
from tests.marketplace.trade import QUOTE, trade
from tests.pages import book, live, page, person, signed_in, titles, viewer_of, words_of, work_leads, write_in


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def life(cast, now):
    return live(cast.shop, user=cast.alice, now=now)


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


@pytest.fixture
def shopping(life, cast, now):
    """Alice has bought leads; Charlie may, so that his own doors are open."""
    a_buyer(cast.next_door)
    return trade(cast.shop, now=now)


@pytest.fixture
def working(life, cast, now):
    """Alice works on leads; one of them is with sales."""
    return work_leads(cast.shop, user=cast.alice, now=now)


def doors(life, shopping, working):
    """Every address of the apps below /app/<slug>/, as (name, arguments after the slug)."""
    return [
        ("crm:open", ["task", life.task.pk]),
        ("crm:inbox", []),
        ("crm:thread", [life.conversation.pk]),
        ("crm:news", [life.conversation.pk]),
        ("crm:plan", [life.conversation.pk]),
        ("crm:reply", [life.conversation.pk]),
        ("crm:send_again", [life.conversation.pk, life.failed.pk]),
        ("crm:take_over", [life.conversation.pk]),
        ("crm:hand_back", [life.conversation.pk]),
        ("crm:mark_answered", [life.conversation.pk]),
        ("crm:customers", []),
        ("crm:add_customer", []),
        ("crm:customer", [life.jane.pk]),
        ("crm:edit_customer", [life.jane.pk]),
        ("crm:text_customer", [life.jane.pk]),
        ("crm:opt_out", [life.jane.pk]),
        ("crm:merge", [life.jane.pk]),
        ("crm:undo_merge", [life.merge.pk]),
        ("crm:task_done", [life.task.pk]),
        ("crm:task_reopen", [life.task.pk]),
        ("booking:calendar", []),
        ("booking:new", []),
        ("booking:appointment", [life.job.pk]),
        ("booking:confirm", [life.job.pk]),
        ("booking:move", [life.job.pk]),
        ("booking:cancel", [life.job.pk]),
        ("booking:undo_cancel", [life.job.pk]),
        ("booking:complete", [life.job.pk]),
        ("booking:no_show", [life.job.pk]),
        ("booking:settings", []),
        ("leads:today", []),
        ("leads:leads", []),
        ("leads:board", []),
        ("leads:new", []),
        ("leads:bulk", []),
        ("leads:save_view", []),
        ("leads:delete_view", [working.view.pk]),
        ("leads:lead", [working.ready.number]),
        ("leads:move", [working.ready.number]),
        ("leads:transfer", [working.ready.number]),
        ("leads:assess", [working.ready.number]),
        ("leads:activity", [working.ready.number]),
        ("leads:assign", [working.ready.number]),
        ("leads:edit", [working.ready.number]),
        ("leads:follow_up", [working.ready.number]),
        ("leads:deals", []),
        ("leads:deal", [working.deal.number]),
        ("leads:deal_move", [working.deal.number]),
        ("leads:deal_accept", [working.deal.number]),
        ("leads:deal_decline", [working.deal.number]),
        ("leads:deal_give", [working.deal.number]),
        ("leads:deal_edit", [working.deal.number]),
        ("leads:reports", []),
        ("leads:learning", []),
        ("leads:ways", []),
        ("leads:ways_times", []),
        ("leads:ways_salesperson", []),
        ("leads:ways_rule", []),
        ("leads:ways_rule_move", [working.rule.pk]),
        ("leads:ways_rule_delete", [working.rule.pk]),
        ("leads:duplicates", []),
        ("leads:merge", []),
        ("leads:merge_undo", [working.merge.pk]),
        ("marketplace:browse", []),
        ("marketplace:counts", []),
        ("marketplace:cart", []),
        ("marketplace:add_line", []),
        ("marketplace:change_line", []),
        ("marketplace:renew", []),
        ("marketplace:checkout", []),
        ("marketplace:purchases", []),
        ("marketplace:purchase", [shopping.purchase.pk]),
        ("marketplace:download", [shopping.purchase.pk]),
        ("marketplace:export", [shopping.export.pk]),
        ("marketplace:take_file", [shopping.export.pk]),
        ("marketplace:returns", []),
        ("marketplace:return", [shopping.sale.pk]),
        ("marketplace:ask_return", [shopping.sale.pk]),
        ("marketplace:ask", []),
        ("marketplace:account", []),
        ("marketplace:account_settings", []),
        ("marketplace:send_link", []),
        ("marketplace:invoices", []),
        ("marketplace:invoice", [shopping.invoice.pk]),
        ("marketplace:invoice_pdf", [shopping.invoice.pk]),
        ("marketplace:invoice_csv", [shopping.invoice.pk]),
        ("marketplace:known", []),
        ("marketplace:upload_known", []),
        ("marketplace:clear_known", []),
        ("marketplace:webhook", []),
        ("marketplace:set_webhook", []),
        ("marketplace:remove_webhook", []),
        ("marketplace:try_webhook", []),
        ("marketplace:send_again", [shopping.delivery.pk]),
        ("marketplace:recalls", []),
        ("marketplace:heard", []),
        ("marketplace:recalls_csv", []),
    ]


A_LINE = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8", "quantity": 1}
# What a form of each door that changes something would send.
FORMS = {
    "crm:plan": {"body": "Hello"},
    "crm:reply": {"body": "Hello", "once": "018f0000-0000-7000-8000-000000000001"},
    "crm:add_customer": {"name": "New", "once": "018f0000-0000-7000-8000-000000000002"},
    "crm:edit_customer": {"name": "Changed", "once": "018f0000-0000-7000-8000-000000000003"},
    "crm:opt_out": {"words": "no more"},
    "leads:new": {"name": "New", "once": "018f0000-0000-7000-8000-000000000005"},
    "leads:save_view": {"name": "Mine", "filters": "person=mine"},
    "leads:move": {"to": "lost", "why": "Too far away"},
    "leads:activity": {"kind": "call", "text": "Called", "once": "018f0000-0000-7000-8000-000000000006"},
    "leads:edit": {"asked_for": "Something else"},
    "leads:follow_up": {"title": "Call them", "preset": "tomorrow"},
    "leads:deal_move": {"to": "kyc"},
    "leads:deal_edit": {"value": "100"},
    "leads:ways_times": {"answer_minutes": 10, "accept_minutes": 10},
    "marketplace:add_line": A_LINE | {"once": "018f0000-0000-7000-8000-000000000004"},
    "marketplace:change_line": A_LINE | {"quote": QUOTE, "line": 0, "quantity": 2},
    "marketplace:renew": {"quote": QUOTE},
    "marketplace:checkout": {"quote": QUOTE},
    "marketplace:download": {"profile": "csv"},
    "marketplace:ask_return": {"reason": "wrong_person"},
    "marketplace:account_settings": {"email": "new@example.com", "contact_name": "New", "phone": "+15550100009"},
    "marketplace:upload_known": {"pasted": "+15550100009"},
    "marketplace:set_webhook": {"url": "https://hooks.example.com/other"},
}
WRITING = [
    "crm:plan",
    "crm:reply",
    "crm:send_again",
    "crm:take_over",
    "crm:hand_back",
    "crm:mark_answered",
    "crm:add_customer",
    "crm:edit_customer",
    "crm:text_customer",
    "crm:opt_out",
    "crm:merge",
    "crm:undo_merge",
    "crm:task_done",
    "crm:task_reopen",
    "booking:new",
    "booking:confirm",
    "booking:move",
    "booking:cancel",
    "booking:undo_cancel",
    "booking:complete",
    "booking:no_show",
    "leads:new",
    "leads:bulk",
    "leads:save_view",
    "leads:delete_view",
    "leads:move",
    "leads:transfer",
    "leads:assess",
    "leads:activity",
    "leads:assign",
    "leads:edit",
    "leads:follow_up",
    "leads:deal_move",
    "leads:deal_accept",
    "leads:deal_decline",
    "leads:deal_give",
    "leads:deal_edit",
    "leads:ways_times",
    "leads:ways_salesperson",
    "leads:ways_rule",
    "leads:ways_rule_move",
    "leads:ways_rule_delete",
    "leads:merge",
    "leads:merge_undo",
    "marketplace:add_line",
    "marketplace:change_line",
    "marketplace:renew",
    "marketplace:checkout",
    "marketplace:download",
    "marketplace:take_file",
    "marketplace:ask_return",
    "marketplace:ask",
    "marketplace:account_settings",
    "marketplace:send_link",
    "marketplace:upload_known",
    "marketplace:clear_known",
    "marketplace:set_webhook",
    "marketplace:remove_webhook",
    "marketplace:try_webhook",
    "marketplace:send_again",
    "marketplace:heard",
]
TABLES = (
    *(Message, Activity, Customer, Consent, Conversation, Task, CustomerMerge),
    *(Lead, LeadActivity, StageChange, Assessment, Deal, DealOffer, LeadMerge, SavedView, AssignmentRule, Salesperson),
    *(PipelineSettings,),
    *(Buyer, Quote, Purchase, Sale, Return, Export, ExportDownload, KnownPhone, KnownUpload, RecallNotice, WebhookDelivery),
)  # fmt: skip


def everything():
    """All rows a page could change, to say that nothing changed."""
    with every_business():
        return {model.__name__: sorted(map(repr, model.objects.values())) for model in TABLES}


# --- Doors -----------------------------------------------------------------------------------------------------------


def test_the_list_of_doors_is_complete(life, shopping, working):
    named = {
        f"{urls.app_name}:{route.name}"
        for urls in (crm_urls, booking_urls, leads_urls, marketplace_urls)
        for route in urls.urlpatterns
    }
    assert {name for name, _ in doors(life, shopping, working)} == named - {"crm:home", "crm:theme"}


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_neighbour_gets_what_anybody_gets_for_a_business_that_does_not_exist(cast, life, shopping, working, method):
    charlie = signed_in(cast.charlie)
    before = everything()
    for name, args in doors(life, shopping, working):
        alices = getattr(charlie, method)(page(name, *args), FORMS.get(name, {}))
        nobodys = getattr(charlie, method)(page(name, *args, slug="nobody"), FORMS.get(name, {}))
        assert (alices.status_code, alices.content) == (nobodys.status_code, nobodys.content), name
        assert alices.status_code in (404, 405), name
    assert everything() == before


def test_alices_things_cannot_be_opened_through_the_neighbours_door(cast, life, shopping, working):
    charlie = signed_in(cast.charlie)
    before = everything()
    for name, args in doors(life, shopping, working):
        if args:
            for method in (charlie.get, charlie.post):
                assert method(page(name, *args, slug="charlie"), FORMS.get(name, {})).status_code in (404, 405), name
    assert everything() == before


def test_platform_staff_use_the_console_and_not_the_owners_pages(life):
    root = User.objects.create_superuser("root@example.com", "correct horse battery")
    assert signed_in(root).get(page("leads:today")).status_code == 404


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_comes_in_without_signing_in(life, shopping, working, method):
    before = everything()
    for name, args in doors(life, shopping, working):
        response = getattr(Client(), method)(page(name, *args), FORMS.get(name, {}))
        if response.status_code != 405:
            assert response.status_code == 302, name
            assert response.url.startswith("/accounts/login/?next="), name
    assert everything() == before


def test_a_part_of_a_page_says_that_one_has_been_signed_out(life):
    response = Client().get(page("crm:news", life.conversation.pk), headers={"HX-Request": "true"})
    assert response.status_code == 401


def test_a_viewer_reads_everything_and_changes_nothing(cast, life, shopping, working):
    vera = signed_in(viewer_of(cast.shop))
    before = everything()
    for name, args in doors(life, shopping, working):
        if name in WRITING:
            response = vera.post(page(name, *args), FORMS.get(name, {}))
            assert response.status_code == 403, name
            assert (
                "You may read here, not change things. Ask an owner of Alice Plumbing to make you staff."
                in words_of(response)
            )
        else:
            assert vera.get(page(name, *args)).status_code in (200, 204, 302), name
    assert everything() == before


def test_a_viewer_is_shown_no_buttons_that_would_refuse(cast, life, shopping, working):
    vera = signed_in(viewer_of(cast.shop))
    for name, args in doors(life, shopping, working):
        if name not in WRITING:
            found = re.findall(
                r'method="post" action="([^"]*)"',
                vera.get(page(name, *args), follow=True).getvalue().decode("utf-8", "replace"),
            )
            assert {action for action in found if action.startswith("/app/alice/")} == set(), name


def test_a_suspended_business_can_be_read_and_says_why_nothing_can_be_changed(cast, life, shopping, working, alice):
    Business.objects.filter(pk=cast.shop.pk).update(status="SUSPENDED")
    before = everything()
    for name, args in doors(life, shopping, working):
        if name in WRITING:
            response = alice.post(page(name, *args), FORMS.get(name, {}))
            assert response.status_code == 403, name
            assert "This business is suspended: you can read everything" in words_of(response)
    assert everything() == before
    assert "This business is suspended" in words_of(alice.get(page("crm:inbox")))


def test_every_change_asks_for_the_forgery_token(cast, life, shopping, working):
    strict = signed_in(cast.alice, enforce_csrf_checks=True)
    before = everything()
    for name, args in doors(life, shopping, working):
        if name in WRITING:
            assert strict.post(page(name, *args), FORMS.get(name, {})).status_code == 403, name
    assert strict.post(reverse("crm:theme"), {"theme": "dark"}).status_code == 403
    assert everything() == before


def test_pages_are_kept_by_nobody_on_the_way(life, alice):
    assert alice.get(page("leads:today")).headers["Cache-Control"] == "private, no-cache"


def test_pages_allow_no_inline_script_or_style_and_have_none(life, shopping, working, alice):
    for name, args in doors(life, shopping, working):
        if name not in WRITING:
            response = alice.get(page(name, *args), follow=True)
            html = response.getvalue().decode() if "html" in response.headers["Content-Type"] else ""
            assert "default-src 'self'" in response.headers["Content-Security-Policy"], name
            assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == [], name


@pytest.mark.parametrize(
    "query",
    [
        "q=" + "x" * 10_000,
        "q=%27%5C%26%7C%3A%2A%21",
        "after=zzz",
        "after=2026-11-18T15%3A00%3A00~zzz",
        "after=9999-12-31T23%3A59%3A59-14%3A00~018f0000-0000-7000-8000-000000000001",
        "before=zzz",
        "before=2026-11-18T15%3A00%3A00",
        "at=zzz",
        "show=zzz&sort=zzz&status=zzz",
        "day=zzz",
        "day=0001-01-01",
        "day=9999-12-31",
        "customer=zzz",
        "customer=018f0000-0000-7000-8000-000000000001",
        "other=zzz",
        "other=018f0000-0000-7000-8000-000000000001",
        "since=zzz",
        "since=2026-11-18T15%3A00%3A00",
        "m=zzz.queued",
        "card=zzz",
        "q=%00",
    ],
)  # fmt: skip
def test_nonsense_in_an_address_is_never_our_fault(life, shopping, working, alice, query):
    for name, args in doors(life, shopping, working):
        if name.startswith("marketplace:"):
            continue  # they read other things: see below
        if name not in WRITING or name in ("booking:new", "booking:move", "crm:merge"):
            assert alice.get(f"{page(name, *args)}?{query}").status_code < 500, name


@pytest.mark.parametrize(
    "query",
    [
        "after=zzz&q=%27%5C%26%7C%3A%2A%21",
        "after=9999-12-31T23%3A59%3A59-14%3A00~018f0000-0000-7000-8000-000000000001",
        "class=zzz&age=zzz&state=zzz&county=zzz&quantity=zzz&status=zzz&page=zzz&since=zzz",
        "state=LA&county=zzz&quantity=99999999999999999999999&show=all&since=0000-00-00",
        "quantity=%C2%B2&shown=zzz&since=9999-12-31&q=" + "x" * 5_000,
    ],
)
def test_nonsense_in_an_address_of_the_shop_is_never_our_fault(life, shopping, working, alice, query):
    for name, args in doors(life, shopping, working):
        if name.startswith("marketplace:") and name not in WRITING:
            assert alice.get(f"{page(name, *args)}?{query}").status_code < 500, name
            part = alice.get(f"{page(name, *args)}?{query}", headers={"HX-Request": "true"})
            assert part.status_code < 500, name


@pytest.mark.parametrize("word", ["\x00", "x" * 10_001, "zzz"])
def test_nonsense_in_a_form_is_never_our_fault(life, shopping, working, alice, word):
    fields = (
        "body once name phone email address notes tags words other keep slot customer service emergency tell theme next"
        " quote line classification age_bucket state county quantity remove profile reason note contact_name into_leads pasted"
        " url notice to seen why kind text at title due_at preset business_domain asked_for filters is_shared act lead value"
        " expected_on user capacity position source domain assignee set_domain first_line answer_minutes accept_minutes kept"
    )
    for name, args in doors(life, shopping, working):
        if name in WRITING:
            response = alice.post(page(name, *args), dict.fromkeys(fields.split(), word))
            assert response.status_code < 500, name
    assert alice.post(reverse("crm:theme"), {"theme": word, "next": word}).status_code == 400


# --- The front door --------------------------------------------------------------------------------------------------


def test_the_only_business_opens_at_once(cast, alice):
    assert alice.get("/", follow=True).redirect_chain == [("/app/", 302), ("/app/alice/", 302)]


def test_without_a_sign_in_the_front_page_leads_to_one():
    assert Client().get("/app/").url == "/accounts/login/?next=/app/"


def test_whoever_has_several_businesses_chooses_once_and_comes_back_to_the_last(cast, alice):
    add_member(business=cast.next_door, user=cast.alice, role=Role.STAFF)
    choice = alice.get("/app/")
    assert choice.status_code == 200
    assert re.findall(r'href="(/app/\w+/)"', choice.content.decode()) == ["/app/alice/", "/app/charlie/"]
    alice.get("/app/charlie/inbox/")
    assert alice.get("/app/").url == "/app/charlie/"


def test_whoever_belongs_to_no_business_is_told_what_to_do(db):
    nell = User.objects.create_user("nell@example.com", "correct horse battery", name="Nell")
    response = signed_in(nell).get("/app/")
    assert response.status_code == 200
    assert "Ask an owner to invite nell@example.com." in words_of(response)


def test_the_last_business_is_forgotten_with_the_membership(cast, alice):
    alice.get("/app/alice/")
    Membership.objects.filter(user=cast.alice).delete()
    assert "nobody has added you to a business yet" in words_of(alice.get("/app/"))


def test_the_switcher_keeps_the_kind_of_page(cast, life, alice):
    add_member(business=cast.next_door, user=cast.alice, role=Role.OWNER)

    def others(address):
        return re.findall(r'menu__item" href="(/app/charlie/[^"]*)"', alice.get(address).content.decode())[0]

    assert others(page("crm:inbox", show="waiting")) == "/app/charlie/inbox/"
    assert others(page("crm:thread", life.conversation.pk)) == "/app/charlie/inbox/"
    assert others(page("booking:appointment", life.job.pk)) == "/app/charlie/calendar/"
    assert others(page("booking:settings")) == "/app/charlie/settings/"


def test_the_theme_is_remembered_where_the_page_can_read_it(db):
    response = Client().post(reverse("crm:theme"), {"theme": "dark", "next": "/app/alice/inbox/?q=a"})
    assert response.url == "/app/alice/inbox/?q=a"
    cookie = response.cookies["theme"]
    assert (cookie.value, cookie["httponly"], cookie["samesite"], cookie["path"]) == ("dark", "", "Lax", "/")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_the_theme_switch_leads_nowhere_else(db, elsewhere):
    assert Client().post(reverse("crm:theme"), {"theme": "light", "next": elsewhere}).url == "/"


def test_the_navigation_counts_what_waits(cast, life, alice):
    html = alice.get(page("booking:settings")).content.decode()
    rail = html[html.index("rail__nav") :].partition("</nav>")[0]
    assert re.findall(r'/(\w*)/"[^>]*>.*?</svg>\s*(\w+)(?:<span class="count">(\d+))?', rail, re.S) == [
        ("alice", "Today", "1"),
        ("inbox", "Inbox", "1"),
        ("calendar", "Calendar", ""),
        ("leads", "Leads", ""),
        ("customers", "Customers", ""),
        ("buy", "Buy", ""),
        ("settings", "Settings", ""),
    ]


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("conversation", lambda life: page("crm:thread", life.conversation.pk)),
        (
            "message",
            lambda life: page("crm:thread", life.conversation.pk, at=life.failed.pk) + f"#message-{life.failed.pk}",
        ),
        ("task", lambda life: page("leads:today") + f"#task-{life.task.pk}"),
        ("merge", lambda life: page("crm:customer", life.jane.pk)),
        ("appointment", lambda life: page("booking:appointment", life.job.pk)),
        ("lead", lambda life: page("leads:lead", life.lead.number)),
    ],
)
def test_every_line_of_a_story_opens_its_source(life, alice, kind, target):
    things = {
        "conversation": life.conversation, "message": life.failed, "task": life.task, "merge": life.merge,
        "appointment": life.job, "lead": life.lead,
    }  # fmt: skip
    assert alice.get(page("crm:open", kind, things[kind].pk)).url == target(life)


def test_an_offer_opens_as_the_slot_it_holds(life, alice):
    with every_business():
        proposal = life.lead.proposals.get()
    assert alice.get(page("crm:open", "proposal", proposal.pk)).url == page("booking:appointment", life.offer.pk)


def test_a_line_about_nothing_that_exists_opens_nothing(life, alice):
    assert alice.get(page("crm:open", "appointment", uuid.uuid4())).status_code == 404
    assert alice.get(page("crm:open", "nonsense", life.job.pk)).status_code == 404


# --- Inbox -----------------------------------------------------------------------------------------------------------


def crowd(business, count, *, now):
    """People who wrote one after another, the last one now."""
    with only(business):
        for n in range(count):
            person(business, name=f"Person {n:02}", phone=f"+155501100{n:02}")
            write_in(business, phone=f"+155501100{n:02}", body=f"Text {n}", now=now - timedelta(minutes=count - n))


def test_the_inbox_is_newest_first_with_a_true_count_and_a_running_clock(cast, now, alice):
    crowd(cast.shop, 3, now=now)
    response = alice.get(page("crm:inbox"))
    assert titles(response) == ["Person 02", "Person 01", "Person 00"]
    assert "3 conversations" in words_of(response)
    assert f'data-clock="{int((now - timedelta(minutes=1)).timestamp())}"' in response.content.decode()


def test_only_those_who_wait_can_be_shown(cast, now, alice):
    crowd(cast.shop, 2, now=now)
    with only(cast.shop):
        Conversation.objects.filter(their_address="+15550110001").update(waiting_since=None)
    response = alice.get(page("crm:inbox", show="waiting"))
    assert titles(response) == ["Person 00"]
    assert "All 2" in words_of(response)
    assert "Waiting 1" in words_of(response)


@pytest.mark.parametrize("words", ["marc", "REED", "reed marcus", "555 010 0007", "0007", "marcus@"])
def test_a_conversation_is_found_by_the_customers_name_number_or_mail(cast, now, alice, words):
    crowd(cast.shop, 2, now=now)
    with only(cast.shop):
        marcus = person(cast.shop, name="Marcus Reed", phone="+15550100007")
        Customer.objects.filter(pk=marcus.pk).update(email="marcus@example.com")
        write_in(cast.shop, phone="+15550100007", body="Hello", now=now)
    assert titles(alice.get(page("crm:inbox", q=words))) == ["Marcus Reed"]


def test_the_next_stretch_begins_behind_the_last_row_whatever_has_come_in_since(cast, now, alice):
    crowd(cast.shop, 32, now=now)
    first = alice.get(page("crm:inbox"))
    assert titles(first) == [f"Person {n:02}" for n in range(31, 1, -1)]
    rest = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1].replace("&amp;", "&")
    crowd(cast.shop, 1, now=now + timedelta(minutes=5))  # Person 00 writes again and moves to the top
    second = alice.get(page("crm:inbox") + rest)
    assert titles(second) == ["Person 01"]
    assert "Show more" not in words_of(second)
    assert "Back to the newest" in words_of(second)


@pytest.mark.parametrize("people", [1, 3])
def test_the_inbox_asks_as_often_for_three_as_for_one(cast, now, alice, people, django_assert_num_queries):
    crowd(cast.shop, people, now=now)
    alice.get(page("crm:inbox"))
    with django_assert_num_queries(9):
        alice.get(page("crm:inbox"))


def test_an_empty_inbox_says_where_texts_come_from(cast, alice):
    assert "When a customer texts (555) 200-0001, it appears here." in words_of(alice.get(page("crm:inbox")))
    assert "Nobody found" in words_of(alice.get(page("crm:inbox", q="zzz")))
    assert "Nobody is waiting" in words_of(alice.get(page("crm:inbox", show="waiting")))


# --- Thread ----------------------------------------------------------------------------------------------------------


def send(client, life, body, *, once=None):
    return client.post(page("crm:reply", life.conversation.pk), {"body": body, "once": once or uuid.uuid4()})


def said(life):
    with every_business():
        return list(life.conversation.messages.order_by("created_at", "id").values_list("author", "body"))


def test_a_thread_shows_who_said_what_and_how_far_it_came(life, alice):
    text = words_of(alice.get(page("crm:thread", life.conversation.pk)))
    assert "Wed, Nov 18" in text
    assert "Jane Doe Hi, our AC stopped. Can someone come? 8:18 AM" in text  # Chicago's clock
    assert "This number cannot receive texts." in text


@pytest.mark.parametrize("texts", [1, 3])
def test_a_thread_asks_as_often_for_three_texts_as_for_one(cast, now, alice, texts, django_assert_num_queries):
    with only(cast.shop):
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        for n in range(texts):
            conversation = write_in(cast.shop, phone="+15550100001", body=f"Text {n}", now=now + timedelta(seconds=n))
            job = book(cast.shop, customer=jane, starts_at=now + timedelta(hours=2 + 2 * n), now=now, user=cast.alice)
            tell_customer(
                customer=jane, body="Booked.", kind=MessageKind.APPOINTMENT, now=now, about=f"appointment:{job.pk}"
            )
    alice.get(page("crm:thread", conversation.pk))
    with django_assert_num_queries(11):
        alice.get(page("crm:thread", conversation.pk))


def test_a_reply_goes_into_the_outbox_in_the_name_of_whoever_wrote_and_takes_the_conversation_over(
    cast, life, alice, now
):
    response = send(alice, life, "We can be there at 9.")
    assert response.url == page("crm:thread", life.conversation.pk)
    with every_business():
        message = Message.objects.get(body="We can be there at 9.")
        conversation = Conversation.objects.get(pk=life.conversation.pk)
    assert (message.status, message.sent_by, message.due_at) == ("queued", cast.alice, now)
    assert (conversation.human, conversation.human_until, conversation.waiting_since) == (
        cast.alice,
        now + timedelta(hours=2),
        None,
    )
    text = words_of(alice.get(response.url))
    assert "You are answering until 11:00 AM" in text
    assert "Alice We can be there at 9. 9:00 AM" in text


def test_a_double_click_sends_once(life, alice):
    once = uuid.uuid4()
    before = said(life)
    assert send(alice, life, "Hello", once=once).status_code == 302
    assert send(alice, life, "Hello", once=once).status_code == 302
    assert said(life) == [*before, ("staff", "Hello")]


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_instant_send_once(life, cast):
    once = uuid.uuid4()
    before = said(life)

    def click(client):
        try:
            return send(client, life, "Hello", once=once).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as hands:
        assert list(hands.map(click, [signed_in(cast.alice), signed_in(cast.alice)])) == [302, 302]
    assert said(life) == [*before, ("staff", "Hello")]


def test_the_box_sent_twice_with_other_words_asks_before_it_sends_again(life, alice):
    once = uuid.uuid4()
    before = said(life)
    send(alice, life, "Hello", once=once)
    response = send(alice, life, "Hello again", once=once)
    assert response.status_code == 409
    assert "The box was sent before with other words. Send again if this should go out too." in words_of(response)
    assert said(life) == [*before, ("staff", "Hello")]
    fresh = re.search(r'name="once" value="([0-9a-f-]{36})"', response.content.decode())[1]
    assert send(alice, life, "Hello again", once=fresh).status_code == 302
    assert said(life) == [*before, ("staff", "Hello"), ("staff", "Hello again")]


def test_the_same_words_twice_are_two_texts_when_they_are_meant_twice(life, alice):
    before = said(life)
    send(alice, life, "OK")
    send(alice, life, "OK")
    assert said(life) == [*before, ("staff", "OK"), ("staff", "OK")]


def test_what_cannot_be_sent_is_told_at_the_box_and_stays_in_it(cast, life, alice, now):
    before = everything()
    response = send(alice, life, "x" * 1_601)
    assert response.status_code == 422
    assert "Can't send: the message has 1,601 characters, at most 1,600 fit." in words_of(response)
    assert "x" * 1_601 in response.content.decode()
    assert everything() == before


def test_an_empty_box_sends_nothing(life, alice):
    before = everything()
    response = send(alice, life, "   ")
    assert response.status_code == 422
    assert "Write something first." in words_of(response)
    assert everything() == before


def test_somebody_who_opted_out_cannot_be_written_to(cast, life, alice, now):
    with only(cast.shop):
        consent.revoke(business=cast.shop, phone="+15550100001", source=ConsentSource.TEXT, words="stop it", now=now)
    shown = alice.get(page("crm:thread", life.conversation.pk))
    assert "Can't send: opted out on Nov 18 by text (“stop it”)." in words_of(shown)
    assert "The assistant is silent No text can go out." in words_of(shown)
    assert "The assistant is answering" not in words_of(shown)
    assert "<textarea" not in shown.content.decode()
    before = said(life)
    assert send(alice, life, "Hello?").status_code == 422
    assert said(life) == before


def test_before_a_text_is_sent_the_box_says_what_will_happen(life, alice, now):
    def outlook(body):
        return words_of(alice.post(page("crm:plan", life.conversation.pk), {"body": body})).strip()

    assert outlook("Hello") == "Sends now. 5 characters · 1 segment"
    assert outlook("") == "Sends now. 0 characters"
    assert outlook("a" * 161) == "Sends now. 161 characters · 2 segments"
    assert outlook("Hi 👍") == "Sends now. 4 characters · 1 segment “👍” shortens a segment from 160 characters to 70."
    assert outlook("x" * 1_601).startswith("Can't send: the message has 1,601 characters, at most 1,600 fit.")


def test_at_night_the_box_says_when_the_text_will_go(life, alice, now):
    with time_machine.travel(now.replace(day=19, hour=5), tick=False):  # 11 PM in Chicago
        answer = alice.post(page("crm:plan", life.conversation.pk), {"body": "Hello"})
    assert words_of(answer).strip().startswith("Will be sent tomorrow 8:00 AM your time")
    assert "segments--warning" in answer.content.decode()


def test_taking_over_and_handing_back(cast, life, alice, now):
    bob = signed_in(cast.bob)
    thread = page("crm:thread", life.conversation.pk)
    assert "The assistant is answering" in words_of(alice.get(thread))
    assert alice.post(page("crm:take_over", life.conversation.pk)).url == thread
    assert "You are answering until 11:00 AM" in words_of(alice.get(thread))
    assert "Alice is answering until 11:00 AM" in words_of(bob.get(thread))
    alice.post(page("crm:hand_back", life.conversation.pk))
    assert "The assistant is answering" in words_of(alice.get(thread))
    alice.post(page("crm:hand_back", life.conversation.pk))  # a second click leaves no second trace
    with every_business():
        told = (
            Activity.objects.filter(about=f"conversation:{life.conversation.pk}")
            .order_by("id")
            .values_list("text", flat=True)
        )
        assert list(told) == [
            "Alice took over the conversation.",
            "Alice handed the conversation back to the assistant.",
        ]


def test_a_conversation_that_needs_no_answer_leaves_the_waiting_list_once(life, alice):
    address = page("crm:mark_answered", life.conversation.pk)
    assert "Jane Doe is off the waiting list." in words_of(alice.post(address, follow=True))
    alice.post(address)
    with every_business():
        assert Conversation.objects.get(pk=life.conversation.pk).waiting_since is None
        assert Activity.objects.filter(text="Alice marked the conversation as answered.").count() == 1


def test_a_failed_text_is_sent_again_once(cast, life, alice):
    address = page("crm:send_again", life.conversation.pk, life.failed.pk)
    assert address in alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    before = said(life)
    alice.post(address)
    alice.post(address)
    assert said(life) == [*before, ("staff", "On our way.")]


def test_only_a_failed_text_of_this_thread_can_be_sent_again(life, alice):
    with every_business():
        other = life.conversation.messages.exclude(pk=life.failed.pk).first()
    assert alice.post(page("crm:send_again", life.conversation.pk, other.pk)).status_code == 404


def ask_for_news(client, html):
    address = re.search(r'id="news" hx-get="([^"]+)"', html)[1].replace("&amp;", "&")
    return client.get(address, headers={"HX-Request": "true"})


def test_a_page_that_asks_learns_of_new_texts_once(cast, life, alice, now):
    html = alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    assert ask_for_news(alice, html).status_code == 204
    with only(cast.shop):
        write_in(cast.shop, phone="+15550100001", body="Are you there?", now=now)
    news = ask_for_news(alice, html)
    assert news.status_code == 200
    assert words_of(news).count("Are you there?") == 1
    assert "our AC stopped" not in words_of(news)
    assert ask_for_news(alice, news.content.decode()).status_code == 204


@pytest.mark.parametrize("texts", [1, 3])
def test_asking_for_news_costs_the_same_for_three_texts_as_for_one(
    cast, life, alice, now, texts, django_assert_num_queries
):
    html = alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    with only(cast.shop):
        for n in range(texts):
            write_in(cast.shop, phone="+15550100001", body=f"Text {n}", now=now + timedelta(seconds=n))
    with django_assert_num_queries(6):  # the ledger among them: the bar must not say that a silenced assistant answers
        assert ask_for_news(alice, html).status_code == 200


def test_a_text_that_committed_late_is_not_missed(cast, life, alice, now):
    with only(cast.shop):
        write_in(cast.shop, phone="+15550100001", body="second", now=now, sid="SM2")
    html = alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    with only(cast.shop):
        write_in(cast.shop, phone="+15550100001", body="first", now=now - timedelta(seconds=1), sid="SM1")
    news = ask_for_news(alice, html)
    assert "first" in words_of(news)
    assert "second" not in words_of(news)


def test_a_page_that_asks_learns_how_far_a_text_has_come(life, alice, now):
    send(alice, life, "On my way")
    html = alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    with every_business():
        message = Message.objects.get(body="On my way")
        Message.objects.filter(pk=message.pk).update(status=MessageStatus.DELIVERED, delivered_at=now)
    assert f"#message-{message.pk}" in re.search(r'hx-select-oob="([^"]*)"', html)[1]
    news = ask_for_news(alice, html)
    assert f'id="message-{message.pk}"' in news.content.decode()
    assert 'hx-swap-oob="beforeend:#thread"' not in news.content.decode()
    assert "Delivered" in news.content.decode()
    assert ask_for_news(alice, news.content.decode()).status_code == 204


def test_a_page_that_asks_learns_that_somebody_else_took_over(cast, life, alice):
    html = alice.get(page("crm:thread", life.conversation.pk)).content.decode()
    signed_in(cast.bob).post(page("crm:take_over", life.conversation.pk))
    assert "Bob is answering until 11:00 AM" in words_of(ask_for_news(alice, html))


def test_older_texts_come_by_the_page_and_none_is_lost(cast, alice, now):
    with only(cast.shop):
        for n in range(60):
            conversation = write_in(
                cast.shop, phone="+15550100001", body=f"Text {n:02}", now=now + timedelta(seconds=n // 2), sid=f"SM{n}"
            )
    newest = alice.get(page("crm:thread", conversation.pk))
    earlier = re.search(r'href="([^"]*before=[^"]*)"', newest.content.decode())[1]
    older = alice.get(earlier.replace("&amp;", "&"))
    found = [re.findall(r"Text \d\d", words_of(response)) for response in (older, newest)]
    listed = [text for texts in found for text in dict.fromkeys(texts)]
    assert set(listed) >= {f"Text {n:02}" for n in range(60)}
    assert "To the newest message" in words_of(older)
    assert 'id="news"' not in older.content.decode()


def test_a_link_to_an_old_text_opens_the_page_it_is_on(cast, alice, now):
    with only(cast.shop):
        for n in range(80):
            conversation = write_in(
                cast.shop, phone="+15550100001", body=f"Text {n:02}", now=now + timedelta(seconds=n), sid=f"SM{n}"
            )
        old = conversation.messages.get(body="Text 05")
    assert f'id="message-{old.pk}"' not in alice.get(page("crm:thread", conversation.pk)).content.decode()
    assert f'id="message-{old.pk}"' in alice.get(page("crm:thread", conversation.pk, at=old.pk)).content.decode()


def test_an_offer_and_the_job_it_became_are_one_card_at_the_last_text_about_it(cast, life, alice, now):
    with only(cast.shop):
        paul = Customer.objects.get(pk=life.lead.customer_id)
        proposal = life.lead.proposals.get()
        for about in (f"proposal:{proposal.pk}", f"appointment:{proposal.appointment_id}"):
            tell_customer(customer=paul, body="About your AC.", kind=MessageKind.OFFER, now=now, about=about)
        conversation = Conversation.objects.get(customer=paul)
    html = alice.get(page("crm:thread", conversation.pk)).content.decode()
    assert re.findall(r'id="card-([0-9a-f-]{36})"', html) == [str(proposal.appointment_id)]
    assert "Offered" in html


# --- Customers -------------------------------------------------------------------------------------------------------


def test_customers_are_listed_newest_first_or_by_name(cast, life, alice):
    assert "3 customers" in words_of(alice.get(page("crm:customers")))
    assert titles(alice.get(page("crm:customers", sort="name"))) == ["Jane Doe", "Marcus Reed", "Paul Ray"]
    assert titles(alice.get(page("crm:customers", q="reed"))) == ["Marcus Reed"]
    assert titles(alice.get(page("crm:customers", q="555-010-0002"))) == ["Paul Ray"]


@pytest.mark.parametrize("people", [1, 3])
def test_the_customers_page_asks_as_often_for_three_as_for_one(cast, now, alice, people, django_assert_num_queries):
    crowd(cast.shop, people, now=now)
    alice.get(page("crm:customers"))
    with django_assert_num_queries(8):
        alice.get(page("crm:customers"))


@pytest.mark.parametrize("things", [1, 3])
def test_a_customers_page_asks_as_often_for_three_things_as_for_one(
    cast, now, alice, things, django_assert_num_queries
):
    with only(cast.shop):
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        for n in range(things):
            write_in(cast.shop, phone="+15550100001", body=f"Text {n}", now=now + timedelta(seconds=n))
            book(cast.shop, customer=jane, starts_at=now + timedelta(hours=2 + 2 * n), now=now, user=cast.alice)
    alice.get(page("crm:customer", jane.pk))
    with django_assert_num_queries(17):
        alice.get(page("crm:customer", jane.pk))


def test_a_customers_page_tells_facts_consent_visits_and_the_story(life, alice):
    response = alice.get(page("crm:customer", life.jane.pk))
    text = words_of(response)
    assert "(555) 010-0001" in text
    assert "They agreed to texts on Nov 18, 2026, by text." in text
    assert "AC Repair" in text
    assert "Merged with J. Doe." in text
    assert page("crm:open", "appointment", life.job.pk) in response.content.decode()


@pytest.mark.parametrize(
    ("show", "seen", "unseen"),
    [
        ("texts", "Hi, our AC stopped.", "Booked AC Repair"),
        ("visits", "Booked AC Repair", "Hi, our AC stopped."),
        ("office", "Merged with J. Doe.", "Booked AC Repair"),
        ("consent", "Nothing of this kind has happened yet.", "Booked AC Repair"),
    ],
)
def test_the_story_can_be_told_by_kind(life, alice, show, seen, unseen):
    html = alice.get(page("crm:customer", life.jane.pk, show=show)).content.decode()
    story = html[html.index('id="story"') :]
    assert seen in story
    assert unseen not in story


def test_the_story_is_read_on_without_losing_lines_of_the_same_moment(cast, alice, now):
    with only(cast.shop):
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        for n in range(45):
            # fifteen transactions of three lines each
            services.note(
                business=cast.shop, customer=jane, verb="note", text=f"Line {n:02}", now=now - timedelta(minutes=n // 3)
            )
    found, address = [], page("crm:customer", jane.pk)
    while address:
        html = alice.get(address).content.decode()
        found += re.findall(r"Line \d\d", html)
        link = re.search(r'href="(\?before=[^"#]*)#story"', html)
        address = page("crm:customer", jane.pk) + link[1].replace("&amp;", "&") if link else ""
    assert sorted(found) == [f"Line {n:02}" for n in range(45)]


def add(client, **fields):
    return client.post(page("crm:add_customer"), {"once": uuid.uuid4(), **fields})


def test_a_customer_is_added_by_hand(cast, alice):
    response = add(alice, name="Ana Pérez", phone="(555) 123-4567", tags="VIP,  gate   code, VIP")
    with every_business():
        ana = Customer.objects.get()
    assert response.url == page("crm:customer", ana.pk)
    assert (ana.name, ana.phone, ana.phone_raw, ana.tags) == (
        "Ana Pérez",
        "+15551234567",
        "(555) 123-4567",
        ["VIP", "gate code"],
    )
    assert "Ana Pérez is on file." in words_of(alice.get(response.url))


def test_a_double_click_adds_one_customer(cast, alice):
    once = uuid.uuid4()
    first, second = (add(alice, name="Ana", once=once) for _ in range(2))
    assert first.url == second.url
    with every_business():
        assert Customer.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "Give at least a name or a phone number."),
        ({"name": "Ana", "phone": "12"}, "Phone number: '12' is not a phone number we can reach."),
        ({"name": "Ana", "email": "ana"}, "Enter a valid email address."),
        ({"name": "Ana", "tags": "x" * 41}, "A tag has at most 40 characters."),
        ({"name": "Ana", "tags": ",".join(map(str, range(21)))}, "At most 20 tags fit."),
    ],
)
def test_a_customer_that_makes_no_sense_is_not_added(cast, alice, fields, sentence):
    response = add(alice, **fields)
    assert response.status_code == 422
    assert sentence in words_of(response)
    with every_business():
        assert Customer.objects.count() == 0


def test_a_number_that_is_on_file_names_who_has_it(life, alice):
    before = everything()
    response = add(alice, name="Somebody", phone="555 010 0001")
    assert response.status_code == 422
    assert "A customer with this phone number is already on file." in words_of(response)
    assert page("crm:customer", life.jane.pk) in response.content.decode()
    assert everything() == before


def test_a_customer_is_corrected_and_the_story_says_so(life, alice):
    shown = alice.get(page("crm:edit_customer", life.jane.pk)).content.decode()
    assert 'value="(555) 010-0001"' in shown
    fields = {"name": "Jane D. Doe", "phone": "(555) 010-0001", "address": "12 Oak St", "notes": "Dog.\r\nGate 4."}
    response = alice.post(page("crm:edit_customer", life.jane.pk), {"once": uuid.uuid4(), **fields})
    assert response.url == page("crm:customer", life.jane.pk)
    with every_business():
        jane = Customer.objects.get(pk=life.jane.pk)
        told = Activity.objects.get(customer=jane, verb="edited")
        assert (jane.name, jane.phone, jane.notes) == ("Jane D. Doe", "+15550100001", "Dog.\nGate 4.")
        assert (told.text, told.actor.email) == ("Edited: name, notes.", "alice@example.com")


def test_a_correction_onto_somebody_elses_number_changes_nothing(life, alice):
    before = everything()
    response = alice.post(
        page("crm:edit_customer", life.marcus.pk), {"once": uuid.uuid4(), "name": "Marcus", "phone": "5550100001"}
    )
    assert response.status_code == 422
    assert "A customer with this phone number is already on file." in words_of(response)
    assert everything() == before


def test_an_opt_out_told_to_a_person_is_written_down_with_their_words(cast, life, alice):
    response = alice.post(page("crm:opt_out", life.jane.pk), {"words": "stop texting me"}, follow=True)
    text = words_of(response)
    assert "Written down. Jane Doe gets no more texts." in text
    assert "They opted out on Nov 18 recorded by staff (“stop texting me”). Nothing is sent to them." in text
    with every_business():
        line = Consent.objects.filter(action="revoke").get()
    assert (line.phone, line.words, line.recorded_by) == ("+15550100001", "stop texting me", cast.alice)


def test_an_opt_out_without_their_words_is_not_written_down(life, alice):
    before = everything()
    response = alice.post(page("crm:opt_out", life.jane.pk), {"words": ""})
    assert response.status_code == 422
    assert "Write what they said: it is the proof." in words_of(response)
    assert everything() == before


def test_a_text_is_started_to_somebody_who_never_wrote(cast, life, alice):
    with only(cast.shop):
        ana = person(cast.shop, name="Ana", phone="+15550100009")
    response = alice.post(page("crm:text_customer", ana.pk))
    with only(cast.shop):
        conversation = Conversation.objects.get(customer=ana)
    assert response.url == page("crm:thread", conversation.pk)
    assert "Can't send: they have not agreed to texts, and nothing is on record from this number." in words_of(
        alice.get(response.url)
    )
    assert alice.post(page("crm:text_customer", ana.pk)).url == response.url


def test_nobody_without_a_number_can_be_texted(life, alice):
    response = alice.post(page("crm:text_customer", life.marcus.pk), follow=True)
    assert "There is no phone number on file for this customer." in words_of(response)


def test_two_who_are_one_are_merged_after_a_look_and_can_be_taken_apart(life, alice):
    assert set(titles(alice.get(page("crm:merge", life.jane.pk)))) == {"Marcus Reed", "Paul Ray"}
    preview = alice.get(page("crm:merge", life.jane.pk, other=life.marcus.pk))
    assert "Merge Marcus Reed into Jane Doe" in words_of(preview)
    assert "marcus@example.com" in words_of(preview)
    merged = alice.post(page("crm:merge", life.jane.pk), {"other": life.marcus.pk, "keep": "this"}, follow=True)
    assert merged.redirect_chain == [(page("crm:customer", life.jane.pk), 302)]
    assert "Marcus Reed is now part of Jane Doe." in words_of(merged)
    with every_business():
        merge = CustomerMerge.objects.get(dropped=life.marcus)
        assert Customer.objects.get(pk=life.jane.pk).email == "marcus@example.com"
    assert page("crm:undo_merge", merge.pk) in merged.content.decode()
    assert alice.get(page("crm:customer", life.marcus.pk)).url == page("crm:customer", life.jane.pk)

    undone = alice.post(page("crm:undo_merge", merge.pk), follow=True)
    assert "Marcus Reed stands alone again." in words_of(undone)
    with every_business():
        assert Customer.objects.get(pk=life.marcus.pk).merged_into is None
        assert Customer.objects.get(pk=life.jane.pk).email == ""
    assert "This merge was undone already." in words_of(alice.post(page("crm:undo_merge", merge.pk), follow=True))


def test_the_other_of_two_can_be_the_one_who_stays(life, alice):
    assert "Merge Jane Doe into Marcus Reed" in words_of(
        alice.get(page("crm:merge", life.jane.pk, other=life.marcus.pk, keep="other"))
    )
    response = alice.post(page("crm:merge", life.jane.pk), {"other": life.marcus.pk, "keep": "other"})
    assert response.url == page("crm:customer", life.marcus.pk)


def test_a_customer_is_not_merged_with_themselves_or_with_the_neighbours(cast, life, alice, now):
    with only(cast.next_door):
        theirs = person(cast.next_door, name="Jane Doe", phone="+15550100001")
    before = everything()
    response = alice.post(page("crm:merge", life.jane.pk), {"other": life.jane.pk, "keep": "this"}, follow=True)
    assert "Choose two different customers of the same business." in words_of(response)
    assert alice.post(page("crm:merge", life.jane.pk), {"other": theirs.pk, "keep": "this"}).status_code == 404
    assert everything() == before


# --- Tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_done_and_can_be_put_back(cast, life, alice):
    done = alice.post(page("crm:task_done", life.task.pk), follow=True)
    assert done.redirect_chain == [(page("leads:today"), 302)]
    assert "Done: Call Jane about her AC" in words_of(done)
    assert page("crm:task_reopen", life.task.pk) in done.content.decode()
    with every_business():
        assert Task.objects.get(pk=life.task.pk).done_by == cast.alice
    assert "This was done already: Call Jane about her AC" in words_of(
        alice.post(page("crm:task_done", life.task.pk), follow=True)
    )

    back = alice.post(page("crm:task_reopen", life.task.pk), follow=True)
    assert "Back on the list: Call Jane about her AC" in words_of(back)
    with every_business():
        assert Task.objects.get(pk=life.task.pk).done_at is None


def test_an_offer_to_undo_is_made_once(life, alice):
    alice.post(page("crm:task_done", life.task.pk))
    assert page("crm:task_reopen", life.task.pk) in alice.get(page("crm:inbox")).content.decode()
    assert page("crm:task_reopen", life.task.pk) not in alice.get(page("crm:inbox")).content.decode()
