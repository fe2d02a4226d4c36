"""Who may buy: opening an account, the proof of an e-mail address, what staff decide, and the account's own settings.

A stranger learns nothing here about who has an account: whatever address they give, the page says the same, and a mail
tells its owner the rest. Words a stranger typed are in none of these mails, so nobody can have us send theirs. Until an
address is confirmed, whoever signed up with it cannot sign in: it may be somebody else's.

Mails are sent after commit. They change nothing and say what is true when they are sent, so one that is lost can be asked
for again and one that is sent twice does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from smtplib import SMTPException
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth.password_validation import UserAttributeSimilarityValidator, validate_password
from django.core import signing
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.dispatch import Signal
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.text import slugify

from crm.enums import Role
from crm.models import AuditEvent, Business, Membership, User
from crm.services import Refused, add_business, add_member, audit
from marketplace.enums import BuyerStatus
from marketplace.models import Buyer
from marketplace.services import books

log = structlog.get_logger(__name__)

LINK_WORKS: Final = timedelta(hours=48)
MAILS_A_DAY: Final = 5  # to one address, by way of this page
MANAGERS: Final = (Role.OWNER, Role.ADMIN)  # who may open and change the account of a business
ONLY_MANAGERS: Final = "Only an owner or admin of {business} can do this."
SIGNED_UP: Final = "signed up"  # in the audit; by whom
_MOVED_ON: Final = "This link is for an address that is not on the account any more."
_SIGNER: Final = signing.Signer(salt="marketplace.buyers.verify")

# After commit: a mail waits, as the keyword arguments of `deliver_mail` (all of them text). Whoever listens sees to it in
# the background; while nobody does, it is delivered on the spot.
mail_waits = Signal()


class Mail(StrEnum):
    """What a mail tells; its words are in templates/marketplace/front/mail_<name>.txt, the subject in the first line."""

    VERIFY = "verify"
    KNOWN = "known"  # somebody signed up with an address that has an account
    MOVED = "moved"  # to the old address, when there is a new one
    APPROVED = "approved"
    SUSPENDED = "suspended"
    REOPENED = "reopened"
    CLOSED = "closed"


# Which mail is still true of an account in which state.
_TRUE_WHILE: Final = {
    Mail.APPROVED: (BuyerStatus.ACTIVE,),
    Mail.SUSPENDED: (BuyerStatus.SUSPENDED,),
    Mail.REOPENED: (BuyerStatus.ACTIVE, BuyerStatus.PENDING),
    Mail.CLOSED: (BuyerStatus.CLOSED,),
}


class BadLink(Refused):
    """A link that confirms nothing. `email` is the address it was for, when it was ours."""

    def __init__(self, sentence: str, *, email: str = "") -> None:
        super().__init__(sentence)
        self.email = email


@dataclass(frozen=True)
class Verified:
    """`is_news` False: the address was confirmed before."""

    buyer: Buyer
    is_news: bool


# --- Opening an account ------------------------------------------------------------------------------------------------


def sign_up(
    *, company: str, contact_name: str, email: str, phone: str, password: str, time_zone: str, now: datetime, site: str = ""
) -> Business | None:  # fmt: skip
    """A new person with a new business that wants to buy, and a mail to prove the address. `phone` is E.164.

    None: the address is known already, and its owner got a mail that says so. Raises ValidationError for a password that is
    too easy, or naming the field. `site` is where the pages are ("https://desk.example.com"); empty: PUBLIC_URL.
    """
    company, contact_name, email = _line(company), _line(contact_name), email.strip().lower()
    person = User(email=email, name=contact_name, is_active=False)
    check_password(password, company=company, contact_name=contact_name, email=email)
    person.set_password(password)  # takes by far the longest, so it comes before we look whether we know them
    try:
        with transaction.atomic():
            person.save(force_insert=True)
            business = _open_business(company, owner_name=contact_name, owner_email=email, zone=time_zone)
            add_member(business=business, user=person, role=Role.OWNER)
            buyer = _add_buyer(
                business, email=email, contact_name=contact_name, phone=phone, actor=person, action=SIGNED_UP, now=now
            )
    except IntegrityError:
        known = User.objects.filter(email=email).first()
        if known is None:
            raise
        _write_to_known(known, now=now, site=site)
        return None
    _mail_link(buyer, now=now, site=site)
    return business


def check_password(password: str, *, company: str, contact_name: str, email: str) -> None:
    """Raises ValidationError with everything that is wrong with it."""
    problems: list[ValidationError] = []
    alike = UserAttributeSimilarityValidator(user_attributes=["name"])
    checks: list[tuple[Callable[[str, User], None], User]] = [
        (validate_password, User(email=email)),
        (alike.validate, User(name=contact_name)),
        (alike.validate, User(name=company)),
    ]
    for check, person in checks:
        try:
            check(password, person)
        except ValidationError as error:
            problems += error.error_list
    if problems:
        raise ValidationError(problems)


def become_buyer(
    *, business: Business, user: User, email: str, contact_name: str, phone: str, now: datetime, site: str = ""
) -> Buyer:
    """A business that is here already asks to buy leads. `phone` is E.164. Raises Refused with the sentence."""
    if not Membership.objects.filter(business=business, user=user, role__in=MANAGERS).exists():
        raise Refused(ONLY_MANAGERS.format(business=business))
    if not business.is_active:
        raise Refused(f"{business} is suspended: nothing can be changed until it is active again.")
    email = email.strip().lower()
    try:
        with transaction.atomic():
            buyer = _add_buyer(
                business, email=email, contact_name=_line(contact_name), phone=phone, actor=user,
                action="asked to buy leads", now=now,
            )  # fmt: skip
    except IntegrityError:
        raise Refused(f"{business} has asked already. How it stands is on the account page.") from None
    _mail_link(buyer, now=now, site=site)
    return buyer


def _open_business(company: str, *, owner_name: str, owner_email: str, zone: str) -> Business:
    """In the caller's transaction. Two companies of one name get addresses of their own, also at the same moment."""
    base = slugify(company)[:50].strip("-_") or "buyer"
    while True:
        taken = set(Business.objects.filter(slug__startswith=base).values_list("slug", flat=True))
        slug = next(name for number in range(1, len(taken) + 2) if (name := _numbered(base, number)) not in taken)
        try:
            with transaction.atomic():
                return add_business(slug=slug, name=company, zone=zone, owner_name=owner_name, owner_email=owner_email)
        except IntegrityError:
            continue  # somebody took it since we looked
        except ValidationError as error:
            if "slug" not in error.message_dict:
                raise


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"


