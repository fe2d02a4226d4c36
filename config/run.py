"""`make run`: the database brought up to date, the demo in place, then web, worker and beat until Ctrl-C.

Ends with 0 when a person ends it (Ctrl-C, TERM, the terminal closed) and leaves no process behind; the embedded servers
stop by themselves a few seconds later.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import environ
import psutil

PROJECT = Path(__file__).resolve().parent.parent
HONCHO_HEAD_START = 1.0  # seconds: told to stop before it knows its children, honcho forgets them
HONCHO_PATIENCE = 15.0  # seconds; honcho itself gives its children five


class Stopped(BaseException):
    """Somebody asked us to end. Like KeyboardInterrupt, nobody may catch it by accident."""


def main() -> int:
    environ.Env.read_env(PROJECT / ".env")
    data_dir = Path(os.environ.get("FRONTDESK_DATA") or PROJECT / ".data").expanduser().resolve()
    port = int(os.environ.get("PORT") or 8000)
    # The Procfile says `python` and means this one; it reads the folder and the port from the environment.
    os.environ |= {
        "FRONTDESK_DATA": str(data_dir),
        "PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    os.chdir(PROJECT)
    if not _is_free(port):
        print(f"Something already listens on port {port}. Another one is chosen like this: make run PORT={port + 1}")
        return 1
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _stop)
    give_back = _take_terminal()
    try:
        return _run(port)
    except Stopped:
        print("\nFrontdesk has stopped.")
        return 0
    finally:
        give_back()


def _run(port: int) -> int:
    print("Bringing the database up to date ...", flush=True)
    _manage("migrate", "--verbosity", "0")
    print("Looking after the demo ...", flush=True)
    how_to_log_in = _manage("seed_demo")
    # In a session of its own, so that Ctrl-C reaches only us and everything ends in order. What .env says is in the
    # environment already.
    honcho = subprocess.Popen(
        [sys.executable, "-m", "honcho", "start", "--env", os.devnull, "--port", str(port)], start_new_session=True
    )
    started = time.monotonic()
    make = os.getppid()
    announced = False
    try:
        while honcho.poll() is None:
            if not announced and _answers(port):
                print(f"\nFrontdesk is open: http://127.0.0.1:{port}/\n{how_to_log_in}Ctrl-C ends it.\n", flush=True)
                announced = True
            if os.getppid() != make:
                raise Stopped  # killed without a chance to tell us
            time.sleep(0.5)
        print("One of the processes ended by itself; its last words are above.")
        return honcho.returncode or 1
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        time.sleep(max(0.0, started + HONCHO_HEAD_START - time.monotonic()))
        _end(honcho)


def _manage(*command: str) -> str:
    """What the command said. When it fails, its words go to the terminal and we end with its code."""
    done = subprocess.run([sys.executable, "manage.py", *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, end="")
        sys.exit(done.returncode)
    return done.stdout


def _end(honcho: subprocess.Popen[bytes]) -> None:
    """End honcho and everything it started, in order if they listen, by force if not."""
    try:
        family = psutil.Process(honcho.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    honcho.terminate()
    try:
        honcho.wait(HONCHO_PATIENCE)
    except subprocess.TimeoutExpired:
        honcho.kill()
    for process in psutil.wait_procs(family, timeout=1)[1]:
        process.kill()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _take_terminal() -> Callable[[], None]:
    """Become the terminal's foreground group, so that Ctrl-C reaches us and not make, which would call it an error.

    Returns what gives the terminal back. Without a terminal, or in the background, nothing is taken.
    """
    if not sys.stdin.isatty() or os.tcgetpgrp(0) != os.getpgrp():
        return lambda: None
    makes_group = os.getpgrp()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a group that hands over the terminal is asked to wait otherwise
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z would stop us without the shell ever noticing
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    return lambda: os.tcsetpgrp(0, makes_group)


def _stop(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
