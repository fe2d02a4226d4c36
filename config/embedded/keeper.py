"""The one process per data folder that owns the embedded servers."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections import Counter
from typing import Protocol

from config.embedded.postgres_server import PostgresServer
from config.embedded.redis_server import RedisServer
from config.embedded.room import Notice, Room, try_lock

TICK = 0.5  # seconds between two looks around
GRACE = 3.0  # seconds without any user before the servers stop: the next command of a script finds them still warm
TRIES = 3  # failed starts in a row before the users are told; the first may meet the remains of a crash
PAUSE = 10.0  # seconds between two tries after that

log = logging.getLogger("keeper")


class Server(Protocol):
    """One embedded server, as the keeper sees it."""

    name: str
    title: str
    warning: str  # for the person who started the keeper; empty when all is well

    def start(self) -> str:
        """Start the server, or adopt the one that runs; return its address once it answers."""

    def pid(self) -> int | None:
        """The pid while it lives, else None."""

    def stop(self) -> None:
        """Stop it cleanly and wait for that; nothing to do when it does not run."""


def keep(room: Room) -> None:
    """Look after the servers until nobody needs them. Returns at once when another keeper is already here."""
    lock = take_keeper_lock(room)
    if lock is None:
        log.info("Another keeper is already here.")
        return
    room.withdraw_notice()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper = Keeper(room, lock)
    try:
        keeper.stay_until_nobody_is_left()
    except KeyboardInterrupt:
        log.info("Asked to stop.")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        keeper.stop_all()


def take_keeper_lock(room: Room) -> int | None:
    """Become the keeper: the lock's descriptor, or None when there is one. Waits a moment for a passing look at it."""
    for _ in range(20):
        fd = try_lock(room.keeper_lock, fcntl.LOCK_EX)
        if fd is not None:
            os.truncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
            return fd
        time.sleep(0.02)
    return None


class Keeper:
    """Holds keeper.lock (an open descriptor) and everything it guards."""

    def __init__(self, room: Room, lock: int) -> None:
        self.room = room
        self.lock = lock
        self.servers: list[Server] = [PostgresServer(room), RedisServer(room)]
        self.urls: dict[str, str] = {}  # of the servers that answered when last started
        self.failed_tries: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}  # why the last try failed
        self.next_try: dict[str, float] = {}
        self.published: Notice | None = None

    def stay_until_nobody_is_left(self) -> None:
        """Returns holding users.lock exclusively: a newcomer waits for the end and then finds no keeper."""
        log.info("Keeper %d looks after %s.", os.getpid(), self.room.data_dir)
        alone_since: float | None = None
        while self._data_folder_is_still_ours():
            for server in self.servers:
                if self.room.wanted(server.name).exists() and not self._answers(server):
                    self._try_to_start(server)
            self._publish()
            users_lock = try_lock(self.room.users_lock, fcntl.LOCK_EX)
            if users_lock is None:
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
                os.close(users_lock)
            elif time.monotonic() - alone_since < GRACE:
                os.close(users_lock)
            else:
                log.info("Nobody uses the servers any more.")
                return
            time.sleep(TICK)
        log.warning("The data folder was deleted or replaced; the servers go with it.")

    def stop_all(self) -> None:
        """Stop the servers cleanly, Redis first. Markers and notice go too, unless the folder is no longer ours."""
        if self._data_folder_is_still_ours():
            self.room.withdraw_notice()
            for server in self.servers:
                self.room.wanted(server.name).unlink(missing_ok=True)
        for server in reversed(self.servers):
            server.stop()
        log.info("Stopped.")

    def _try_to_start(self, server: Server) -> None:
        name = server.name
        if time.monotonic() < self.next_try.get(name, 0):
            return
        if self.urls.pop(name, None):
            log.warning("%s died; starting it again.", name)
        try:
            self.urls[name] = server.start()
        except Exception as error:
            # Whatever went wrong, the other server's users still need this keeper; the reason goes to those who wait.
            log.exception("%s did not start.", name)
            self.reasons[name] = f"{server.title} did not start: {error}"
            self.failed_tries[name] += 1
            self.next_try[name] = time.monotonic() + (0 if self.failed_tries[name] < TRIES else PAUSE)
        else:
            del self.failed_tries[name]
            log.info("%s runs as process %s.", name, server.pid())

    def _answers(self, server: Server) -> bool:
        return server.name in self.urls and server.pid() is not None

    def _publish(self) -> None:
        pids = {server.name: pid for server in self.servers if (pid := server.pid())}
        notice = Notice(
            keeper=os.getpid(),
            urls={server.name: self.urls[server.name] for server in self.servers if self._answers(server)},
            pids=pids,
            failed={name: self.reasons[name] for name, tries in self.failed_tries.items() if tries >= TRIES},
            warning=" ".join(server.warning for server in self.servers if server.warning),
        )
        if notice != self.published:
            self.room.publish(notice)
            self.published = notice

    def _data_folder_is_still_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.room.keeper_lock), os.fstat(self.lock))
        except FileNotFoundError:
            return False