def _add_buyer(
    business: Business, *, email: str, contact_name: str, phone: str, actor: User, action: str, now: datetime
) -> Buyer:
    buyer = Buyer.objects.create(business=business, email=email, contact_name=contact_name, phone=phone, created_at=now)
    audit(business=business, actor=actor, action=action, target=_target(business), now=now)
    return buyer


def _write_to_known(person: User, *, now: datetime, site: str) -> None:
    """They have an account, or have not opened our first mail yet: a second click on the button is the same to us."""
    if not person.is_active and Buyer.objects.filter(email=person.email, email_verified_at__isnull=True).exists():
        resend(email=person.email, now=now, site=site)
    elif not _too_many_mails(person.email):
        _post(Mail.KNOWN, now=now, address=person.email, site=site)


# --- The e-mail address ------------------------------------------------------------------------------------------------


def send_verification(*, buyer: Buyer, now: datetime, site: str = "") -> None:
    """Send the link once more. Raises Refused when it is not needed, or too soon: once a minute, five a day."""
    if buyer.email_verified_at is not None:
        raise Refused(f"{buyer.email} is confirmed already.")
    if sentence := _mail_link(buyer, now=now, site=site):
        raise Refused(sentence)


def resend(*, email: str, now: datetime, site: str = "") -> None:
    """For somebody who is not signed in: a new link, if an account waits for this address. They are not told whether."""
    email = email.strip().lower()
    waiting = Buyer.objects.filter(email=email, email_verified_at__isnull=True).select_related("business")
    buyer = waiting.order_by("-created_at").first()
    if buyer is not None:
        _mail_link(buyer, now=now, site=site)


