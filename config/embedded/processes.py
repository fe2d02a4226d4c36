"""Recognising and ending the server processes, whoever started them."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil


def alive(process: psutil.Process | None) -> bool:
    """Whether this very process still runs: a recycled pid or a zombie is not alive."""
    if process is None:
        return False
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def find_server(pid_file: Path) -> psutil.Process | None:
    """The server that wrote this pid file, if it still lives.

    Both servers work inside the folder their pid file lies in. After a reboot, or in a restarted container, the number
    may belong to anybody, so the folder decides and not the number alone.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if Path(process.cwd()) == pid_file.parent and alive(process):
            return process
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None  # no file, half a file, nobody, or somebody else's process
    return None


def end(process: psutil.Process | None, *, signals: list[tuple[int, float]]) -> None:
    """Send each signal in turn until the process is gone, waiting up to the given seconds after each."""
    for signum, seconds in signals:
        if process is None or not alive(process):
            return
        with suppress(psutil.NoSuchProcess):  # gone between the look and the signal
            process.send_signal(signum)
        deadline = time.monotonic() + seconds
        # Not Process.wait(): an adopted server whose new parent never reaps it would be waited for as a zombie.
        while alive(process) and time.monotonic() < deadline:
            time.sleep(0.02)
