"""Who may buy: an account is opened by a stranger, proved by a mail, decided by staff, and never given away."""

from __future__ import annotations

import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail, signing
from django.core.cache import cache
from django.core.exceptions import ValidationError
from structlog.testing import capture_logs

from crm.enums import Role
from crm.models import AuditEvent, Business, Membership, User
from crm.scoping import every_business, only
from crm.services import Refused, add_member
from marketplace.allocation import Criterion
from marketplace.enums import BuyerStatus
from marketplace.models import Buyer, Purchase
from marketplace.services import buyers, purchases
from marketplace.services.buyers import BadLink
from marketplace.services.purchases import CannotBuy
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, an_item, start_prices

PASSWORD = "correct horse battery"
SITE = "https://desk.example.com"


@pytest.fixture
def mails(django_capture_on_commit_callbacks):
    """Do something, let it commit, and read what was sent since."""

    def after(action, **arguments):
        mail.outbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            action(**arguments)
        return list(mail.outbox)

    return after


def a_stranger(**fields):
    values = {
        "company": "Dawn Mortgage", "contact_name": "Dana Dole", "email": "dana@example.com", "phone": "+15550104444",
        "password": PASSWORD, "time_zone": "America/Denver", "site": SITE,
    }  # fmt: skip
    return values | fields


def link_in(letter):
    return re.search(r"/buyers/verify/(\S+)/$", letter.body, re.MULTILINE)[1]


def counts():
    return User.objects.count(), Business.objects.count(), Membership.objects.count(), Buyer.objects.count()


def stands(business):
    buyer = Buyer.objects.get(business=business)
    return buyer.status, buyer.email, buyer.email_verified_at, buyer.approved_at


def trail(business):
    return list(AuditEvent.objects.filter(business=business).order_by("at", "pk").values_list("action", flat=True))


# --- Signing up --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_stranger_becomes_a_person_a_business_and_a_buyer_who_waits(now, mails):
    (letter,) = mails(buyers.sign_up, **a_stranger(company="  Dawn\n Mortgage "), now=now)
    business = Business.objects.get()
    assert (business.slug, business.name, business.time_zone) == ("dawn-mortgage", "Dawn Mortgage", "America/Denver")
    member = Membership.objects.get()
    assert (member.business, member.role, member.user.email) == (business, Role.OWNER, "dana@example.com")
    assert (member.user.is_active, member.user.check_password(PASSWORD)) == (False, True)
    assert stands(business) == (BuyerStatus.PENDING, "dana@example.com", None, None)
    assert business.buyer.phone == "+15550104444"
    assert letter.to == ["dana@example.com"]
    assert letter.subject == "Confirm your e-mail address"
    assert f"{SITE}/buyers/verify/" in letter.body
    assert trail(business) == ["signed up"]


@pytest.mark.django_db
def test_the_first_mail_holds_none_of_a_strangers_words(now, mails):
    (letter,) = mails(buyers.sign_up, **a_stranger(company="Visit evil.example", contact_name="evil.example"), now=now)
    assert "evil" not in letter.subject + letter.body


def test_an_address_that_is_known_gets_a_mail_and_nothing_is_made(cast, now, mails):
    before = counts()
    (letter,) = mails(buyers.sign_up, **a_stranger(email=" Alice@Example.com "), now=now)
    assert (letter.to, letter.subject) == (["alice@example.com"], "You have an account already")
    assert f"{SITE}/accounts/login/" in letter.body
    assert counts() == before
    assert cast.alice.check_password(PASSWORD)
    assert (
        mails(buyers.sign_up, **a_stranger(email="alice@example.com", password="another horse battery"), now=now) == []
    )
    cast.alice.refresh_from_db()
    assert cast.alice.check_password(PASSWORD)


