"""What a process does that wants to use the embedded servers. Standard library only: it runs at every start."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from config.embedded.room import Notice, Room, try_lock

PATIENCE = 60.0  # seconds until a start that does not come is reported
PROJECT = Path(__file__).resolve().parent.parent.parent

_held_locks: dict[Path, int] = {}  # data folder → our hold on users.lock; never closed, the kernel does it for us
_keepers: list[subprocess.Popen[bytes]] = []  # kept, so that Python does not complain that they outlive us


class EmbeddedServersError(RuntimeError):
    """The embedded servers did not come up; the message says why or where to read on."""


@dataclass(frozen=True)
class Servers:
    """Addresses: `postgres://…` for the database, `redis://…` for Redis; None where none was asked for."""

    database_url: str | None
    redis_url: str | None


def ensure(data_dir: Path, *, postgres: bool, redis: bool) -> Servers:
    """Make sure the servers run for as long as this process and its forks live, and say where.

    Answers within milliseconds when they already run. Raises EmbeddedServersError after PATIENCE seconds, or as soon as
    the keeper says that it cannot start one of them.
    """
    wanted = [name for name, asked in (("postgres", postgres), ("redis", redis)) if asked]
    if not wanted:
        return Servers(database_url=None, redis_url=None)
    room = Room(data_dir.expanduser().resolve())
    room.prepare()
    deadline = time.monotonic() + PATIENCE
    _join_users(room, deadline)
    for name in wanted:
        room.wanted(name).touch()
    urls = _await_servers(room, wanted, deadline).urls
    return Servers(database_url=urls["postgres"] if postgres else None, redis_url=urls["redis"] if redis else None)


def _join_users(room: Room, deadline: float) -> None:
    while room.data_dir not in _held_locks:
        fd = try_lock(room.users_lock, fcntl.LOCK_SH)
        if fd is not None:
            _held_locks[room.data_dir] = fd
        elif time.monotonic() > deadline:
            raise EmbeddedServersError(
                f"The embedded servers in {room.data_dir} have been stopping for {PATIENCE:.0f} seconds. "
                f"What keeps them is in {room.keeper_log}."
            )
        else:
            time.sleep(0.02)


def _await_servers(room: Room, wanted: list[str], deadline: float) -> Notice:
    keeper: subprocess.Popen[bytes] | None = None
    while True:
        if room.keeper_is_here():
            notice = room.read_notice()
            if notice and all(name in notice.urls for name in wanted):
                if keeper and notice.keeper == keeper.pid and notice.warning:
                    sys.stderr.write(notice.warning + "\n")
                return notice
            _raise_if_failed(room, notice, wanted)
        elif keeper is None or keeper.poll() is not None:
            if keeper and keeper.returncode > 0:  # below 0 somebody killed it, and another may try
                raise EmbeddedServersError(
                    f"The keeper of the embedded servers broke off. Its last words: {_last_words(room)} "
                    f"(more in {room.keeper_log})"
                )
            # Two processes may both get here; the lock lets one keeper stay, the other leaves at once with code 0.
            keeper = _start_keeper(room)
        if time.monotonic() > deadline:
            raise EmbeddedServersError(
                f"The embedded servers in {room.data_dir} did not start within {PATIENCE:.0f} seconds. "
                f"What happened is in {room.keeper_log}."
            )
        time.sleep(0.02)


def _raise_if_failed(room: Room, notice: Notice | None, wanted: list[str]) -> None:
    if notice is None:
        return
    for name in wanted:
        if name in notice.failed:
            raise EmbeddedServersError(f"{notice.failed[name]} More in {room.log_dir}.")


def _start_keeper(room: Room) -> subprocess.Popen[bytes]:
    log = room.open_log(room.keeper_log.name)
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "config.embedded", "keep", "--data", str(room.data_dir)],
            cwd=PROJECT,
            # PGPORT, PGOPTIONS and their kin speak of some other PostgreSQL.
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C meant for us must not reach it
        )
    finally:
        os.close(log)
    _keepers.append(keeper)
    return keeper


def _last_words(room: Room) -> str:
    lines = room.keeper_log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "none."
