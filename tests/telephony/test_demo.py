"""The demo: made once, carried on day by day, taken away without a trace, and never in anybody's way."""

from __future__ import annotations

import io
import re
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings
from django.urls import reverse

from booking import catalogue, reminders, slots
from booking.enums import OCCUPYING, UPCOMING, AppointmentStatus
from booking.models import Appointment, WeeklyHours
from crm import messaging
from crm.enums import Author, ConsentAction, MessageStatus, TaskReason
from crm.keys import uuid7
from crm.models import (
    Activity,
    ApiKey,
    Business,
    Consent,
    Conversation,
    Customer,
    Membership,
    Message,
    Task,
    User,
)
from crm.scoping import every_business, only
from crm.segments import count
from leads.enums import IntakeStatus
from leads.models import Lead, Proposal
from leads.queries.today import untouched
from marketplace import demo as marketplace
from marketplace import queries
from marketplace.allocation import Criterion
from marketplace.enums import AgeBucket, Classification, ExportProfile, GoneBecause, ReturnReason
from marketplace.models import (
    AgedLead,
    Buyer,
    Export,
    ExportDownload,
    IngestRun,
    Invoice,
    PricingRule,
    Purchase,
    RecallNotice,
    Return,
    Sale,
)
from marketplace.services import books, exports, inventory, invoices, known, landing, purchases, recalls, returns
from telephony.demo import access, diary, services, today, words
from telephony.demo.businesses import ACME, BRISTOL, DEMO, JANE_PHONE, NEXTGEN, DemoBusiness
from telephony.demo.people import everybody, regulars
from telephony.gateways import simulated
from telephony.models import InboundEvent, SimulatedText
from tests.conftest import open_shop
from tests.marketplace.stock import a_buyer
from tests.marketplace.truths import everything, untruths
from tests.pages import signed_in