@pytest.mark.django_db
def test_a_second_sign_up_with_the_address_neither_changes_the_first_nor_makes_another(now, mails):
    mails(buyers.sign_up, **a_stranger(), now=now)
    before = counts()
    again = a_stranger(company="Evil Twin", password="another horse battery")
    assert mails(buyers.sign_up, **again, now=now) == []  # within the minute
    cache.clear()
    (letter,) = mails(buyers.sign_up, **again, now=now + timedelta(minutes=5))
    assert letter.subject == "Confirm your e-mail address"
    assert counts() == before
    assert Business.objects.get().name == "Dawn Mortgage"
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_account_and_one_mail(now):
    opened = all_at_once([lambda: buyers.sign_up(**a_stranger(), now=now)] * 2)
    assert sorted(business is None for business in opened) == [False, True]
    assert counts() == (1, 1, 1, 1)
    assert [letter.to for letter in mail.outbox] == [["dana@example.com"]]


@pytest.mark.django_db(transaction=True)
def test_companies_of_one_name_get_addresses_of_their_own_also_at_once(now):
    calls = [
        lambda email=f"dana{number}@example.com": buyers.sign_up(**a_stranger(email=email), now=now)
        for number in range(4)
    ]
    opened = all_at_once(calls)
    assert sorted(business.slug for business in opened) == [
        "dawn-mortgage", "dawn-mortgage-2", "dawn-mortgage-3", "dawn-mortgage-4",
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_name_that_leaves_no_address_gets_one(now):
    assert buyers.sign_up(**a_stranger(company="株式会社"), now=now).slug == "buyer"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("short", "This password is too short. It must contain at least 10 characters."),
        ("password123", "This password is too common."),
        ("dana@example.com", "The password is too similar to the e-mail address."),
        ("dawnmortgage1", "The password is too similar to the name."),
        ("danadole12", "The password is too similar to the name."),
    ],
)
def test_an_easy_password_is_refused_and_nobody_is_made(now, password, sentence):
    with pytest.raises(ValidationError) as refusal:
        buyers.sign_up(**a_stranger(password=password), now=now)
    assert refusal.value.messages[0] == sentence
    assert counts() == (0, 0, 0, 0)


@pytest.mark.django_db
def test_a_time_zone_nobody_knows_makes_nobody(now):
    with pytest.raises(ValidationError) as refusal:
        buyers.sign_up(**a_stranger(time_zone="Mars/Base"), now=now)
    assert list(refusal.value.message_dict) == ["time_zone"]
    assert counts() == (0, 0, 0, 0)


# --- Asking, from inside -----------------------------------------------------------------------------------------------


def asks(cast, now, **fields):
    values = {
        "business": cast.shop, "user": cast.alice, "email": "Leads@Example.com", "contact_name": "Alice",
        "phone": "+15550105555", "now": now,
    }  # fmt: skip
    return values | fields


def test_a_business_that_is_here_asks_with_an_address_of_its_own(cast, now, mails):
    (letter,) = mails(buyers.become_buyer, **asks(cast, now))
    assert letter.to == ["leads@example.com"]
    assert stands(cast.shop) == (BuyerStatus.PENDING, "leads@example.com", None, None)
    with pytest.raises(Refused) as refusal:
        buyers.become_buyer(**asks(cast, now, email="other@example.com"))
    assert str(refusal.value) == "Alice Plumbing has asked already. How it stands is on the account page."
    assert stands(cast.shop) == (BuyerStatus.PENDING, "leads@example.com", None, None)


def test_only_an_owner_or_admin_asks(cast, now):
    for user in (cast.bob, cast.charlie):
        with pytest.raises(Refused) as refusal:
            buyers.become_buyer(**asks(cast, now, user=user))
        assert str(refusal.value) == "Only an owner or admin of Alice Plumbing can do this."
    assert not Buyer.objects.exists()
    add_member(business=cast.shop, user=cast.bob, role=Role.ADMIN)
    assert buyers.become_buyer(**asks(cast, now, user=cast.bob)).status == BuyerStatus.PENDING


