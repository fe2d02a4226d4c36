"""Messages to buyers' systems: signed, to public machines only, once if all is well and again if not."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from crm.models import AuditEvent
from crm.scoping import every_business
from crm.services import Refused
from marketplace import outgoing, signing
from marketplace.enums import DeliveryStatus
from marketplace.models import Buyer, WebhookDelivery
from marketplace.services import webhooks
from tests.conftest import NOW
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer
from tests.servers.buyer import BuyerSystem, Temper

MINUTE = timedelta(minutes=1)
PUBLIC = "93.184.215.14"


@pytest.fixture
def system() -> Iterator[BuyerSystem]:
    with BuyerSystem(now=NOW) as running:
        yield running


@pytest.fixture
def buyer(cast, system) -> Buyer:
    """Alice's shop, whose system listens."""
    a_buyer(cast.shop)
    system.secret = webhooks.set_webhook(business=cast.shop, url=f"{system.url}/recalls", actor=cast.alice, now=NOW)
    return Buyer.objects.get(business=cast.shop)


def queued(buyer: Buyer, *, number: int = 1) -> WebhookDelivery:
    delivery = webhooks.queue(
        buyer=buyer, event="recall.created", about=f"recall_notice:{number}", payload={"id": str(number)}, now=NOW
    )
    assert delivery is not None
    return delivery