# A Friday, 11:40 in Kansas.
FRIDAY = datetime(2026, 11, 20, 17, 40, tzinfo=UTC)
ORDERS = 6  # of the buyer who logs in
FAST_PASSWORDS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="module")
def _seeded(django_db_setup: None, django_db_blocker, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The demo on a Friday morning, made once for this module and taken back at its end. Tests work in savepoints."""
    folder = tmp_path_factory.mktemp("data")
    with (
        django_db_blocker.unblock(),
        override_settings(PASSWORD_HASHERS=FAST_PASSWORDS, DATA_DIR=folder),
        transaction.atomic(),
    ):
        seeded = services.seed(now=FRIDAY)
        yield SimpleNamespace(seeded=seeded, folder=Path(folder))
        transaction.set_rollback(True)


@pytest.fixture
def demo(_seeded: SimpleNamespace, db: None) -> Iterator[SimpleNamespace]:
    with every_business():
        rows = {row.slug: row for row in Business.objects.all()}
        yield SimpleNamespace(acme=rows["t_acme"], bristol=rows["bristol"], nextgen=rows["nextgen"], **vars(_seeded))


@pytest.fixture
def no_demo(db: None, settings, tmp_path) -> None:
    """An installation the demo has never been on."""
    settings.PASSWORD_HASHERS = FAST_PASSWORDS
    settings.DATA_DIR = tmp_path
    services.remove()


def not_buying_leads() -> list[Business]:
    """Without the buyers of the marketplace, who stay when the demo is made anew."""
    return list(Business.objects.filter(buyer=None))


def rows_of_everything() -> dict[str, int]:
    return {model._meta.label: model._base_manager.count() for model in apps.get_models(include_auto_created=True)}


# --- Who is in it ---------------------------------------------------------------------------------------------------


def test_nobody_in_it_has_a_number_somebody_could_own():
    numbers = [person.phone for demo in DEMO for person in everybody(demo)]
    numbers += [number for demo in DEMO for number in (demo.number, demo.owner_phone)]

    assert len(numbers) == len(set(numbers))
    assert [number for number in numbers if not re.fullmatch(r"\+1(555\d{7}|\d{3}55501\d\d)", number)] == []


@pytest.mark.parametrize("demo", DEMO, ids=lambda demo: demo.slug)
def test_no_two_customers_of_a_business_share_a_name(demo: DemoBusiness):
    names = [person.name for person in everybody(demo)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("demo", DEMO, ids=lambda demo: demo.slug)
def test_the_receptionist_understands_every_opening_as_the_service_it_is_meant_for(demo: DemoBusiness):
    entries = [catalogue.ServiceEntry(id=uuid7(), name=one.name, aliases=one.aliases) for one in demo.services]
    understood = {
        opening: [match.service.name for match in catalogue.match(opening, entries)]
        for openings in words.OPENINGS[demo.slug].values()
        for opening in openings
    }

    assert understood == {
        opening: [name] for name, openings in words.OPENINGS[demo.slug].items() for opening in openings
    }
    assert sorted(words.OPENINGS[demo.slug]) == sorted(one.name for one in demo.services)


def test_bristol_does_the_seven_jobs_at_their_lengths_and_prices():
    assert [(one.name, one.minutes, one.price_low, one.price_high) for one in BRISTOL.services] == [
        ("Tankless Water Heater", 240, 2500, 4500),
        ("Water Heater", 120, 1500, 2800),
        ("Drain and Sewer", 90, 350, 900),
        ("Sump Pump", 90, 600, 1500),
        ("Fixtures and Leaks", 60, 150, 450),
        ("Gas Line", 120, 800, 2500),
        ("General Plumbing", 60, 200, 600),
    ]


def test_the_med_spa_keeps_its_hours_and_never_texts_whose_treatment_it_is(demo):
    hours = WeeklyHours.objects.filter(business=demo.nextgen).values_list("weekday", "opens", "closes")
    assert list(hours) == [(day, time(9), time(19)) for day in range(5)] + [(5, time(9), time(15))]
    assert len(NEXTGEN.services) == 13

    about_visits = Message.objects.filter(business=demo.nextgen, kind__in=("offer", "appointment", "reminder", "alert"))
    assert about_visits.count() > 500
    assert [one.name for one in NEXTGEN.services if about_visits.filter(body__icontains=one.name).exists()] == []


# --- The diary ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demo", DEMO, ids=lambda demo: demo.slug)
def test_the_diary_tells_the_same_story_in_one_go_and_day_by_day(demo: DemoBusiness):
    start = FRIDAY - timedelta(days=10)

    def told(*stops: datetime) -> list[diary.Request]:
        calendar = diary.Calendar(taken={1: [], 2: []}, off={}, last_seen={})
        spans = zip((start, *stops[:-1]), stops, strict=True)
        return [
            one for since, until in spans for one in diary.requests(demo, calendar=calendar, since=since, until=until)
        ]

    at_once = told(FRIDAY)

    assert len(at_once) > 20
    assert told(*(start + timedelta(days=n) for n in range(1, 11))) == at_once


def test_nobody_in_the_diary_is_in_two_places_at_once():
    calendar = diary.Calendar(taken={1: [], 2: []}, off={}, last_seen={})
    list(diary.requests(BRISTOL, calendar=calendar, since=FRIDAY - timedelta(days=30), until=FRIDAY))

    for spans in calendar.taken.values():
        ordered = sorted(spans, key=lambda span: span.start)
        overlaps = [(a, b) for a, b in zip(ordered, ordered[1:], strict=False) if a.end > b.start]
        assert overlaps == []
        assert len(ordered) > 30


def test_time_off_is_time_off():
    away = slots.Interval(FRIDAY, FRIDAY + timedelta(days=5))
    calendar = diary.Calendar(taken={1: []}, off={1: [away]}, last_seen={})
    told = list(diary.requests(ACME, calendar=calendar, since=FRIDAY - timedelta(days=3), until=FRIDAY))

    visits = [one.slot for one in told if one.slot is not None]
    assert visits
    assert [slot for slot in visits if slot.start < away.end and slot.end > away.start] == []


# --- What stands there after the first run --------------------------------------------------------------------------


@pytest.mark.parametrize("slug", [demo.slug for demo in DEMO])
def test_every_state_of_a_lead_and_of_a_visit_can_be_seen(demo, slug):
    leads = set(Lead.objects.filter(business__slug=slug).values_list("status", flat=True))
    visits = set(Appointment.objects.filter(business__slug=slug).values_list("status", flat=True))

    assert leads == set(IntakeStatus.values)
    assert visits == set(AppointmentStatus.values)


@pytest.mark.parametrize("slug", [demo.slug for demo in DEMO])
def test_today_has_somebody_waiting_something_to_do_and_an_untouched_lead(demo, slug):
    waiting = Conversation.objects.filter(business__slug=slug).waiting_for_reply()
    tasks = Task.objects.filter(business__slug=slug).open()

    assert waiting.count() == 2
    assert waiting.filter(human_until__gt=FRIDAY).count() == 1
    assert Counter(tasks.values_list("reason", flat=True)) == {
        TaskReason.ASKED_A_PERSON: 2,
        TaskReason.NO_CAPACITY: 1,
        TaskReason.NOT_DELIVERED: 1,
        TaskReason.WANTS_CANCEL: 1,
    }
    assert untouched(Business.objects.get(slug=slug)).get().created_at == FRIDAY - timedelta(minutes=9)
    assert Message.objects.get(business__slug=slug, status=MessageStatus.FAILED).error_code == "30005"


def test_there_were_two_emergencies_before_and_one_is_today(demo):
    emergencies = Appointment.objects.filter(is_emergency=True)

    assert emergencies.filter(starts_at__lt=FRIDAY - timedelta(days=7), status=AppointmentStatus.COMPLETED).count() == 2
    fresh = emergencies.get(starts_at__gt=FRIDAY)
    assert (fresh.business, fresh.status, fresh.created_at) == (
        demo.bristol,
        "SCHEDULED",
        FRIDAY - timedelta(minutes=25),
    )


@pytest.mark.parametrize("slug", [demo.slug for demo in DEMO])
def test_six_weeks_lie_behind_and_the_next_days_are_not_empty(demo, slug):
    visits = Appointment.objects.filter(business__slug=slug).exclude(status=AppointmentStatus.RELEASED)

    assert visits.order_by("starts_at").first().starts_at < FRIDAY - timedelta(days=40)
    assert visits.filter(status=AppointmentStatus.COMPLETED).count() > 100
    assert visits.filter(starts_at__gt=FRIDAY, status__in=UPCOMING).count() >= 8
    assert visits.filter(starts_at__gt=FRIDAY + timedelta(days=3), status__in=UPCOMING).count() >= 3


def test_what_is_over_is_over_and_what_is_to_come_is_to_come(demo):
    assert Appointment.objects.filter(status__in=OCCUPYING, ends_at__lte=FRIDAY).count() == 0
    over = (AppointmentStatus.COMPLETED, AppointmentStatus.NO_SHOW)
    assert Appointment.objects.filter(status__in=over, ends_at__gt=FRIDAY).count() == 0
    assert Message.objects.filter(created_at__gt=FRIDAY).count() == 0
    assert Activity.objects.filter(at__gt=FRIDAY).count() == 0
    assert Customer.objects.filter(created_at__gt=FRIDAY).count() == 0


def test_nothing_is_left_for_a_worker_to_send(demo):
    assert Message.objects.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING)).count() == 0


def test_nobody_is_reminded_a_second_time(demo):
    assert Message.objects.filter(kind="reminder").count() > 100
    assert reminders.send_due(now=FRIDAY) == 0
    assert reminders.send_due(now=FRIDAY + timedelta(days=2, hours=20)) > 0


def test_our_book_and_the_carriers_agree_on_every_text(demo):
    ours = set(Message.objects.values_list("provider_sid", "body", "from_number", "to_number"))
    carriers = set(SimulatedText.objects.values_list("sid", "body", "from_number", "to_number"))

    assert ours == carriers
    assert len(ours) > 2_000


def test_every_text_of_ours_is_one_or_two_parts_of_plain_letters(demo):
    bodies = Message.objects.filter(direction="outbound").values_list("body", flat=True).distinct()

    dear = [body for body in bodies if count(body).encoding != "GSM-7" or count(body).segments > 2]
    assert dear == []


def test_nobody_was_texted_without_having_agreed_before(demo):
    agreed = {
        (line.business_id, line.phone): line.at
        for line in Consent.objects.filter(action=ConsentAction.GRANT).order_by("-at")
    }
    texts = Message.objects.filter(direction="outbound", audience="customer")
    early = [text for text in texts if agreed[text.business_id, text.to_number] > text.created_at]

    assert early == []


def test_those_who_opted_out_stay_opted_out(demo):
    lines = Consent.objects.filter(action=ConsentAction.REVOKE).select_related("business")

    assert {line.business for line in lines} == {demo.acme, demo.bristol, demo.nextgen}
    for line in lines:
        texts = Message.objects.filter(to_number=line.phone, created_at__gt=line.at)
        assert list(texts.values_list("kind", flat=True)) == []
        day = f"{line.at.astimezone(line.business.zone):%b %-d}"
        assert messaging.why_not(
            business=line.business, phone=line.phone, body="Hello", author=Author.STAFF, now=FRIDAY
        ) == (f"Can't send: opted out on {day} by text (“Please stop texting me”).")


def test_a_chat_from_janes_number_finds_acme(demo, client):
    answer = client.post(
        "/chat/inbound", {"from_phone": JANE_PHONE, "text": "need ac repair asap"}, content_type="application/json"
    ).json()

    assert (answer["status"], answer["tenant_id"], answer["service"]) == ("PROPOSED", "t_acme", "AC Repair")


def test_a_text_from_janes_number_gets_an_offer_with_her_name(demo):
    delivery = simulated.text_us(from_number=JANE_PHONE, to_number=ACME.number, body="need ac repair asap")

    assert delivery.replies[0].startswith("Hi Jane, Acme HVAC can do AC Repair ")


def test_the_accounts_open_the_right_doors(demo):
    passwords = demo.seeded.passwords

    assert sorted(passwords) == sorted(account.email for account in access.accounts())
    for email, password in passwords.items():
        assert User.objects.get(email=email).check_password(password)
    members = Membership.objects.order_by("business__slug", "role").values_list("business__slug", "user__email", "role")
    assert list(members) == [
        ("bristol", "owner@bristol.example", "owner"),
        ("bristol", "staff@bristol.example", "staff"),
        ("harbor", "owner@harbor.example", "owner"),
        ("nextgen", "owner@nextgen.example", "owner"),
        ("nextgen", "staff@nextgen.example", "staff"),
        ("t_acme", "owner@acme.example", "owner"),
        ("t_acme", "staff@acme.example", "staff"),
    ]
    assert [user.email for user in User.objects.filter(is_superuser=True)] == ["staff@frontdesk.example"]


def test_the_passwords_are_kept_for_their_owner_only(demo):
    file = demo.folder / "demo_login.txt"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert demo.seeded.passwords["owner@acme.example"] in file.read_text()


def test_keys_are_shown_when_they_are_made(demo):
    assert Counter((key.business, key.kind) for key in demo.seeded.keys) == {
        (name, kind): 1
        for name in ("Acme HVAC", "Bristol Plumbing", "NextGen MedSpa", "Harbor Home Protection")
        for kind in ("API", "Owner", "Chat widget")
    }
    assert ApiKey.objects.count() == 12


# --- The marketplace ------------------------------------------------------------------------------------------------


def test_there_are_leads_of_every_kind_and_a_price_for_each(demo):
    there = queries.cells(queries.Filter(), now=FRIDAY)
    kinds = {(cell.classification, cell.age_bucket) for cell in there}

    assert kinds == set(product(Classification.values, AgeBucket.values)) == set(queries.rules_in_force(now=FRIDAY))
    assert {cell.state for cell in there} == {"LA", "TX", "FL", "GA", "MS"}
    assert sum(cell.available for cell in there) > 2_500


def test_no_lead_has_a_number_somebody_could_own(demo):
    numbers = {number for pair in AgedLead.objects.values_list("phone", "other_phone") for number in pair if number}

    assert len(numbers) > 3_000
    assert [number for number in numbers if not re.fullmatch(r"\+1\d{3}55501\d\d", number)] == []


def test_seven_weeks_of_trade_have_left_something_on_every_page(demo):
    harbor, summit, keystone = (Buyer.objects.get(business__slug=one.slug) for one in marketplace.BUYERS)

    assert Counter(Purchase.objects.values_list("business__slug", flat=True)) == {"harbor": ORDERS, "summit": 2}
    assert ExportDownload.objects.count() == Export.objects.filter(status="ready").count() == ORDERS + 2
    assert Counter(Return.objects.values_list("business", "status")) == {
        (harbor.pk, "replaced"): 1, (harbor.pk, "declined"): 1, (harbor.pk, "requested"): 1,
    }  # fmt: skip
    notice = RecallNotice.objects.get()
    assert (notice.business_id, notice.acknowledged_at) == (harbor.pk, None)
    assert Invoice.objects.get().business_id == harbor.pk
    assert (summit.terms, summit.balance > 0, harbor.balance < 0) == ("prepaid", True, True)
    assert (keystone.status, keystone.approved_at, keystone.may_buy) == ("pending", None, False)
    assert Sale.objects.filter(sold_at__gt=FRIDAY).count() == 0


def test_a_price_has_changed_and_another_will(demo):
    changed = PricingRule.objects.filter(classification="Silver", age_bucket="MONTH_24_PLUS").order_by("effective_from")
    planned = PricingRule.objects.get(effective_from__gt=FRIDAY)

    assert [str(rule.price) for rule in changed] == ["3.00", "3.25"]
    assert Sale.objects.filter(pricing_rule__in=changed).count() > 0
    assert (planned.classification, planned.age_bucket, str(planned.price)) == ("Gold", "MONTH_3_TO_5", "11.00")


def test_some_rows_of_the_file_could_not_be_taken_and_say_why(demo):
    run = IngestRun.objects.get()

    assert (run.status, run.total_rows, run.successful) == ("done", 3_600, 3_600 - run.failed - run.skipped)
    assert run.problems.count() == run.failed + run.skipped
    assert run.failed > 0
    assert run.skipped > 0


def test_the_marketplace_of_the_demo_is_in_order(demo):
    assert books.check_books() == []
    assert inventory.miscounted() == []
    assert untruths() == []
    recalls.hear_opt_outs(now=FRIDAY)  # of those who said STOP to the other three
    before = everything()
    recalls.look_again(now=FRIDAY)
    assert {name for name, digest in everything().items() if digest != before[name]} <= {"crm_heartbeat"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("browse", "Gold"), ("purchases", r"P-\d+"), ("returns", "Somebody else answers"), ("recalls", "opted out"),
        ("account", "Harbor Home Protection"), ("invoices", r"I-\d+"),
    ],
)  # fmt: skip
def test_the_buyers_pages_have_something_to_show(demo, name, says):
    hannah = signed_in(User.objects.get(email="owner@harbor.example"))

    with time_machine.travel(FRIDAY, tick=False):
        page = hannah.get(reverse(f"marketplace:{name}", args=["harbor"]))

    assert page.status_code == 200
    assert re.search(says, page.content.decode())


def test_somebody_elses_buyer_of_that_name_is_left_alone(demo):
    Business.objects.filter(slug="summit").update(owner_email="sam@example.com")
    before = everything()

    assert services.seed(now=FRIDAY).left_alone == ["summit"]

    assert everything() == before


# --- Again, and tomorrow --------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(demo):
    before = rows_of_everything()

    again = services.seed(now=FRIDAY)
    later_that_day = services.seed(now=FRIDAY + timedelta(hours=5))

    assert rows_of_everything() == before
    assert (again.keys, again.passwords) == ([], demo.seeded.passwords)
    assert (later_that_day.keys, later_that_day.passwords) == ([], demo.seeded.passwords)


def test_made_again_on_the_same_day_it_is_the_same_demo(demo):
    def visits() -> list[tuple]:
        rows = Appointment.objects.order_by(
            "business__slug", "starts_at", "created_at", "staff__name", "customer__phone"
        )
        return list(
            rows.values_list("business__slug", "customer__phone", "service_name", "starts_at", "staff__name", "status")
        )

    before, texts = visits(), Counter(Message.objects.values_list("created_at", "body"))

    services.remove()
    services.seed(now=FRIDAY)

    assert visits() == before
    assert Counter(Message.objects.values_list("created_at", "body")) == texts


@pytest.mark.parametrize("days", [1, 3, 9, 60])
def test_days_later_the_story_has_gone_on(demo, days):
    then = FRIDAY + timedelta(days=days, hours=-2)
    texts = Message.objects.count()

    services.seed(now=then)

    assert Message.objects.count() > texts
    for business in (demo.acme, demo.bristol, demo.nextgen):
        visits = Appointment.objects.filter(business=business)
        assert visits.filter(status__in=UPCOMING, ends_at__lte=then).count() == 0
        assert visits.filter(status__in=UPCOMING, starts_at__gt=then).count() >= 4
        assert Conversation.objects.filter(business=business).waiting_for_reply().count() == 2
        assert untouched(business).count() == 1
        assert Task.objects.filter(business=business).open().count() == 5
        assert (
            Proposal.objects.filter(business=business, created_at__lt=then - timedelta(days=1)).unanswered().count()
            == 0
        )
    assert Message.objects.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING)).count() == 0
    before = rows_of_everything()
    services.seed(now=then)
    assert rows_of_everything() == before


def test_what_a_visitor_began_is_not_finished_for_them(demo):
    simulated.text_us(from_number="+15550100177", to_number=ACME.number, body="do you repair ships")
    simulated.text_us(from_number="+15550100177", to_number=ACME.number, body="a big one")

    services.seed(now=FRIDAY + timedelta(days=1))

    with only(demo.acme):
        thread = Conversation.objects.get(their_address="+15550100177")
        assert thread.waiting_since is not None
        assert Task.objects.filter(customer=thread.customer).open().count() == 1


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("on a Sunday", datetime(2026, 11, 22, 19, 0, tzinfo=UTC)),
        ("before sunrise on a Monday", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("late at night", datetime(2026, 11, 25, 3, 50, tzinfo=UTC)),
        ("on the day the clocks change", datetime(2026, 3, 8, 18, 0, tzinfo=UTC)),
    ],
)
def test_it_looks_right_whenever_it_is_made(no_demo, name, moment):
    services.seed(now=moment, aged_leads=0)

    with every_business():
        for demo in DEMO:
            business = Business.objects.get(slug=demo.slug)
            zone = ZoneInfo(demo.zone)
            visits = Appointment.objects.filter(business=business)
            assert visits.filter(status__in=UPCOMING, ends_at__lte=moment).count() == 0
            assert visits.filter(status__in=UPCOMING, starts_at__gt=moment).count() >= 6
            assert Conversation.objects.filter(business=business).waiting_for_reply().count() == 2
            assert Task.objects.filter(business=business).open().count() == 5
            told = Message.objects.filter(business=business, author=Author.STAFF).values_list("created_at", flat=True)
            by_night = [at for at in told if not 7 <= at.astimezone(zone).hour < 22]
            assert by_night == []
        assert Message.objects.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING)).count() == 0


def test_every_walk_in_of_a_day_is_another_person():
    for demo in DEMO:
        assert len(everybody(demo)) - len(regulars(demo)) == 3 * today._A_DAY


# --- Nobody else's --------------------------------------------------------------------------------------------------


def test_taking_the_demo_away_touches_nobody_else(demo):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001")
    simulated.text_us(from_number="+15550100001", to_number="+15552000001", body="ac repair please")
    simulated.text_us(from_number="+15550100001", to_number="+15552000001", body="1")
    tenant = (Customer, Conversation, Message, Consent, Appointment, Lead, Proposal, Activity)

    def alices() -> list[int]:
        return [model.objects.filter(business=shop).count() for model in tenant]

    before, carried = alices(), SimulatedText.objects.filter(from_number="+15550100001").count()

    assert sorted(services.remove()) == ["Acme HVAC", "Bristol Plumbing", "NextGen MedSpa"]

    assert alices() == before
    assert SimulatedText.objects.filter(from_number="+15550100001").count() == carried == 2
    assert not_buying_leads() == [shop]
    buyers = [one.slug for one in marketplace.BUYERS]
    others = [model.objects.exclude(business=shop).exclude(business__slug__in=buyers) for model in tenant]
    assert [rows.count() for rows in others] == [0] * len(tenant)
    assert InboundEvent.objects.exclude(business=shop).count() == 0
    assert User.objects.filter(email="owner@acme.example").exists()


def test_what_a_demo_business_has_bought_is_for_sale_again_when_it_goes(demo):
    """A visitor made it a buyer, and traded."""
    acme = demo.acme
    before = queries.available(queries.Filter(), now=FRIDAY)
    a_buyer(acme, return_percent=100)
    books.top_up(business=acme, amount=Decimal(100), reference="wire 1", actor=None, now=FRIDAY)
    with only(acme):
        bought = purchases.buy_by_criteria(
            business=acme, criteria=[Criterion("Gold", "MONTH_6_TO_8", 3, "LA")], by="", now=FRIDAY
        )
        for sale_id, decide in zip(bought.sale_ids, (returns.accept, returns.decline), strict=False):
            row = returns.ask(
                business=acme, sale_id=sale_id, reason=ReturnReason.OTHER, note="", by="", now=FRIDAY
            )  # fmt: skip
            decide(row=row, actor=None, decision="Because.", now=FRIDAY)
        exports.ready_or_build(business=acme, purchase=bought.purchase, profile=ExportProfile.CSV, by="", now=FRIDAY)
        gone = Sale.objects.select_related("lead").get(pk=bought.sale_ids[2]).lead
    assert landing.land_due(now=FRIDAY) > 3
    known.upload(business=acme, file=io.BytesIO(b"+15045550101\n"), name="ours.csv", actor=None, now=FRIDAY)
    invoices.issue(business=acme, until=FRIDAY + timedelta(days=1), now=FRIDAY + timedelta(days=1))
    recalls.forget(phone=gone.phone, because=GoneBecause.OPTED_OUT, told_by="", now=FRIDAY)

    services.remove()

    assert not Buyer.objects.filter(pk=acme.pk).exists()
    recalls.look_again(now=FRIDAY)
    assert queries.available(queries.Filter(), now=FRIDAY) == before - 1  # but for the one who opted out
    assert untruths() == []


def test_the_ledger_is_closed_again_afterwards(demo):
    services.remove()
    services.seed(now=FRIDAY)

    with pytest.raises(Exception, match="append-only"), transaction.atomic():
        Consent.objects.all().delete()


def test_somebody_elses_business_of_that_name_is_left_alone(no_demo):
    theirs = open_shop("t_acme", name="Acme of Ohio", number="+15552010001")

    seeded = services.seed(now=FRIDAY, aged_leads=0)

    assert seeded.left_alone == ["t_acme"]
    assert sorted(row.slug for row in services.demo_businesses()) == ["bristol", "nextgen"]
    assert Membership.objects.filter(business=theirs).count() == 0
    with every_business():
        assert Customer.objects.filter(business=theirs).count() == 0
    services.remove()
    assert not_buying_leads() == [theirs]


# --- The commands ---------------------------------------------------------------------------------------------------


def test_a_reset_asks_for_a_clear_yes(demo):
    before = rows_of_everything()

    with pytest.raises(CommandError, match=r"^This would delete .* Repeat with --yes to do it\.$"):
        call_command("demo_reset")

    assert rows_of_everything() == before


def test_a_reset_makes_everything_anew(demo):
    old = demo.acme.pk
    said = StringIO()

    call_command("demo_reset", "--yes", stdout=said)

    assert "Making the demo anew" in said.getvalue()
    assert Business.objects.get(slug="t_acme").pk != old
    assert said.getvalue().count("fd_api_") == 3


def test_seeding_says_where_to_look_and_how_to_log_in(demo):
    said = StringIO()

    call_command("seed_demo", stdout=said)

    lines = said.getvalue().splitlines()
    assert lines[0] == "  /simulator/   two phones to play with, no login needed: text “need ac repair asap”"
    assert (
        f"      owner@acme.example         {demo.seeded.passwords['owner@acme.example']}    Acme HVAC, owner" in lines
    )
    assert "fd_api_" not in said.getvalue()


def test_with_a_real_carrier_the_demo_stays_out(no_demo, settings):
    settings.CARRIER = "twilio"
    said = StringIO()

    call_command("seed_demo", stdout=said)

    assert said.getvalue() == "This installation texts through a real carrier, so the demo stays out of it.\n"
    assert not_buying_leads() == []


def test_a_lost_login_file_means_new_passwords(demo, settings, tmp_path):
    settings.DATA_DIR = tmp_path

    passwords = services.seed(now=FRIDAY).passwords

    assert passwords["owner@acme.example"] != demo.seeded.passwords["owner@acme.example"]
    assert User.objects.get(email="owner@acme.example").check_password(passwords["owner@acme.example"])