def verification_link(*, buyer: Buyer, now: datetime, site: str = "") -> str:
    """Good for 48 hours, for this account and this address only."""
    until = int((now + LINK_WORKS).timestamp())
    token = _SIGNER.sign_object({"buyer": str(buyer.pk), "email": buyer.email, "until": until})
    return _site(site) + reverse("buyers:verify", args=[token])


def read_link(*, token: str, now: datetime) -> Buyer:
    """Whom this link is about; changes nothing. Raises BadLink."""
    try:
        said = _SIGNER.unsign_object(token)
    except signing.BadSignature as error:
        raise BadLink("This link is not one of ours, or a part of it is missing.") from error
    if now.timestamp() > said["until"]:
        raise BadLink("This link is too old: it worked for two days.", email=said["email"])
    buyer = Buyer.objects.select_related("business").filter(pk=said["buyer"]).first()
    if buyer is None or buyer.email != said["email"]:
        raise BadLink(_MOVED_ON)
    return buyer


def verify_email(*, token: str, now: datetime) -> Verified:
    """The address is theirs. Whoever signed up with it may sign in from now on. Raises BadLink; may be repeated."""
    meant = read_link(token=token, now=now)
    with transaction.atomic():
        buyer = books.lock_buyer(meant.business)
        if buyer.email != meant.email:
            raise BadLink(_MOVED_ON)
        if buyer.email_verified_at is not None:
            return Verified(buyer=buyer, is_news=False)
        _let_in(buyer)
        buyer.email_verified_at = now
        buyer.save(update_fields=["email_verified_at"])
        audit(
            business=buyer.business, actor=None, actor_text=buyer.email, action="address confirmed",
            target=_target(buyer.business), now=now,
        )  # fmt: skip
    return Verified(buyer=buyer, is_news=True)


def _let_in(buyer: Buyer) -> None:
    """Whoever signed up with this address, and nobody whom staff have locked out."""
    signed_up = AuditEvent.objects.filter(business_id=buyer.pk, action=SIGNED_UP)
    User.objects.filter(
        pk__in=signed_up.values("actor"), email=buyer.email, is_active=False, last_login__isnull=True
    ).update(is_active=True)


# --- What staff decide -------------------------------------------------------------------------------------------------


def approve(*, business: Business, actor: User | None, now: datetime, site: str = "") -> Buyer:
    """They may buy. Raises Refused while their address is not confirmed, or when it was decided before."""
    return _decide(
        business, to=BuyerStatus.ACTIVE, possible_from=[BuyerStatus.PENDING], action="buyer approved", mail=Mail.APPROVED,
        actor=actor, now=now, site=site,
    )  # fmt: skip


def suspend(*, business: Business, reason: str, actor: User | None, now: datetime, site: str = "") -> Buyer:
    """They cannot buy until it is reopened; everything else stays open to them. They are told the reason."""
    return _decide(
        business, to=BuyerStatus.SUSPENDED, possible_from=[BuyerStatus.ACTIVE], action="buyer suspended",
        mail=Mail.SUSPENDED, actor=actor, now=now, site=site, reason=_reason(reason),
    )  # fmt: skip


def close(*, business: Business, reason: str, actor: User | None, now: datetime, site: str = "") -> Buyer:
    """The account has ended. Its books, invoices and recalls stay to read. They are told the reason."""
    before_it = [BuyerStatus.PENDING, BuyerStatus.ACTIVE, BuyerStatus.SUSPENDED]
    return _decide(
        business, to=BuyerStatus.CLOSED, possible_from=before_it, action="buyer closed", mail=Mail.CLOSED, actor=actor,
        now=now, site=site, reason=_reason(reason),
    )  # fmt: skip


def reopen(*, business: Business, actor: User | None, now: datetime, reason: str = "", site: str = "") -> Buyer:
    """As before it was suspended or closed: whoever had been approved may buy again, others wait for approval."""
    return _decide(
        business, to=None, possible_from=[BuyerStatus.SUSPENDED, BuyerStatus.CLOSED], action="buyer reopened",
        mail=Mail.REOPENED, actor=actor, now=now, site=site, reason=reason,
    )  # fmt: skip


