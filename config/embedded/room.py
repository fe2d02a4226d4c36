"""The files of one data folder, and the two locks everything hangs on."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

LOG_LIMIT = 10_000_000  # bytes; a longer log starts afresh and keeps one predecessor


@dataclass(frozen=True)
class Notice:
    """What the keeper tells everybody, in `run/servers.json`: written whole or not at all.

    `urls`, `pids` and `failed` (a sentence why) are keyed by server: "postgres", "redis". `warning` is for the person
    who started this keeper.
    """

    keeper: int
    urls: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class Room:
    """One data folder. Two of them on one machine know nothing of each other."""

    data_dir: Path

    def prepare(self) -> None:
        """Create the folders this package writes to, closed to other people."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.run_dir, self.log_dir):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def run_dir(self) -> Path:
        return self.data_dir / "run"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def keeper_log(self) -> Path:
        return self.log_dir / "keeper.log"

    @property
    def users_lock(self) -> Path:
        """Held shared by every user for its whole life; exclusively by the keeper while it stops the servers."""
        return self.run_dir / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held exclusively by the keeper for its whole life; the file names its pid."""
        return self.run_dir / "keeper.lock"

    def wanted(self, server: str) -> Path:
        """A marker: some user asked for this server ("postgres" or "redis")."""
        return self.run_dir / f"{server}.wanted"

    def keeper_is_here(self) -> bool:
        fd = try_lock(self.keeper_lock, fcntl.LOCK_SH)
        if fd is None:
            return True
        os.close(fd)
        return False

    def read_notice(self) -> Notice | None:
        """What the living keeper said last, or None when it has said nothing yet."""
        try:
            notice = Notice(**json.loads(self._notice_file.read_text()))
        except FileNotFoundError:
            return None
        # Between a kill -9 and the next keeper's first breath the file still holds the dead one's words.
        return notice if _is_running(notice.keeper) else None

    def publish(self, notice: Notice) -> None:
        draft = self._notice_file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(notice), indent=2))
        draft.chmod(0o600)  # the Redis address holds its password
        draft.replace(self._notice_file)

    def withdraw_notice(self) -> None:
        self._notice_file.unlink(missing_ok=True)

    def open_log(self, name: str) -> int:
        """A file descriptor that appends to log/<name>, for a child process to write to."""
        path = self.log_dir / name
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".old.log"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def _notice_file(self) -> Path:
        return self.run_dir / "servers.json"


def try_lock(path: Path, mode: int) -> int | None:
    """A file descriptor holding the lock (`fcntl.LOCK_SH` or `fcntl.LOCK_EX`) until it is closed, or None if taken.

    Forked children share it; started programs do not (Python closes it on exec), so a browser or a server launched by a
    user never counts as a user.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