def test_a_suspended_business_asks_for_nothing(cast, now):
    cast.shop.status = "SUSPENDED"
    cast.shop.save()
    with pytest.raises(Refused) as refusal:
        buyers.become_buyer(**asks(cast, now))
    assert str(refusal.value) == "Alice Plumbing is suspended: nothing can be changed until it is active again."
    assert not Buyer.objects.exists()


# --- The address -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dana(now, db):
    """Dana's business, an hour after she signed up."""
    business = buyers.sign_up(**a_stranger(), now=now - timedelta(hours=1))
    cache.clear()
    return business


def token_for(business, now):
    buyer = Buyer.objects.get(business=business)
    return buyers.verification_link(buyer=buyer, now=now).rstrip("/").rpartition("/")[2]


def test_the_link_proves_the_address_once_and_lets_them_in(dana, now, mails):
    (letter,) = mails(buyers.send_verification, buyer=dana.buyer, now=now)
    token = link_in(letter)
    assert buyers.read_link(token=token, now=now) == dana.buyer
    assert stands(dana)[2] is None  # looking proves nothing
    verified = buyers.verify_email(token=token, now=now)
    assert (verified.is_news, stands(dana)[2], User.objects.get().is_active) == (True, now, True)
    again = buyers.verify_email(token=token, now=now + timedelta(hours=1))
    assert (again.is_news, stands(dana)[2]) == (False, now)
    assert trail(dana) == ["signed up", "address confirmed"]


def test_a_link_does_not_let_in_whom_staff_have_locked_out(dana, now):
    token = token_for(dana, now)
    buyers.verify_email(token=token, now=now)
    User.objects.update(is_active=False)
    buyers.verify_email(token=token, now=now)
    assert not User.objects.get().is_active


def test_nobody_is_let_in_by_the_account_of_a_business_they_did_not_open(cast, now):
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    buyer = buyers.become_buyer(**asks(cast, now, email=cast.bob.email))
    assert buyers.verify_email(token=token_for(cast.shop, now), now=now).buyer == buyer
    assert not User.objects.get(pk=cast.bob.pk).is_active


def test_a_forged_link_proves_nothing(dana, now):
    token = token_for(dana, now)
    payload = {"buyer": str(dana.pk), "email": "dana@example.com", "until": int(now.timestamp()) + 60}
    forged = [
        "nonsense", token[:-1], f"x{token}", "",
        signing.Signer(salt="another").sign_object(payload),
        signing.Signer(key="guessed", salt="marketplace.buyers.verify").sign_object(payload),
    ]  # fmt: skip
    for wrong in forged:
        with pytest.raises(BadLink) as refusal:
            buyers.verify_email(token=wrong, now=now)
        assert str(refusal.value) == "This link is not one of ours, or a part of it is missing."
        assert refusal.value.email == ""
    assert stands(dana)[2] is None
    assert not User.objects.get().is_active


def test_a_link_works_for_two_days_to_the_second(dana, now):
    token = token_for(dana, now)
    with pytest.raises(BadLink) as refusal:
        buyers.verify_email(token=token, now=now + timedelta(hours=48, seconds=1))
    assert str(refusal.value) == "This link is too old: it worked for two days."
    assert refusal.value.email == "dana@example.com"
    assert stands(dana)[2] is None
    assert buyers.verify_email(token=token, now=now + timedelta(hours=48)).is_news


def test_a_link_is_for_one_account_and_one_address(dana, cast, now):
    a_buyer(cast.shop, email="dana@example.com", email_verified_at=None)
    token = token_for(dana, now)
    Buyer.objects.filter(business=dana).update(email="new@example.com")
    with pytest.raises(BadLink) as refusal:
        buyers.verify_email(token=token, now=now)
    assert str(refusal.value) == "This link is for an address that is not on the account any more."
    assert (stands(dana)[2], stands(cast.shop)[2]) == (None, None)