def why(buyer: Buyer) -> str:
    """The reason staff gave when they last suspended or closed this account, for the buyer to read."""
    decided = AuditEvent.objects.filter(business_id=buyer.pk, action__in=["buyer suspended", "buyer closed"])
    return decided.order_by("-at", "-pk").values_list("reason", flat=True).first() or ""


def _decide(
    business: Business, *, to: BuyerStatus | None, possible_from: Collection[BuyerStatus], action: str, mail: Mail,
    actor: User | None, now: datetime, site: str, reason: str = "",
) -> Buyer:  # fmt: skip
    with transaction.atomic():
        try:
            buyer = books.lock_buyer(business)  # an order that is being filled is filled first
        except Buyer.DoesNotExist:
            raise Refused(f"{business} has not asked to buy leads.") from None
        before = BuyerStatus(buyer.status)
        if before not in possible_from:
            raise Refused(f"The account of {business} is {_say(before)}; {_ways_on(before)}")
        if mail == Mail.APPROVED and buyer.email_verified_at is None:
            raise Refused(
                f"{buyer.email} is not confirmed yet. Approve {business} once they have opened the link in our mail."
            )
        buyer.status = to or (BuyerStatus.ACTIVE if buyer.approved_at else BuyerStatus.PENDING)
        if mail == Mail.APPROVED:
            buyer.approved_at = now
        buyer.save(update_fields=["status", "approved_at"])
        audit(
            business=business, actor=actor, action=action, target=_target(business), reason=reason.strip(), now=now,
            changes={"status": [before.value, buyer.status]},
        )  # fmt: skip
        _post(mail, buyer=buyer, now=now, site=site)
    return buyer


def _reason(text: str) -> str:
    if not text.strip():
        raise Refused("Say why, in a sentence the buyer will read.")
    return text


def _say(status: BuyerStatus) -> str:
    return "waiting for approval" if status == BuyerStatus.PENDING else str(status.label).lower()


def _ways_on(status: BuyerStatus) -> str:
    return {
        BuyerStatus.PENDING: "it can be approved or closed.",
        BuyerStatus.ACTIVE: "it can be suspended or closed.",
        BuyerStatus.SUSPENDED: "it can be reopened or closed.",
        BuyerStatus.CLOSED: "it can be reopened.",
    }[status]


# --- What buyers change themselves -------------------------------------------------------------------------------------


def change_settings(
    *, business: Business, actor: User | None, now: datetime, into_leads: bool | None = None, email: str | None = None,
    contact_name: str | None = None, phone: str | None = None, site: str = "",
) -> Buyer:  # fmt: skip
    """What is None stays. `phone` is E.164. A new address has to be confirmed before the next purchase; the old one is
    told."""
    wanted = {
        "into_leads": into_leads,
        "email": None if email is None else email.strip().lower(),
        "contact_name": None if contact_name is None else _line(contact_name),
        "phone": phone,
    }
    with transaction.atomic():
        buyer = books.lock_buyer(business)
        changes = {
            name: [getattr(buyer, name), value]
            for name, value in wanted.items()
            if value is not None and value != getattr(buyer, name)
        }
        if not changes:
            return buyer
        had_proof = buyer.email_verified_at is not None
        for name, (_, value) in changes.items():
            setattr(buyer, name, value)
        if "email" in changes:
            buyer.email_verified_at = None
        buyer.save(update_fields=[*changes, "email_verified_at"])
        audit(
            business=business, actor=actor, action="buyer's settings changed", target=_target(business), changes=changes,
            now=now,
        )  # fmt: skip
    if "email" in changes:
        if had_proof:
            _post(Mail.MOVED, buyer=buyer, now=now, address=changes["email"][0], site=site)
        _mail_link(buyer, now=now, site=site)
    return buyer


# --- Mails -------------------------------------------------------------------------------------------------------------


