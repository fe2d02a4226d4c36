"""The one door to addresses that buyers name: HTTPS, to machines of the public internet and to no others.

Who names an address could name one of ours: a database, a cloud's metadata, a printer. So its name is looked up once,
every answer is checked, and exactly the checked machine is called: a name that leads elsewhere a moment later leads
nowhere. No redirect is followed, and a slow answer is cut off.
"""

from __future__ import annotations

import functools
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 500  # characters of an address
CONNECT: Final = 5.0  # seconds
TOTAL: Final = 10.0  # seconds, from the first byte out to the last we read
READ: Final = 2_048  # bytes of an answer; the rest is left unread
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
# Ways to write an IPv4 address as an IPv6 one; where such a way leads depends on the network we stand in.
_TUNNELS: Final = [IPv6Network(net) for net in ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")]


class BadAddress(ValueError):
    """We do not call this address. The text says why, for whoever wrote it."""


class NotReached(Exception):
    """Nobody answered. The text says what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str  # its beginning


@dataclass(frozen=True, slots=True)
class _Place:
    """Checked machines, and the name they are called by."""

    parts: SplitResult
    host: str
    port: int
    addresses: list[str]


def check(url: str, *, local: bool) -> None:
    """Raises BadAddress for what we would not call, NotReached when its name leads nowhere now.

    `local` also lets this machine through, without TLS: for trying things out.
    """
    _find(url, local=local)


def post(url: str, body: bytes, *, headers: Mapping[str, str], local: bool) -> Answer:
    """Bring `body` there. Raises BadAddress or NotReached. Call it with no transaction open: it may take `TOTAL`."""
    place = _find(url, local=local)
    until = time.monotonic() + TOTAL
    connection = _Pinned(place, until=until)
    try:
        target = (place.parts.path or "/") + (f"?{place.parts.query}" if place.parts.query else "")
        connection.request("POST", target, body=body, headers=dict(headers))
        response = connection.getresponse()
        return Answer(status=response.status, text=_beginning(response))
    except TimeoutError as error:
        raise NotReached("It did not answer in time.") from error
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"Its certificate is not accepted: {error.verify_message}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotReached(f"The line broke: {type(error).__name__}.") from error
    finally:
        connection.hang_up()


def _beginning(response: http.client.HTTPResponse) -> str:
    """What it says is for people who look for a mistake; the status is the answer, even if nothing follows it."""
    try:
        return response.read(READ).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""


def _find(url: str, *, local: bool) -> _Place:
    if len(url) > LONGEST or not _PLAIN.fullmatch(url):
        raise BadAddress("Write the address in plain letters, like https://example.com/recalls.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadAddress("This is not an address. Write it like https://example.com/recalls.") from error
    if not host or parts.scheme not in ("https", "http"):
        raise BadAddress("This is not an address. Write it like https://example.com/recalls.")
    if parts.username is not None:
        raise BadAddress("Leave out the name and password: every message is signed.")
    port = port or (443 if parts.scheme == "https" else 80)
    found = _look_up(host, port)
    at_home = local and all(ip_address(address).is_loopback for address in found)
    if not at_home:
        if parts.scheme != "https":
            raise BadAddress("The address has to begin with https://.")
        if not all(_is_public(address) for address in found):
            raise BadAddress("This address leads into a private network, where we do not go.")
    return _Place(parts=parts, host=host, port=port, addresses=found)


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotReached(f"There is no machine named {host}.") from error
    return [str(address[0]) for *_, address in found]


def _is_public(text: str) -> bool:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and any(address in network for network in _TUNNELS):
        return False
    return address.is_global and not address.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to a checked machine, whatever its name leads to by now."""

    def __init__(self, place: _Place, *, until: float) -> None:
        super().__init__(place.host, place.port)
        self._place, self._until = place, until
        self._line: socket.socket | None = None
        self.default_port = 443 if place.parts.scheme == "https" else 80  # left out of the Host header

    def connect(self) -> None:
        self._line = self._first_that_answers()
        if self._place.parts.scheme == "https":
            self._line = _trusted().wrap_socket(self._line, server_hostname=self._place.host)
        self.sock = _Impatient(self._line, until=self._until)

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()

    def _first_that_answers(self) -> socket.socket:
        *others, last = self._place.addresses
        for address in others:  # such as an IPv6 one, where this machine has no way to it
            try:
                return self._call(address)
            except OSError:
                continue
        return self._call(last)

    def _call(self, address: str) -> socket.socket:
        left = min(CONNECT, self._until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        return socket.create_connection((address, self._place.port), timeout=left)


class _Impatient:
    """A socket with a time limit for everything together. The library's own is for each read, and whoever sends a byte
    now and then would keep us for hours."""

    def __init__(self, line: socket.socket, *, until: float) -> None:
        self._line, self._until = line, until

    def sendall(self, data: Any) -> None:
        self._hurry()
        self._line.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Reading(self))

    def recv_into(self, buffer: Any) -> int:
        self._hurry()
        return self._line.recv_into(buffer)

    def close(self) -> None:
        """The library closes before it has read the answer. `hang_up` ends it."""

    def _hurry(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(left)


class _Reading(io.RawIOBase):
    def __init__(self, line: _Impatient) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.recv_into(buffer)


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates this machine trusts. Reading them takes a while."""
    return ssl.create_default_context()