def test_a_new_link_comes_once_a_minute_and_five_times_a_day(dana, now, mails):
    assert len(mails(buyers.send_verification, buyer=dana.buyer, now=now)) == 1
    with pytest.raises(Refused) as refusal:
        mails(buyers.send_verification, buyer=dana.buyer, now=now)
    assert str(refusal.value).startswith("We sent one a moment ago.")
    assert mail.outbox == []
    minute = f"buyers:mail-a-minute:{buyers.fingerprint('dana@example.com')}"
    for _ in range(4):
        cache.delete(minute)
        assert len(mails(buyers.send_verification, buyer=dana.buyer, now=now)) == 1
    cache.delete(minute)
    with pytest.raises(Refused) as refusal:
        mails(buyers.send_verification, buyer=dana.buyer, now=now)
    assert str(refusal.value) == "We sent 5 mails to this address today. Look among the spam, or ask again tomorrow."
    assert mail.outbox == []


def test_a_stranger_who_asks_for_a_link_again_is_told_nothing(dana, cast, now, mails):
    (letter,) = mails(buyers.resend, email="DANA@example.com", now=now)
    assert letter.to == ["dana@example.com"]
    assert mails(buyers.resend, email="dana@example.com", now=now) == []  # a moment ago; no word of it
    assert mails(buyers.resend, email="nobody@example.com", now=now) == []
    a_buyer(cast.shop)
    assert mails(buyers.resend, email=cast.shop.buyer.email, now=now) == []  # confirmed
    with pytest.raises(Refused) as refusal:
        buyers.send_verification(buyer=cast.shop.buyer, now=now)
    assert str(refusal.value) == "alice@example.com is confirmed already."


# --- What staff decide -------------------------------------------------------------------------------------------------


def test_approval_waits_for_the_proof_of_the_address(dana, cast, now, mails):
    with pytest.raises(Refused) as refusal:
        buyers.approve(business=dana, actor=cast.alice, now=now)
    assert str(refusal.value) == (
        "dana@example.com is not confirmed yet. Approve Dawn Mortgage once they have opened the link in our mail."
    )
    assert stands(dana) == (BuyerStatus.PENDING, "dana@example.com", None, None)
    buyers.verify_email(token=token_for(dana, now), now=now)
    (letter,) = mails(buyers.approve, business=dana, actor=cast.alice, now=now, site=SITE)
    assert stands(dana) == (BuyerStatus.ACTIVE, "dana@example.com", now, now)
    assert (letter.to, letter.subject) == (["dana@example.com"], "You can buy leads now")
    assert f"{SITE}/app/dawn-mortgage/buy/" in letter.body
    event = AuditEvent.objects.get(action="buyer approved")
    assert (event.business, event.actor, event.changes) == (dana, cast.alice, {"status": ["pending", "active"]})


def test_suspended_and_reopened_with_the_reason_told(cast, now, mails):
    a_buyer(cast.shop)
    (letter,) = mails(buyers.suspend, business=cast.shop, reason="Unpaid since May.", actor=cast.bob, now=now)
    assert letter.subject == "Your account is suspended"
    assert "The reason: Unpaid since May." in letter.body
    assert stands(cast.shop)[0] == BuyerStatus.SUSPENDED
    assert buyers.why(cast.shop.buyer) == "Unpaid since May."
    (letter,) = mails(buyers.reopen, business=cast.shop, actor=cast.bob, now=now)
    assert "Alice Plumbing can buy leads again" in letter.body
    assert stands(cast.shop)[0] == BuyerStatus.ACTIVE
    assert trail(cast.shop) == ["buyer suspended", "buyer reopened"]


