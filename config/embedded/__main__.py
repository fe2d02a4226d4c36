"""For people: `python -m config.embedded status` and `python -m config.embedded stop`."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path

from config.embedded.door import PROJECT
from config.embedded.keeper import Keeper, keep, take_keeper_lock
from config.embedded.room import Room, try_lock

STOP_PATIENCE = 120.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.embedded", description=__doc__)
    parser.add_argument("command", choices=["status", "stop", "keep"], help="keep is for Frontdesk itself")
    parser.add_argument("--data", type=Path, help="the data folder; otherwise FRONTDESK_DATA, otherwise .data")
    parser.add_argument("--force", action="store_true", help="stop the servers although somebody uses them")
    arguments = parser.parse_args()
    data_dir: Path = arguments.data or Path(os.environ.get("FRONTDESK_DATA") or PROJECT / ".data")
    room = Room(data_dir.expanduser().resolve())
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    os.umask(0o077)
    if arguments.command == "keep":
        keep(room)
        return 0
    if not room.keeper_lock.exists():
        print(f"There are no embedded servers in {room.data_dir}.")
        return 0
    return status(room) if arguments.command == "status" else stop(room, force=arguments.force)


def status(room: Room) -> int:
    print(f"Data folder  {room.data_dir}")
    if not room.keeper_is_here():
        print("Keeper       none; the next process that needs the servers starts them")
        return 0
    notice = room.read_notice()
    if notice is None:
        print(f"Keeper       starting or stopping, log in {room.keeper_log}")
        return 0
    print(f"Keeper       process {notice.keeper}, log in {room.keeper_log}")
    for name, title in (("postgres", "PostgreSQL"), ("redis", "Redis")):
        if name in notice.urls:
            print(f"{title:<12} process {notice.pids[name]}, {notice.urls[name]}")
        elif name in notice.failed:
            print(f"{title:<12} {notice.failed[name]}")
    print(f"In use       {'yes' if _in_use(room) else 'no'}")
    return 0


def stop(room: Room, *, force: bool) -> int:
    # Held until the end, so that nobody starts to use servers which are about to go.
    users_lock = try_lock(room.users_lock, fcntl.LOCK_EX)
    if users_lock is None and not force:
        print(
            f"Somebody still uses the servers in {room.data_dir}: a web process, a worker, a shell. "
            "End that first, or repeat with --force."
        )
        return 1
    if room.keeper_is_here():
        os.kill(int(room.keeper_lock.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE
        while room.keeper_is_here():
            if time.monotonic() > deadline:
                print(f"The servers have been stopping for {STOP_PATIENCE:.0f} seconds; see {room.keeper_log}.")
                return 1
            time.sleep(0.05)
    elif lock := take_keeper_lock(room):
        # A killed keeper may have left its servers behind.
        Keeper(room, lock).stop_all()
    print(f"The servers in {room.data_dir} are stopped.")
    return 0


def _in_use(room: Room) -> bool:
    fd = try_lock(room.users_lock, fcntl.LOCK_EX)
    if fd is None:
        return True
    os.close(fd)
    return False


if __name__ == "__main__":
    sys.exit(main())
