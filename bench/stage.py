"""What every benchmark stands on: one web process, clients in a process of their own, a row of the table."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import Result

PROJECT = Path(__file__).resolve().parent.parent


@contextmanager
def server(application: str) -> Iterator[int]:
    """One granian process with one worker, started as the Procfile starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--blocking-threads", "8", "--log-level", "error", application,
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=PROJECT, env=os.environ | {"FRONTDESK_PROCESS": "web"})
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def apart(work: Callable[..., Result], *arguments: object) -> Result:
    """Run in a process of its own, so that the clients do not slow each other's server down through one interpreter."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work, arguments)


def row(name: str, result: Result, low: Result | None = None) -> None:
    share = f"{result.per_second / low.per_second:.2f}" if low else ""
    print(
        f"{name:42}{result.per_second:>11.0f}{result.p50:>9.1f}{result.p95:>9.1f}{result.p99:>9.1f}{share:>10}",
        flush=True,
    )