def test_whoever_was_never_approved_waits_again_when_reopened(cast, now, mails):
    a_buyer(cast.shop, status=BuyerStatus.PENDING, approved_at=None)
    (letter,) = mails(buyers.close, business=cast.shop, reason="No answer on the phone.", actor=None, now=now)
    assert (letter.subject, stands(cast.shop)[0]) == ("Your account is closed", BuyerStatus.CLOSED)
    (letter,) = mails(buyers.reopen, business=cast.shop, actor=None, now=now)
    assert "waits for approval again" in letter.body
    assert stands(cast.shop)[0] == BuyerStatus.PENDING


@pytest.mark.parametrize(
    ("status", "verb", "sentence"),
    [
        (BuyerStatus.ACTIVE, "approve", "The account of Alice Plumbing is active; it can be suspended or closed."),
        (BuyerStatus.SUSPENDED, "approve", "The account of Alice Plumbing is suspended; it can be reopened or closed."),
        (BuyerStatus.PENDING, "suspend", "The account of Alice Plumbing is waiting for approval; it can be approved or closed."),
        (BuyerStatus.ACTIVE, "reopen", "The account of Alice Plumbing is active; it can be suspended or closed."),
        (BuyerStatus.CLOSED, "close", "The account of Alice Plumbing is closed; it can be reopened."),
    ],
)  # fmt: skip
def test_a_step_that_does_not_follow_is_refused(cast, now, mails, status, verb, sentence):
    a_buyer(cast.shop, status=status)
    reason = {} if verb in ("approve", "reopen") else {"reason": "Because."}
    before = stands(cast.shop)
    with pytest.raises(Refused) as refusal:
        mails(getattr(buyers, verb), business=cast.shop, actor=None, now=now, **reason)
    assert str(refusal.value) == sentence
    assert (stands(cast.shop), trail(cast.shop), mail.outbox) == (before, [], [])


def test_nobody_is_suspended_or_closed_without_a_reason(cast, now):
    a_buyer(cast.shop)
    for verb in (buyers.suspend, buyers.close):
        with pytest.raises(Refused) as refusal:
            verb(business=cast.shop, reason="  ", actor=None, now=now)
        assert str(refusal.value) == "Say why, in a sentence the buyer will read."
    assert (stands(cast.shop)[0], trail(cast.shop)) == (BuyerStatus.ACTIVE, [])


def test_a_business_that_never_asked_is_not_approved(cast, now):
    with pytest.raises(Refused) as refusal:
        buyers.approve(business=cast.shop, actor=None, now=now)
    assert str(refusal.value) == "Alice Plumbing has not asked to buy leads."
    assert not Buyer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_approve_at_once_one_does(cast, now):
    a_buyer(cast.shop, status=BuyerStatus.PENDING, approved_at=None)

    def approve():
        try:
            return buyers.approve(business=cast.shop, actor=None, now=now).status
        except Refused as reason:
            return str(reason)

    assert sorted(all_at_once([approve, approve])) == [
        "The account of Alice Plumbing is active; it can be suspended or closed.", "active",
    ]  # fmt: skip
    assert (trail(cast.shop), len(mail.outbox)) == (["buyer approved"], 1)


@pytest.mark.parametrize("verb", [buyers.suspend, buyers.close])
def test_suspended_and_closed_accounts_buy_nothing(cast, now, verb):
    start_prices()
    an_item()
    a_buyer(cast.shop)
    verb(business=cast.shop, reason="Unpaid.", actor=None, now=now)
    with only(cast.shop), pytest.raises(CannotBuy) as refusal:
        purchases.buy_by_criteria(
            business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="Alice", now=now
        )
    status = Buyer.objects.get(business=cast.shop).status
    assert str(refusal.value) == f"Client account cannot purchase (status: {status}, email_verified: True)"
    with every_business():
        assert not Purchase.objects.exists()


# --- Settings ----------------------------------------------------------------------------------------------------------