def fresh(delivery: WebhookDelivery) -> WebhookDelivery:
    with every_business():
        return WebhookDelivery.objects.get(pk=delivery.pk)


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name leads there; which names were asked for."""
    asked = []

    def look_up(host: str, port: int, **_kwargs: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


# --- The signature ----------------------------------------------------------------------------------------------------


def test_a_signature_is_what_the_published_rule_says():
    """Computed with `printf '1763478000.{"a":1}' | openssl dgst -sha256 -hmac secret`."""
    assert (
        signing.sign(b'{"a":1}', secret="secret", at=1763478000)
        == "t=1763478000,v1=36e3a5c8a01cb62e8be90f2dee2f6928cac1312b92bcba34a7724561570a4484"
    )


def test_every_secret_is_another_one():
    secrets = {signing.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {secret[:8] for secret in secrets} == {"fd_hook_"}
    assert min(map(len, secrets)) == 51


# --- Sending ----------------------------------------------------------------------------------------------------------


def test_a_message_arrives_once_signed_and_can_be_told_from_others(buyer, system):
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW) == {"delivered": 1, "again": 0, "failed": 0}
    assert webhooks.send_due(now=NOW + timedelta(days=1)) == {"delivered": 0, "again": 0, "failed": 0}
    assert system.turned_away == []
    got = system.received[0]
    assert (len(system.received), got.delivery, got.event, got.path, got.content_type) == (
        1,
        str(delivery.pk),
        "recall.created",
        "/recalls",
        "application/json",
    )
    assert got.message == {"event": "recall.created", "id": "1"}
    after = fresh(delivery)
    assert (after.status, after.attempts, after.response_status, after.error, after.delivered_at) == (
        DeliveryStatus.DELIVERED,
        1,
        200,
        "",
        NOW,
    )


def test_a_receiver_with_another_secret_believes_nothing(buyer, system):
    system.secret = "another"
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW)["again"] == 1
    assert (system.received, system.turned_away) == ([], ["wrong signature"])
    assert fresh(delivery).error == "It answered 401: wrong signature."


def test_a_buyer_without_an_address_gets_no_messages(cast):
    buyer = a_buyer(cast.shop)
    assert webhooks.queue(buyer=buyer, event="x", about="", payload={}, now=NOW) is None
    with every_business():
        assert WebhookDelivery.objects.count() == 0


def test_what_waits_is_given_up_when_the_address_is_taken_away(cast, buyer, system):
    delivery = queued(buyer)
    webhooks.remove_webhook(business=cast.shop, actor=cast.alice, now=NOW)
    assert webhooks.send_due(now=NOW)["failed"] == 1
    assert (fresh(delivery).error, system.received) == ("There is no address to send it to any more.", [])


@pytest.mark.parametrize(
    ("temper", "error", "status"),
    [
        (Temper(status=500, words="out of\n\x00paper" + "!" * 200), "It answered 500: out of paper", 500),
        (Temper(status=302, words=""), "It answered 302.", 302),
        (Temper(status=429, words="slow down"), "It answered 429: slow down.", 429),
        (Temper(drop=True), "The line broke: RemoteDisconnected.", None),
        (Temper(hang=5), "It did not answer in time.", None),
    ],
)
def test_a_try_that_came_to_nothing_is_made_again_later(buyer, system, monkeypatch, temper, error, status):
    monkeypatch.setattr(outgoing, "TOTAL", 0.2)
    system.temper = temper
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW) == {"delivered": 0, "again": 1, "failed": 0}
    after = fresh(delivery)
    assert after.error.startswith(error)
    assert len(after.error) <= 130
    assert (after.status, after.attempts, after.response_status) == (DeliveryStatus.WAITING, 1, status)
    assert timedelta(seconds=30) <= after.next_at - NOW <= timedelta(seconds=33)
    assert webhooks.send_due(now=NOW + timedelta(seconds=29)) == {"delivered": 0, "again": 0, "failed": 0}
    system.temper = Temper()
    assert webhooks.send_due(now=after.next_at) == {"delivered": 1, "again": 0, "failed": 0}
    assert (fresh(delivery).error, {got.delivery for got in system.received}) == ("", {str(delivery.pk)})


def test_the_tries_go_on_for_about_three_days_and_then_end(buyer, system):
    system.temper = Temper(status=503, words="")
    delivery = queued(buyer)
    tries, now = [], NOW
    while fresh(delivery).status == DeliveryStatus.WAITING:
        now = fresh(delivery).next_at
        system.now = now
        webhooks.send_due(now=now)
        tries.append(now - NOW)
    assert len(tries) == 16
    assert timedelta(hours=65) <= tries[-1] <= timedelta(hours=72)
    assert (fresh(delivery).status, fresh(delivery).error) == (DeliveryStatus.FAILED, "It answered 503.")


def test_pauses_double_up_to_half_a_day_and_differ_by_chance():
    seconds = [webhooks.pause_after(attempt).total_seconds() for attempt in range(1, 16)]
    planned = [30 * 2**n for n in range(11)] + [43_200] * 4
    assert all(plan <= pause <= plan * 1.1 for plan, pause in zip(planned, seconds, strict=True))
    assert len({webhooks.pause_after(15) for _ in range(50)}) > 1


def test_a_receiver_that_says_gone_is_not_asked_again(buyer, system):
    system.temper = Temper(status=410, words="gone")
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW)["failed"] == 1
    assert (fresh(delivery).status, fresh(delivery).attempts) == (DeliveryStatus.FAILED, 1)


def test_a_message_that_was_given_up_can_be_sent_again_under_its_id(buyer, system):
    system.temper = Temper(status=410, words="")
    delivery = queued(buyer)
    webhooks.send_due(now=NOW)
    system.temper = Temper()
    webhooks.replay(delivery=delivery, now=NOW)
    assert webhooks.send_due(now=NOW)["delivered"] == 1
    assert [got.delivery for got in system.received] == [str(delivery.pk), str(delivery.pk)]


def test_a_message_in_a_long_pause_can_be_sent_now_but_not_one_that_is_being_sent(buyer):
    delivery = queued(buyer)
    with every_business():
        row = WebhookDelivery.objects.filter(pk=delivery.pk)
        row.update(attempts=1, next_at=NOW + webhooks.LEASE)
        with pytest.raises(Refused, match=r"^It is about to be sent\. Look again in a few minutes\.$"):
            webhooks.replay(delivery=delivery, now=NOW)
        assert row.get().attempts == 1
        row.update(attempts=12, next_at=NOW + timedelta(hours=11))
    webhooks.replay(delivery=delivery, now=NOW)
    assert (fresh(delivery).attempts, fresh(delivery).next_at) == (0, NOW)


def test_a_worker_that_died_leaves_the_message_to_the_next(buyer, system, monkeypatch):
    delivery = queued(buyer)

    def killed(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outgoing, "post", killed)
        with pytest.raises(KeyboardInterrupt):
            webhooks.send_due(now=NOW)
    assert webhooks.send_due(now=NOW + webhooks.LEASE - MINUTE)["delivered"] == 0
    assert webhooks.send_due(now=NOW + webhooks.LEASE)["delivered"] == 1
    assert (fresh(delivery).attempts, len(system.received)) == (2, 1)


def test_a_late_failure_does_not_undo_what_another_worker_delivered(buyer, system, monkeypatch):
    """The first one hangs until its claim is over; meanwhile the second delivers."""
    delivery = queued(buyer)
    real = outgoing.post

    def slow(*args: object, **kwargs: object) -> None:
        monkeypatch.setattr(outgoing, "post", real)
        assert webhooks.send_due(now=NOW + webhooks.LEASE)["delivered"] == 1
        raise outgoing.NotReached("It did not answer in time.")

    monkeypatch.setattr(outgoing, "post", slow)
    assert webhooks.send_due(now=NOW)["again"] == 1
    assert (fresh(delivery).status, fresh(delivery).error) == (DeliveryStatus.DELIVERED, "")


def test_a_secret_that_cannot_be_read_is_a_failure_like_others(buyer, system):
    Buyer.objects.update(webhook_secret=b"sealed with another key")
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW)["again"] == 1
    assert fresh(delivery).error == "A stored secret cannot be read: SECRET_KEY is not the one it was stored with."
    assert (system.received, system.turned_away) == ([], [])


@pytest.mark.django_db(transaction=True)
def test_eight_workers_send_every_message_once(buyer, system):
    expected = {str(queued(buyer, number=number).pk) for number in range(24)}
    outcomes = all_at_once([lambda: webhooks.send_due(now=NOW)] * 8)
    assert sum(outcome["delivered"] for outcome in outcomes) == 24
    assert (len(system.received), {got.delivery for got in system.received}) == (24, expected)


# --- Where we go ------------------------------------------------------------------------------------------------------


def test_setting_an_address_shows_its_secret_once_and_keeps_it_sealed(cast, buyer, system):
    stored = bytes(Buyer.objects.get(pk=buyer.pk).webhook_secret)
    assert system.secret.encode() not in stored
    event = AuditEvent.objects.get(action="webhook changed")
    assert (event.actor, event.changes) == (cast.alice, {"webhook_url": ["", f"{system.url}/recalls"]})
    assert webhooks.set_webhook(business=cast.shop, url=system.url, actor=None, now=NOW) != system.secret


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "Write the address in plain letters, like https://example.com/recalls."),
        ("https://exämple.com", "Write the address in plain letters, like https://example.com/recalls."),
        ("https://example.com/a b", "Write the address in plain letters, like https://example.com/recalls."),
        ("https://example.com/\r\nX: y", "Write the address in plain letters, like https://example.com/recalls."),
        ("https://example.com/" + "a" * 500, "Write the address in plain letters, like https://example.com/recalls."),
        ("ftp://example.com", "This is not an address. Write it like https://example.com/recalls."),
        ("example.com", "This is not an address. Write it like https://example.com/recalls."),
        ("https://", "This is not an address. Write it like https://example.com/recalls."),
        ("https://example.com:99999", "This is not an address. Write it like https://example.com/recalls."),
        ("https://[::1", "This is not an address. Write it like https://example.com/recalls."),
        ("https://me:secret@example.com", "Leave out the name and password: every message is signed."),
        ("http://example.com", "The address has to begin with https://."),
    ],
)
def test_an_address_we_would_not_call_is_refused_with_the_reason(cast, monkeypatch, url, sentence):
    a_buyer(cast.shop)
    leads_to(monkeypatch, PUBLIC)
    with pytest.raises(Refused) as refusal:
        webhooks.set_webhook(business=cast.shop, url=url, actor=None, now=NOW)
    assert str(refusal.value) == sentence
    assert Buyer.objects.get().webhook_url == ""


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.5", "172.16.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "ff02::1", "::ffff:10.0.0.1",
        "::ffff:8.8.8.8", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_no_private_network_is_entered(cast, monkeypatch, settings, address):
    settings.TESTING = False
    a_buyer(cast.shop)
    leads_to(monkeypatch, address)
    with pytest.raises(Refused, match=r"^This address leads into a private network, where we do not go\.$"):
        webhooks.set_webhook(business=cast.shop, url="https://buyer.example.com/x", actor=None, now=NOW)
    assert Buyer.objects.get().webhook_url == ""


def test_one_private_machine_among_public_ones_is_one_too_many(monkeypatch):
    leads_to(monkeypatch, PUBLIC, "10.0.0.5")
    with pytest.raises(outgoing.BadAddress):
        outgoing.check("https://buyer.example.com", local=False)


def test_public_machines_of_both_kinds_are_welcome(monkeypatch):
    leads_to(monkeypatch, PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    outgoing.check("https://buyer.example.com:8443/x?y=z", local=False)


def test_a_name_that_leads_nowhere_is_said_so(cast, monkeypatch):
    a_buyer(cast.shop)

    def nowhere(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(Refused, match=r"^There is no machine named nowhere\.example\.com\.$"):
        webhooks.set_webhook(business=cast.shop, url="https://nowhere.example.com", actor=None, now=NOW)


def test_a_name_that_leads_home_later_is_not_followed(buyer, system, monkeypatch, settings):
    """Its owner named a public machine to us, and names our own by the time we send."""
    settings.TESTING = False
    Buyer.objects.update(webhook_url="https://rebound.example.com/x")
    delivery = queued(buyer)
    leads_to(monkeypatch, "127.0.0.1")
    assert webhooks.send_due(now=NOW)["again"] == 1
    assert fresh(delivery).error == "This address leads into a private network, where we do not go."
    assert (system.received, system.turned_away) == ([], [])


def test_a_name_is_asked_for_once_and_the_checked_machine_is_called(buyer, system, monkeypatch, tmp_path):
    """Over TLS, with the name in the certificate and in the Host header, though the machine was called by number."""
    trusted = system.speak_tls("hooks.example.com", tmp_path)
    context = outgoing._trusted()
    outgoing._trusted.cache_clear()
    fresh_context = outgoing._trusted()
    fresh_context.load_verify_locations(trusted)
    assert fresh_context is not context
    Buyer.objects.update(webhook_url=f"https://hooks.example.com:{system.port}/in")
    queued(buyer)
    real, asked = socket.getaddrinfo, []

    def look_up(host: str, *args: object, **kwargs: object) -> object:
        if host != "hooks.example.com":
            return real(host, *args, **kwargs)  # a number, which needs no asking
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "192.0.2.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert webhooks.send_due(now=NOW)["delivered"] == 1
    finally:
        outgoing._trusted.cache_clear()
    assert (asked, system.received[0].host) == (["hooks.example.com"], f"hooks.example.com:{system.port}")


def test_a_certificate_nobody_vouches_for_is_not_accepted(buyer, system, monkeypatch, tmp_path):
    system.speak_tls("hooks.example.com", tmp_path)
    Buyer.objects.update(webhook_url=f"https://localhost:{system.port}/in")
    delivery = queued(buyer)
    assert webhooks.send_due(now=NOW)["again"] == 1
    assert fresh(delivery).error.startswith("Its certificate is not accepted: ")
    assert system.received == []


# --- Patience ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dripping(greeting: bytes) -> Iterator[str]:
    """The address of somebody who greets, and then sends a byte now and then."""
    done = threading.Event()

    def drip(door: socket.socket) -> None:
        line, _ = door.accept()
        with line:
            line.sendall(greeting)
            while not done.wait(0.05):
                try:
                    line.sendall(b"a")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=drip, args=[door])
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        done.set()
        thread.join()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_whoever_sends_a_byte_now_and_then_does_not_keep_us(monkeypatch, greeting):
    monkeypatch.setattr(outgoing, "TOTAL", 0.3)
    started = time.monotonic()
    with dripping(greeting) as url, pytest.raises(outgoing.NotReached, match=r"^It did not answer in time\.$"):
        outgoing.post(url, b"{}", headers={}, local=True)
    assert 0.2 < time.monotonic() - started < 2


def test_who_has_said_yes_may_take_long_over_the_rest(monkeypatch):
    monkeypatch.setattr(outgoing, "TOTAL", 0.3)
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        assert outgoing.post(url, b"{}", headers={}, local=True) == outgoing.Answer(status=200, text="")


def test_only_the_beginning_of_an_answer_is_read(system):
    system.temper = Temper(status=200, words="x" * 1_000_000)
    system.secret = ""
    headers = {
        "Frontdesk-Delivery": "1", "Frontdesk-Event": "x", "Content-Type": "application/json",
        signing.HEADER: signing.sign(b"{}", secret="", at=int(NOW.timestamp())),
    }  # fmt: skip
    answer = outgoing.post(system.url, b"{}", headers=headers, local=True)
    assert (answer.status, answer.text) == (200, "x" * 2_048)
