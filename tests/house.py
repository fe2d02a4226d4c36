"""An installation of its own, in real processes: what an operator starts, and what breaks."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from config import embedded

PROJECT = Path(__file__).resolve().parents[1]


class House:
    """The processes of one installation, and what a carrier and an operator can do to them."""

    def __init__(self, data: Path) -> None:
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {
            "FRONTDESK_DATA": str(data), "SECRET_KEY": "under-fire", "LOG_LEVEL": "ERROR",
            "OUTBOX_PATIENCE_SECONDS": "25", "DJANGO_SETTINGS_MODULE": "config.settings",
        }  # fmt: skip
        servers = embedded.ensure(data, postgres=True, redis=True)
        assert servers.database_url is not None
        assert servers.redis_url is not None
        self.database_url, self.redis_url = servers.database_url, servers.redis_url
        self.web: dict[int, subprocess.Popen[bytes]] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.beat: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        """What the command printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=PROJECT, env=self.env, check=True, capture_output=True, text=True)
        return done.stdout

    def start_web(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.web[port] = self._start(
            "web", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--blocking-threads", "4", "--log-level", "error", "config.wsgi:application",
        )  # fmt: skip
        return port

    def start_worker(self) -> None:
        self.workers.append(
            self._start(
                "worker", "celery", "-q", "-A", "config.celery", "worker", "-Q", "inbound,outbound,bulk", "--concurrency", "1",
                "--without-gossip", "--without-mingle", "-l", "critical",
            )
        )  # fmt: skip

    def start_beat(self) -> None:
        schedule = str(Path(self.env["FRONTDESK_DATA"]) / "schedule")
        self.beat = self._start(
            "beat", "celery", "-q", "-A", "config.celery", "beat", "-s", schedule, "--pidfile=", "-l", "critical"
        )

    def _start(self, process: str, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=PROJECT, env=self.env | {"FRONTDESK_PROCESS": process},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def answering(self, port: int) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False

    def stop(self) -> None:
        for process in [*self.web.values(), *self.workers, self.beat]:
            if process is not None:
                kill(process)

    # --- what breaks ---

    def kill_a_web_process(self) -> None:
        port = next(iter(self.web))
        kill(self.web.pop(port))
        self.start_web()

    def kill_a_worker(self) -> None:
        kill(self.workers.pop(0))
        self.start_worker()

    def wipe_redis(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def restart_postgres(self) -> None:
        """A fast shutdown; the keeper starts it again."""
        with psycopg.connect(self.database_url) as connection:
            postmaster = psutil.Process(connection.info.backend_pid).parent()
        assert postmaster is not None
        postmaster.send_signal(signal.SIGINT)
        postmaster.wait(timeout=30)

    # --- what can be seen ---

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        for _ in range(100):
            try:
                with psycopg.connect(self.database_url, connect_timeout=2) as connection:
                    return connection.execute(sql.encode()).fetchall()
            except psycopg.OperationalError:
                time.sleep(0.2)
        raise AssertionError("Postgres did not come back")


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)


def wait_until(what: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.3)
    return False