def test_a_new_address_has_to_be_proved_and_the_old_one_is_told(cast, now, mails):
    a_buyer(cast.shop)
    changes = {"email": "New@Example.com", "into_leads": False}
    sent = mails(buyers.change_settings, business=cast.shop, actor=cast.alice, now=now, site=SITE, **changes)
    assert [(letter.to, letter.subject) for letter in sent] == [
        (["alice@example.com"], "Your account has a new e-mail address"),
        (["new@example.com"], "Confirm your e-mail address"),
    ]
    assert "new@example.com" not in sent[0].body
    buyer = Buyer.objects.get(business=cast.shop)
    assert (buyer.email, buyer.email_verified_at, buyer.into_leads, buyer.may_buy) == (
        "new@example.com",
        None,
        False,
        False,
    )
    assert AuditEvent.objects.get().changes == {
        "into_leads": [True, False], "email": ["alice@example.com", "new@example.com"],
    }  # fmt: skip
    assert buyers.verify_email(token=link_in(sent[1]), now=now).buyer.may_buy


def test_saving_what_stands_there_changes_nothing(cast, now, mails):
    a_buyer(cast.shop, contact_name="Alice")
    same = {"email": "ALICE@example.com", "into_leads": True, "contact_name": " Alice "}
    assert mails(buyers.change_settings, business=cast.shop, actor=cast.alice, now=now, **same) == []
    assert (stands(cast.shop)[2], trail(cast.shop)) == (now, [])


# --- Mails -------------------------------------------------------------------------------------------------------------


def test_a_mail_that_is_not_true_any_more_is_not_sent(cast, dana, now):
    a_buyer(cast.shop)
    mail.outbox.clear()
    approved = {"kind": "approved", "buyer_id": str(cast.shop.pk), "now": now}
    Buyer.objects.filter(business=cast.shop).update(status=BuyerStatus.SUSPENDED)
    assert buyers.deliver_mail(**approved)
    buyers.verify_email(token=token_for(dana, now), now=now)
    assert buyers.deliver_mail(kind="verify", buyer_id=str(dana.pk), now=now)
    assert mail.outbox == []


def test_a_decision_goes_to_the_owners_while_the_address_is_not_proved(cast, now, mails):
    a_buyer(cast.shop, email="typo@exampel.com", email_verified_at=None)
    (letter,) = mails(buyers.suspend, business=cast.shop, reason="Unpaid.", actor=None, now=now)
    assert letter.to == ["alice@example.com"]


def test_a_mail_server_that_is_away_is_logged_and_changes_nothing(cast, now, mails, monkeypatch):
    a_buyer(cast.shop, email_verified_at=None)

    def hang_up(_message):
        raise SMTPServerDisconnected("Connection unexpectedly closed")

    monkeypatch.setattr(mail.EmailMessage, "send", hang_up)
    with capture_logs() as lines:
        assert mails(buyers.send_verification, buyer=cast.shop.buyer, now=now) == []
    (line,) = (line for line in lines if line["event"] == "mail_not_sent")
    assert (line["kind"], line["buyer_id"]) == ("verify", str(cast.shop.pk))
    assert "alice@example.com" not in str(lines)
    assert not buyers.deliver_mail(kind="verify", buyer_id=str(cast.shop.pk), now=now)


def test_mails_are_handed_to_whoever_listens_and_only_when_it_is_done(cast, now, mails):
    a_buyer(cast.shop)
    heard = []

    def listen(**letter):
        heard.append((letter["kind"], letter["buyer_id"], letter["address"], letter["site"]))

    buyers.mail_waits.connect(listen)
    try:
        assert mails(buyers.suspend, business=cast.shop, reason="Unpaid.", actor=None, now=now, site=SITE) == []
    finally:
        buyers.mail_waits.disconnect(listen)
    assert heard == [("suspended", str(cast.shop.pk), "", SITE)]


def test_one_too_many_is_counted_from_the_first_of_the_stretch():
    assert [buyers.within("test", most=2, seconds=60) for _ in range(3)] == [True, True, False]
    assert buyers.within("another", most=2, seconds=60)
