"""A buyer's own system, which takes our messages.

It believes none whose signature it cannot compute itself, by the published rule and not by our code: HMAC-SHA256 over the
time, a dot and the body, and no older than five minutes. What it believes stays in `received`, what not in `turned_away`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.loopback import Dropped, Loopback

TOLERANCE = 300  # seconds


@dataclass(frozen=True)
class Received:
    delivery: str
    event: str
    content_type: str
    host: str
    path: str
    message: dict[str, Any]


@dataclass(frozen=True)
class Temper:
    """How it answers. All off: 200."""

    status: int = 200
    words: str = "ok"
    hang: float = 0  # seconds before anything is answered
    drip: float = 0  # seconds between the bytes of an answer that takes its time
    drop: bool = False  # the line breaks before the answer


class BuyerSystem(Loopback):
    """`with BuyerSystem() as buyer:` and send to `buyer.url + "/recalls"`."""

    def __init__(self, *, secret: str = "", now: datetime | None = None) -> None:
        super().__init__()
        self.secret, self.now = secret, now
        self.temper = Temper()
        self.received: list[Received] = []
        self.turned_away: list[str] = []
        self._turn = threading.Lock()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def speak_tls(self, name: str, folder: Any) -> str:
        """From now on with a certificate of its own for `name`; the file to trust."""
        certificate, key = _certificate(name)
        (folder / "cert.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # who does not trust the certificate hangs up on us
        return str(folder / "cert.pem")

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str | dict[str, Any] | Iterator[bytes]]:
        temper = self.temper
        if temper.hang and self.closing.wait(temper.hang):
            raise Dropped
        trouble = self._trouble(method, headers, body)
        with self._turn:
            if trouble:
                self.turned_away.append(trouble)
                return 401, trouble
            self.received.append(
                Received(
                    delivery=headers["frontdesk-delivery"], event=headers["frontdesk-event"],
                    content_type=headers["content-type"], host=headers["host"], path=path, message=json.loads(body),
                )
            )  # fmt: skip
        if temper.drop:
            raise Dropped
        if temper.drip:
            return temper.status, self._drip(temper)
        return temper.status, temper.words

    def _trouble(self, method: str, headers: dict[str, str], body: bytes) -> str:
        if method != "POST":
            return f"{method} instead of POST"
        parts = dict(part.partition("=")[::2] for part in headers.get("frontdesk-signature", "").split(","))
        if set(parts) != {"t", "v1"}:
            return "no signature"
        clock = (self.now or datetime.now(UTC)).timestamp()
        if abs(clock - int(parts["t"])) > TOLERANCE:
            return "too old"
        expected = hmac.new(self.secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        return "" if hmac.compare_digest(expected, parts["v1"]) else "wrong signature"

    def _drip(self, temper: Temper) -> Iterator[bytes]:
        for _ in range(1_000):
            if self.closing.wait(temper.drip):
                return
            yield b" "


def _certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
