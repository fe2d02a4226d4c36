"""The pipeline in the staff console: leads and deals are moved, given, scored and merged apart; leads come in by file."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile

from crm.enums import Role
from crm.models import Activity, AuditEvent, Business, Consent, Customer, Message, User
from crm.scoping import every_business
from crm.services import add_customer, add_member
from leads.enums import DealStage, OfferStatus, Stage
from leads.models import (
    Assessment,
    AssignmentRule,
    Deal,
    DealOffer,
    Lead,
    LeadMerge,
    PipelineSettings,
    Salesperson,
    SavedView,
    StageChange,
)
from leads.services import assessing, duplicates, sales, watching
from leads.services.pipeline import Contact
from tests.console import add_of, choose, confirm, errors_of, list_of, page_of, told
from tests.leads.console_rows import a_lead, qualified

PASSWORD = "correct horse battery"
SAM = Contact(name="Sam Stone")
IMPORT, PROCESS, EXPORT = (f"/admin/leads/lead/{page}/" for page in ("import", "process_import", "export"))


@pytest.fixture(autouse=True)
def _nine_o_clock_everywhere(now):
    with time_machine.travel(now, tick=False), every_business():
        yield


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", PASSWORD, name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue)
    return client


def ann(business: Business, now, **fields) -> Customer:
    fields = {"name": "Ann Ames", "phone": "+15551234501"} | fields
    return add_customer(business=business, fields=fields, actor=None, now=now)


def of_ann(cast, now, lead: Lead) -> Lead:
    Lead.objects.filter(pk=lead.pk).update(customer=ann(cast.shop, now))
    return Lead.objects.get(pk=lead.pk)


def found(console, model, **query) -> list:
    return list(console.get(list_of(model), query).context["cl"].result_list)


def audited() -> list[tuple]:
    return [(event.target, event.action, event.changes) for event in AuditEvent.objects.order_by("pk")]


# --- The list --------------------------------------------------------------------------------------------------------


def test_leads_are_found_by_number_by_person_and_by_what_one_asks(console, cast, now):
    PipelineSettings.objects.create(business=cast.next_door, third_line="Air conditioning", answer_minutes=30)
    old = of_ann(cast, now, qualified(cast.shop, cast.alice, now=now - timedelta(hours=1)))
    theirs = a_lead(
        cast.next_door, cast.charlie, now=now - timedelta(hours=1), source="form", domain="third", contact=SAM
    )
    fresh = a_lead(cast.next_door, cast.charlie, now=now, source="api", domain="", contact=SAM)
    dropped = a_lead(cast.shop, cast.alice, now=now)
    duplicates.merge_leads(kept=old, dropped=dropped, user=cast.alice, now=now)

    for query, wanted in {
        ("q", f"#{old.number}"): [old],
        ("q", "ann am"): [old],
        ("q", "1234501"): [old],
        ("of", "charlie"): [fresh, theirs],
        ("stage__exact", "qualified"): [old],
        ("waiting", "yes"): [fresh, theirs],
        ("waiting", "late"): [theirs],
        ("waiting", "no"): [],
        ("score", "high"): [old],
        ("score", "low"): [],
        ("score", "none"): [dropped, fresh, theirs],
        ("score", "overdue"): [theirs],
        ("line", "third"): [theirs],
        ("line", "none"): [fresh],
        ("merged", "yes"): [dropped],
        ("merged", "no"): [fresh, theirs, old],
    }.items():
        assert found(console, Lead, **dict([query])) == wanted, query
    page = console.get(list_of(Lead)).content.decode()
    assert "Air conditioning" in page
    assert '<span class="state state--failed">1\xa0hour</span>' in page


# --- One lead --------------------------------------------------------------------------------------------------------


def test_a_lead_tells_why_it_has_its_score_and_who_was_asked(console, cast, now):
    Salesperson.objects.create(business=cast.shop, user=cast.bob, created_at=now)
    lead = of_ann(cast, now, qualified(cast.shop, cast.alice, now=now))
    sales.transfer(lead=lead, by=assessing.FRONTDESK, now=now)
    page = console.get(page_of(lead)).content.decode()
    for words in (
        "<strong>0.60</strong> = 0.60 by the rules, +0.00 by reading, +0.00 by silence.",
        "Partner leads have higher conversion rates.",
        "rules only",
        "qualified to transferred: Score 0.60",
        "Bob Burns: waiting for an answer",
        f"Lead {lead.number}, Ann Ames",
    ):
        assert words in page, words


def lead_form(**changes: str) -> dict[str, str]:
    return {"business_domain": "first", "asked_for": "", "notes": "", "name": "", "phone": "", "email": ""} | changes


def test_an_edit_goes_through_the_service_and_leaves_a_trace(console, cast, now):
    lead = a_lead(cast.shop, cast.alice, now=now)
    console.post(
        page_of(lead), lead_form(business_domain="second", asked_for="Boiler", name="Ann", phone="555 123 4501")
    )
    lead.refresh_from_db()
    assert (lead.business_domain, lead.asked_for, lead.stage) == ("second", "Boiler", "new")
    assert (lead.customer.name, lead.customer.phone, Consent.objects.count()) == ("Ann", "+15551234501", 0)
    called = f"lead {lead.number}"
    assert audited() == [
        (called, "lead edited", {"business_domain": ["first", "second"], "asked_for": ["", "Boiler"]}),
        (called, "contact of a lead changed", {"name": ["", "Ann"], "phone": ["", "+15551234501"]}),
    ]
    console.post(page_of(lead), lead_form(business_domain="second", asked_for="Boiler", name="Ann", phone="5551234501"))
    assert AuditEvent.objects.count() == 2


def test_a_contact_that_cannot_be_is_refused_and_nothing_changes(console, cast, now):
    lead = of_ann(cast, now, a_lead(cast.shop, cast.alice, now=now))
    ann(cast.shop, now, name="Ben", phone="+15551234502")
    kept = lead_form(name="Ann Ames", phone="+15551234501", notes="New")
    for change, sentence in (
        (
            {"phone": "12"},
            "Phone number: '12' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567.",
        ),
        ({"phone": "+15551234502"}, "This number is Ben's. Merge the two customers instead."),
        ({"name": ""}, "It is on file. To take it away, open the customer."),
    ):
        assert errors_of(console.post(page_of(lead), kept | change)) == [sentence]
    lead.refresh_from_db()
    assert (lead.notes, lead.customer.name, lead.customer.phone) == ("", "Ann Ames", "+15551234501")
    assert audited() == []


# --- Actions on leads ------------------------------------------------------------------------------------------------


def test_leads_are_moved_one_by_one_and_each_refusal_is_told(console, cast, now):
    first, second = of_ann(cast, now, a_lead(cast.shop, cast.alice, now=now)), qualified(cast.shop, cast.alice, now=now)
    moves = StageChange.objects.count()
    asked = choose(console, "move_on", first, second)
    assert f"Lead {first.number}, Ann Ames, new, of Alice Plumbing" in asked.content.decode()
    assert [stage for stage, _ in asked.context["form"].fields["stage"].choices] == ["contacted", "qualified", "lost"]
    assert (StageChange.objects.count(), audited()) == (moves, [])

    assert told(confirm(console, "move_on", first, second, stage="contacted", why="Rang")) == [
        f"Lead {second.number}: From Qualified a lead goes to Transferred or Lost.",
        "1 moved to Contacted.",
    ]
    assert [Lead.objects.get(pk=lead.pk).stage for lead in (first, second)] == ["contacted", "qualified"]
    assert audited() == [(f"lead {first.number}", "lead moved", {"stage": ["new", "contacted"]})]
    again = confirm(console, "move_on", first, stage="lost", why=" ")
    assert again.context["form"].errors == {"why": ["Write in a few words why it was lost: the reports learn from it."]}
    assert confirm(console, "move_on", first, stage="transferred").context["form"].errors["stage"]
    assert Lead.objects.get(pk=first.pk).stage == "contacted"


def test_leads_are_given_to_the_team_of_their_one_business(console, cast, now):
    viewer = User.objects.create_user("vera@example.com", PASSWORD, name="Vera")
    add_member(business=cast.shop, user=viewer, role=Role.VIEWER)
    first, second = (a_lead(cast.shop, cast.alice, now=now) for _ in range(2))
    theirs = a_lead(cast.next_door, cast.charlie, now=now)
    assert told(choose(console, "assign", first, theirs)) == [
        "These leads belong to Alice Plumbing and Charlie Cooling. Choose leads of one business: each has its own team."
    ]
    form = choose(console, "assign", first).context["form"]
    assert [name for _, name in form.fields["who"].choices] == [
        "Choose somebody", "Alice Ames (alice@example.com)", "Bob Burns (bob@example.com)", "Nobody: it is everybody's",
    ]  # fmt: skip
    assert confirm(console, "assign", first, who=str(cast.charlie.pk)).context["form"].errors["who"]
    assert Lead.objects.get(pk=first.pk).assigned_to is None

    assert told(confirm(console, "assign", first, who=str(cast.bob.pk))) == ["1 given to Bob Burns."]
    assert told(confirm(console, "assign", first, second, who=str(cast.bob.pk))) == [
        f"Lead {first.number}: that was so already.",
        "1 given to Bob Burns.",
    ]
    assert told(confirm(console, "assign", first, who="nobody")) == ["1 now everybody's."]
    assert [Lead.objects.get(pk=lead.pk).assigned_to for lead in (first, second, theirs)] == [None, cast.bob, None]
    assert [action for _, action, _ in audited()] == ["lead assigned"] * 3


def test_leads_are_scored_and_go_to_sales_when_the_rules_let_them(console, cast, now):
    ready, vague = qualified(cast.shop, cast.alice, now=now), a_lead(cast.shop, cast.alice, now=now, domain="")
    choose(console, "score_again", vague)
    assert not Assessment.objects.filter(lead=vague).exists()
    assert told(confirm(console, "score_again", vague)) == ["1 scored."]
    assert Lead.objects.get(pk=vague.pk).score == Decimal("0.30")

    choose(console, "transfer", ready)
    assert not Deal.objects.exists()
    assert told(confirm(console, "transfer", ready, vague)) == [
        f"Lead {vague.number}: Lead must have a business domain to be transferred.",
        "1 transferred to sales.",
    ]
    deal = Deal.objects.get()
    assert (deal.lead, Lead.objects.get(pk=vague.pk).stage) == (ready, "new")
    assert told(confirm(console, "transfer", ready)) == [
        f"Lead {ready.number}: Cannot change stage of a transferred lead."
    ]
    assert audited() == [
        (f"lead {vague.number}", "lead scored", {"score": ["", "0.30"]}),
        (
            f"lead {ready.number}",
            "lead transferred",
            {"stage": ["qualified", "transferred"], "deal": ["", str(deal.number)]},
        ),
    ]


def test_staff_who_may_only_look_do_nothing(client, cast, now):
    lead = qualified(cast.shop, cast.alice, now=now)
    deal = sales.transfer(lead=qualified(cast.shop, cast.alice, now=now), by=assessing.FRONTDESK, now=now)
    helper = User.objects.create_user("helper@example.com", PASSWORD, is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["view_lead", "view_deal"]))
    client.force_login(helper)
    for row, actions in ((lead, ("move_on", "assign", "score_again", "transfer")), (deal, ("move_on", "give"))):
        page = client.get(page_of(row))
        assert (page.status_code, page.context.get("staff_actions")) == (200, [])
        for action in actions:
            confirm(client, action, row, stage="lost", why="x", who=str(cast.bob.pk))
    assert client.post(page_of(lead), lead_form(notes="x")).status_code == 403
    for address in (IMPORT, PROCESS):
        assert client.post(address, {}).status_code == 403
    assert (Lead.objects.get(pk=lead.pk).stage, Deal.objects.get().stage, audited()) == ("qualified", "new", [])


# --- Deals -----------------------------------------------------------------------------------------------------------


def test_deals_are_moved_and_given_away(console, cast, now):
    Salesperson.objects.create(business=cast.shop, user=cast.bob, created_at=now)
    deal = sales.transfer(
        lead=of_ann(cast, now, qualified(cast.shop, cast.alice, now=now)), by=assessing.FRONTDESK, now=now
    )
    theirs = sales.transfer(lead=qualified(cast.next_door, cast.charlie, now=now), by=assessing.FRONTDESK, now=now)
    assert found(console, Deal, q=str(deal.number)) == found(console, Deal, q="Ann A") == [deal]
    assert found(console, Deal, taken="no") == [theirs, deal]
    assert found(console, DealOffer, q=str(deal.number), state="open") == list(deal.offers.all())
    assert told(choose(console, "give", deal, theirs)) == [
        "These deals belong to Alice Plumbing and Charlie Cooling. Choose deals of one business: each has its own team."
    ]
    assert told(confirm(console, "give", deal, who=str(cast.alice.pk))) == ["1 given to Alice Ames."]
    assert told(confirm(console, "give", deal, who=str(cast.alice.pk))) == [
        f"Deal {deal.number}, Ann Ames: that was so already."
    ]
    assert (Deal.objects.get(pk=deal.pk).owner, deal.offers.get().status) == (cast.alice, OfferStatus.WITHDRAWN)
    assert told(confirm(console, "move_on", deal, theirs, stage="agreement")) == [
        f"Deal {deal.number}, Ann Ames: From New a deal goes to Checking identity or Lost.",
        f"Deal {theirs.number}, Lead {theirs.lead.number}: From New a deal goes to Checking identity or Lost.",
    ]
    assert told(confirm(console, "move_on", deal, stage="kyc")) == ["1 moved to Checking identity."]
    assert Deal.objects.get(pk=deal.pk).stage == DealStage.KYC
    assert audited() == [
        (f"deal {deal.number}", "deal given", {"owner": ["nobody", str(cast.alice)]}),
        (f"deal {deal.number}", "deal moved", {"stage": ["new", "kyc"]}),
    ]


# --- Merges and ways -------------------------------------------------------------------------------------------------


def test_a_merge_of_leads_is_taken_apart_once(console, cast, now):
    kept, dropped = a_lead(cast.shop, cast.alice, now=now), a_lead(cast.shop, cast.alice, now=now)
    merge = duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=now)
    assert found(console, LeadMerge, q=str(kept.number)) == found(console, LeadMerge, q=str(dropped.number)) == [merge]
    pair = f"Lead {dropped.number}, merged into Lead {kept.number}"
    assert pair in choose(console, "undo", merge).content.decode()
    on_it = f"Lead {dropped.number}: This lead was merged into another one. Work on that one."
    assert told(confirm(console, "move_on", dropped, stage="contacted")) == [on_it]
    assert told(confirm(console, "assign", dropped, who=str(cast.bob.pk))) == [on_it]
    assert console.post(page_of(dropped), lead_form(notes="x")).status_code == 403
    dropped.refresh_from_db()
    assert (dropped.merged_into, dropped.stage, dropped.assigned_to, dropped.notes) == (kept, "new", None, "")
    assert told(confirm(console, "undo", merge)) == [
        f"Lead {dropped.number} and Lead {kept.number} are two leads again."
    ]
    assert Lead.objects.get(pk=dropped.pk).merged_into is None
    assert told(confirm(console, "undo", merge)) == [f"{pair}: This merge was undone already."]
    assert [action for _, action, _ in audited()] == ["lead merge undone"]


def test_salespeople_and_rules_are_of_the_team_and_changes_leave_a_trace(console, cast, now):
    form = {
        "business": str(cast.shop.pk),
        "user": str(cast.charlie.pk),
        "takes_offers": "on",
        "capacity": "5",
        "phone": "1",
    }
    assert sorted(errors_of(console.post(add_of(Salesperson), form))) == [
        "Phone number: '1' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567.",
        "charlie@example.com does not work for Alice Plumbing. Add them under its members first.",
    ]
    rule = {"business": str(cast.shop.pk), "position": "1", "source": "scanner", "assignee": str(cast.charlie.pk)}
    assert errors_of(console.post(add_of(AssignmentRule), rule)) == [
        "charlie@example.com does not work for Alice Plumbing. Add them under its members first."
    ]
    assert (Salesperson.objects.count(), AssignmentRule.objects.count(), audited()) == (0, 0, [])

    console.post(add_of(Salesperson), form | {"user": str(cast.bob.pk), "phone": "(555) 200-7777"})
    somebody = Salesperson.objects.get()
    assert (somebody.user, somebody.phone, somebody.created_at) == (cast.bob, "+15552007777", now)
    console.post(add_of(AssignmentRule), rule | {"assignee": str(cast.bob.pk)})
    assert a_lead(cast.shop, cast.alice, now=now, source="scanner").assigned_to == cast.bob
    ways = {"business": str(cast.shop.pk), "first_line": "Heating", "answer_minutes": "0", "accept_minutes": "15"}
    assert errors_of(console.post(add_of(PipelineSettings), ways)) == [
        "Ensure this value is greater than or equal to 1."
    ]
    console.post(add_of(PipelineSettings), ways | {"answer_minutes": "10"})
    console.post(page_of(PipelineSettings.objects.get()), ways | {"answer_minutes": "20"})
    assert audited()[-1] == (
        "pipeline settings of alice",
        "pipeline settings changed",
        {"answer_minutes": ["10", "20"]},
    )
    view = SavedView.objects.create(business=cast.shop, user=cast.bob, name="Hot", created_at=now)
    console.post(page_of(view).replace("/change/", "/delete/"), {"post": "yes"})
    assert not SavedView.objects.exists()
    assert audited()[-1][1] == "saved view deleted"


# --- Import ----------------------------------------------------------------------------------------------------------


def upload(console, business: Business, content: str, name: str = "leads.csv"):
    file = SimpleUploadedFile(name, content.encode())
    return console.post(IMPORT, {"business": str(business.pk), "import_file": file, "resource": "0", "format": "0"})


def take(console, preview):
    form = preview.context["confirm_form"]
    return console.post(PROCESS, {name: form[name].value() for name in form.fields}, follow=True)


def shown(preview) -> list[tuple]:
    return [(row.number, row.import_type, row.cells) for row in preview.context["result"].rows]


def wrong(preview) -> list[tuple]:
    return [(row["number"], row["sentences"]) for row in preview.context["wrong_rows"]]


FILE = """\
Reference,Source,Line,Name,Phone,E-mail,Asked for,Notes,Favourite colour
A-1,partner,heating,Ben Burns,(555) 123-4502,ben@example.com,Boiler,Call late,blue
A-2,Scanner,,,,,,,
A-1,partner,,Ben again,,,,,
"""


def test_a_preview_shows_what_would_come_in_and_writes_nothing(console, cast):
    PipelineSettings.objects.create(business=cast.shop, first_line="Heating")
    preview = upload(console, cast.shop, FILE)
    ben = ["A-1", "Partner", "heating", "Ben Burns", "+15551234502", "ben@example.com", "Boiler", "Call late", "New"]
    assert shown(preview) == [
        (2, "new", ben),
        (3, "new", ["A-2", "Scanner", "", "", "", "", "", "", "New"]),
        (4, "skip", ["A-1", "Partner", "", "Ben again", "", "", "", "", "New"]),
    ]
    assert "Nothing has been written yet." in preview.content.decode()
    assert "Import into Alice Plumbing" in preview.content.decode()
    assert (Lead.objects.count(), Customer.objects.count(), audited()) == (0, 0, [])


def test_a_file_is_taken_whole_texts_nobody_and_may_come_twice(console, cast, sue, now):
    PipelineSettings.objects.create(business=cast.shop, first_line="Heating")
    assert told(take(console, upload(console, cast.shop, FILE))) == ["Imported: 2 new, 1 on file already."]
    ben, nobody = Lead.objects.order_by("number")
    assert (ben.event_id, ben.source, ben.business_domain, ben.asked_for, ben.notes, ben.stage, ben.rescore_at) == (
        "A-1", "partner", "first", "Boiler", "Call late", "new", now,
    )  # fmt: skip
    assert (ben.customer.name, ben.customer.phone, ben.customer.email) == (
        "Ben Burns",
        "+15551234502",
        "ben@example.com",
    )
    assert (nobody.event_id, nobody.source, nobody.customer) == ("A-2", "scanner", None)
    assert [note.text for note in Activity.objects.all()] == ["New lead (partner), put down by Sue Staff."]
    file = {"file": ["", "leads.csv"], "new": ["", "2"], "skip": ["", "1"]}
    assert audited() == [("leads of alice", "leads imported", file)]

    assert told(take(console, upload(console, cast.shop, FILE))) == ["Imported: 0 new, 3 on file already."]
    assert watching.tell_late(now=now + timedelta(hours=1)) == 0
    assert (Lead.objects.count(), Customer.objects.count(), Activity.objects.count()) == (2, 1, 1)
    assert (Message.objects.count(), Consent.objects.count()) == (0, 0)


def test_a_number_is_read_where_the_business_is_and_a_reference_next_door_is_another(console, cast, now):
    Business.objects.filter(pk=cast.shop.pk).update(region="GB")
    a_lead(cast.next_door, cast.charlie, now=now, event_id="A-1")
    take(console, upload(console, cast.shop, "reference;source;phone\nA-1;manual;020 7946 0018\n"))
    assert [lead.customer.phone for lead in Lead.objects.filter(business=cast.shop)] == ["+442079460018"]
    assert Lead.objects.count() == 2


def test_bad_rows_are_named_and_nothing_of_the_file_comes_in(console, cast):
    rows = [
        "source,line,phone,email,stage,asked_for",
        "manual,First line,,,,",
        "text,Roofing,12,no address,qualified,",
        "",
        f"form,,,,new,{'x' * 201}",
    ]
    preview = upload(console, cast.shop, "\n".join(rows))
    assert wrong(preview) == [
        (
            3,
            [
                "“text” is not a source of leads in a file. Write one of manual, partner, scanner, form.",
                "“Roofing” is no line of business here. Write one of First line, Second line, Third line.",
                "Phone number: '12' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567.",
                "“no address” is not an e-mail address.",
                "A lead comes in as new, not as “qualified”. Move it once it is here.",
            ],
        ),
        (5, ["“asked_for” may have up to 200 characters; this has 201."]),
    ]
    assert "Nothing has been imported" in preview.content.decode()
    assert "confirm_form" not in preview.context
    assert (Lead.objects.count(), audited()) == (0, [])


def test_a_row_that_went_bad_since_the_preview_stops_the_whole_file(console, cast):
    preview = upload(console, cast.shop, "source,phone\nscanner,\nmanual,5551234501\n")
    Business.objects.filter(pk=cast.shop.pk).update(region="NO")  # where numbers have eight digits
    assert told(take(console, preview)) == [
        "Nothing was imported: something has changed since the preview. Look at it again."
    ]
    assert (Lead.objects.count(), Customer.objects.count(), audited()) == (0, 0, [])


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("name\nAnn\n", "a.csv", "The first row has to name the columns, and one of them is “source”. These are read: "
         "reference, source, line, name, phone, email, asked_for, notes, stage."),
        ("source,e-mail,email\nmanual,,\n", "a.csv", "Two columns are called “email”. Rename one of them."),
        ("source\n\n", "a.csv", "There is no row below the heading."),
        ("source\n" + "manual\n" * 2_001, "a.csv",
         "This file has 2,001 rows. Up to 2,000 fit in one import: split it into parts."),
        ("[]", "a.json", "Choose a .csv file. A spreadsheet saves one by “Save as… CSV UTF-8”."),
    ],
    ids=["heading", "twice", "empty", "too long", "kind"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_what_to_do(console, cast, content, name, sentence):
    assert upload(console, cast.shop, content, name).context["form"].errors == {"import_file": [sentence]}


# --- Export ----------------------------------------------------------------------------------------------------------


def test_an_export_is_the_list_as_it_is_filtered_and_runs_no_formula(console, cast, now):
    lead = of_ann(cast, now, qualified(cast.shop, cast.alice, now=now, asked_for="=HYPERLINK(1)", notes="@SUM(1)"))
    dropped = a_lead(cast.shop, cast.alice, now=now)
    duplicates.merge_leads(kept=lead, dropped=dropped, user=cast.alice, now=now)
    a_lead(cast.shop, cast.alice, now=now)
    a_lead(cast.next_door, cast.charlie, now=now)
    content = console.post(EXPORT, {"business": str(cast.shop.pk)}).content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(content)))) == 2
    response = console.post(EXPORT + "?stage__exact=qualified", {"business": str(cast.shop.pk)})
    assert list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig")))) == [
        {
            "number": str(lead.number), "reference": "", "source": "partner", "stage": Stage.QUALIFIED,
            "line": "First line", "score": "0.60", "name": "Ann Ames", "phone": "+15551234501", "email": "",
            "asked_for": "'=HYPERLINK(1)", "notes": "'@SUM(1)", "assigned_to": "",
            "created_at": "2026-11-18T15:00:00+00:00",
        }
    ]  # fmt: skip
    name = "leads-alice-2026-11-18.csv"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    changes = {"file": ["", name], "rows": ["", "1"], "filter": ["", "stage__exact=qualified"]}
    assert audited()[-1] == ("leads of alice", "leads exported", changes)