def within(key: str, *, most: int, seconds: int) -> bool:
    """Count one more. False: more than `most` since the first of this stretch of time. With the cache away nobody is
    counted."""
    key = f"buyers:{key}"
    cache.add(key, 0, timeout=seconds)
    try:
        return cache.incr(key) <= most
    except ValueError:
        return True


def fingerprint(address: str) -> str:
    """An e-mail address as a key of the cache, which is no place for addresses."""
    return hashlib.sha256(address.strip().lower().encode()).hexdigest()[:32]


def deliver_mail(*, kind: str, now: datetime, buyer_id: str = "", address: str = "", site: str = "") -> bool:
    """Send a mail that waited, unless it is not true any more. False: the mail server is away; try again later.

    With no transaction open: a mail server may take its time.
    """
    written = _write(Mail(kind), now=now, buyer_id=buyer_id, address=address, site=site)
    if written is None:
        return True
    try:
        written.send()
    except (OSError, SMTPException) as trouble:
        log.warning("mail_not_sent", kind=kind, buyer_id=buyer_id, trouble=f"{type(trouble).__name__}: {trouble}"[:200])
        return False
    return True


def _write(kind: Mail, *, now: datetime, buyer_id: str, address: str, site: str) -> EmailMessage | None:
    buyer = Buyer.objects.select_related("business").filter(pk=UUID(buyer_id)).first() if buyer_id else None
    context: dict[str, Any] = {"site": _site(site), "address": address}
    if buyer_id:
        if buyer is None or buyer.status not in _TRUE_WHILE.get(kind, BuyerStatus.values):
            return None
        if kind == Mail.VERIFY:
            if buyer.email_verified_at is not None:
                return None
            context["link"] = verification_link(buyer=buyer, now=now, site=site)
        context |= {"buyer": buyer, "business": buyer.business, "reason": why(buyer)}
    subject, _, body = render_to_string(f"marketplace/front/mail_{kind}.txt", context).strip().partition("\n")
    return EmailMessage(subject=subject, body=body.strip() + "\n", to=[address] if address else _addresses(kind, buyer))


def _addresses(kind: Mail, buyer: Buyer | None) -> list[str]:
    """To an address nobody has confirmed goes nothing but the link; the owners read the rest at their own."""
    assert buyer is not None
    if kind == Mail.VERIFY or buyer.email_verified_at is not None:
        return [buyer.email]
    owners = Membership.objects.filter(business_id=buyer.pk, role=Role.OWNER, user__is_active=True)
    return list(owners.order_by("user__email").values_list("user__email", flat=True))


def _mail_link(buyer: Buyer, *, now: datetime, site: str) -> str:
    """The reason, when it is too soon for another."""
    sentence = _too_many_mails(buyer.email)
    if sentence:
        log.info("mail_held_back", tenant_id=buyer.business.slug, reason=sentence)
    else:
        _post(Mail.VERIFY, buyer=buyer, now=now, site=site)
    return sentence


def _too_many_mails(address: str) -> str:
    """Count one more to this address; the reason when it is one too many."""
    who = fingerprint(address)
    if not within(f"mail-a-minute:{who}", most=1, seconds=60):
        return "We sent one a moment ago. Look in your mail, also among the spam; in a minute you can ask again."
    if not within(f"mail-a-day:{who}", most=MAILS_A_DAY, seconds=86_400):
        return f"We sent {MAILS_A_DAY} mails to this address today. Look among the spam, or ask again tomorrow."
    return ""


def _post(kind: Mail, *, now: datetime, buyer: Buyer | None = None, address: str = "", site: str = "") -> None:
    letter = {
        "kind": kind.value,
        "buyer_id": str(buyer.pk) if buyer is not None else "",
        "address": address,
        "site": _site(site),
    }

    def hand_over() -> None:
        if mail_waits.has_listeners():
            mail_waits.send(sender=Buyer, **letter)
        else:
            deliver_mail(now=now, **letter)

    transaction.on_commit(hand_over)


def _site(site: str) -> str:
    return site or settings.PUBLIC_URL or "http://localhost:8000"


def _target(business: Business) -> str:
    return f"buyer:{business.slug}"


def _line(text: str) -> str:
    return " ".join(text.split())
