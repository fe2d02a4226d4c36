"""The embedded servers, for real: processes are started and killed, PostgreSQL and Redis answer or do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import environ
import psutil
import psycopg
import pytest
import redis
from django.db.utils import ConnectionHandler

from config.embedded import EmbeddedServersError, Servers, ensure

PROJECT = Path(__file__).resolve().parent.parent.parent
USER = """
import json, sys
from pathlib import Path
from config.embedded import ensure
servers = ensure(Path(sys.argv[1]), postgres=True, redis=True)
print(json.dumps([servers.database_url, servers.redis_url]), flush=True)
sys.stdin.read()
"""


class User:
    """A process that uses the servers of a data folder until it is killed or told to leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def servers(self) -> Servers:
        assert self.process.stdout
        database_url, redis_url = json.loads(self.process.stdout.readline())
        return Servers(database_url=database_url, redis_url=redis_url)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Shop:
    """A data folder, with everything that was started in it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.users: list[User] = []

    def user(self) -> User:
        self.users.append(User(self.data_dir))
        return self.users[-1]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "config.embedded", *arguments, "--data", str(self.data_dir)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    @property
    def postgres(self) -> psutil.Process:
        return psutil.Process(int((self.data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))

    @property
    def redis(self) -> psutil.Process:
        return psutil.Process(int((self.data_dir / "redis" / "redis.pid").read_text()))

    @property
    def keeper(self) -> psutil.Process:
        """Whoever holds the lock; a new one writes its number a moment after it got hold of it."""
        lock, until = self.data_dir / "run" / "keeper.lock", time.monotonic() + 5
        while not (number := lock.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        return psutil.Process(int(number))

    def close(self) -> None:
        for user in self.users:
            user.kill()
        self.cli("stop", "--force")


@pytest.fixture
def open_shop() -> Iterator[Callable[..., Shop]]:
    with _shops() as open_it:
        yield open_it


@pytest.fixture(scope="module")
def busy_shop() -> Iterator[Shop]:
    """One folder for the tests that leave its servers running. Its path is too long for a socket."""
    with _shops() as open_it:
        shop = open_it("A Folder, somewhere deep/" + "down " * 30 + "below")
        shop.user().servers()
        yield shop


@contextmanager
def _shops() -> Iterator[Callable[..., Shop]]:
    # Not tmp_path: pytest keeps that folder closed to everybody else, and as root PostgreSQL is somebody else.
    home = Path(tempfile.mkdtemp(prefix="frontdesk-test-"))
    shops: list[Shop] = []

    def open_it(name: str = "data") -> Shop:
        shops.append(Shop(home / name))
        return shops[-1]

    yield open_it
    for shop in shops:
        shop.close()
    shutil.rmtree(home)


def eventually(is_so: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def sql(servers: Servers, statement: str) -> list[tuple[object, ...]]:
    assert servers.database_url
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def redis_client(servers: Servers) -> redis.Redis:
    assert servers.redis_url
    return redis.Redis.from_url(servers.redis_url, decode_responses=True)


def is_up(servers: Servers) -> bool:
    try:
        return sql(servers, "SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def answers(servers: Servers) -> bool:
    try:
        return bool(redis_client(servers).ping())
    except redis.ConnectionError:
        return False


def test_three_processes_starting_at_once_share_one_pair_of_servers(open_shop):
    shop = open_shop()
    users = [shop.user() for _ in range(3)]

    first, *others = [user.servers() for user in users]

    assert others == [first, first]
    assert sql(first, "SELECT current_database()") == [("frontdesk",)]
    assert answers(first)
    folder = str(shop.data_dir / "postgres")
    running = [process.pid for process in psutil.process_iter(["cmdline"]) if folder in (process.info["cmdline"] or [])]
    assert running == [shop.postgres.pid]


def test_a_later_process_has_its_answer_at_once(busy_shop):
    servers = busy_shop.user().servers()
    # A fork, as in a Celery worker: the lock it takes is gone with it, and this test process stays a stranger.
    child = os.fork()
    if child == 0:
        started = time.monotonic()
        same = ensure(busy_shop.data_dir, postgres=True, redis=True) == servers
        os._exit(0 if same and time.monotonic() - started < 0.1 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_django_understands_the_address_even_of_a_long_path_with_spaces(busy_shop, django_db_blocker):
    servers = busy_shop.user().servers()
    connection = ConnectionHandler({"default": environ.Env.db_url_config(servers.database_url)})["default"]

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('jit'), current_setting('fsync')")
        row = cursor.fetchone()
    connection.close()

    assert row == ("frontdesk", "off", "on")


def test_a_killed_keeper_is_replaced_and_the_running_servers_are_adopted(busy_shop):
    before = busy_shop.user().servers()
    postgres, redis_process, keeper = busy_shop.postgres, busy_shop.redis, busy_shop.keeper

    keeper.kill()
    assert eventually(lambda: gone(keeper))
    assert sql(before, "SELECT 1") == [(1,)], "whoever works does not notice"
    after = busy_shop.user().servers()

    assert after == before
    assert busy_shop.keeper != keeper
    assert (busy_shop.postgres, busy_shop.redis) == (postgres, redis_process)


def test_redis_comes_back_at_the_same_address_with_its_data_when_it_is_killed(busy_shop):
    servers = busy_shop.user().servers()
    redis_client(servers).set("greeting", "hello")
    redis_process = busy_shop.redis

    redis_process.kill()
    assert eventually(lambda: gone(redis_process))

    assert eventually(lambda: answers(servers))
    assert redis_client(servers).get("greeting") == "hello"


def test_postgres_comes_back_with_its_data_when_it_is_killed(busy_shop):
    servers = busy_shop.user().servers()
    sql(servers, "CREATE TABLE leaks AS SELECT 'kitchen' AS place")
    postgres = busy_shop.postgres

    postgres.kill()
    assert eventually(lambda: gone(postgres))

    assert eventually(lambda: is_up(servers))
    assert sql(servers, "SELECT place FROM leaks") == [("kitchen",)]


def test_two_data_folders_side_by_side_do_not_disturb_each_other(busy_shop, open_shop):
    hers, his = busy_shop.user().servers(), (charlie := open_shop()).user().servers()
    sql(hers, "CREATE TABLE pipes (id int)")

    assert sql(his, "SELECT to_regclass('pipes')") == [(None,)]
    assert charlie.cli("stop", "--force").returncode == 0
    assert not is_up(his)
    assert sql(hers, "SELECT count(*) FROM pipes") == [(0,)]
    assert answers(hers)


def test_the_servers_stop_by_themselves_after_the_last_user_was_killed(open_shop):
    shop = open_shop()
    user = shop.user()
    user.servers()
    postgres, redis_process, keeper = shop.postgres, shop.redis, shop.keeper

    user.kill()

    assert eventually(lambda: gone(postgres) and gone(redis_process) and gone(keeper))
    assert not (shop.data_dir / "postgres" / "postmaster.pid").exists(), "a clean stop takes its pid file along"
    assert "Stopped." in (shop.data_dir / "log" / "keeper.log").read_text()


def test_a_user_who_comes_while_the_servers_stop_gets_new_ones(busy_shop):
    busy_shop.user().servers()
    keeper = busy_shop.keeper

    keeper.terminate()
    assert eventually(lambda: not (busy_shop.data_dir / "run" / "servers.json").exists())
    servers = busy_shop.user().servers()

    assert busy_shop.keeper != keeper
    assert sql(servers, "SELECT 1") == [(1,)]
    assert answers(servers)


def test_stop_refuses_while_somebody_works_and_with_force_keeps_the_data(busy_shop):
    servers = busy_shop.user().servers()
    sql(servers, "CREATE TABLE jobs AS SELECT 'kitchen' AS place")
    redis_client(servers).set("greeting", "hello")
    postgres = busy_shop.postgres

    refused = busy_shop.cli("stop")

    assert refused.returncode == 1
    assert refused.stdout == (
        f"Somebody still uses the servers in {busy_shop.data_dir}: a web process, a worker, a shell. "
        "End that first, or repeat with --force.\n"
    )
    assert not gone(postgres)

    assert busy_shop.cli("stop", "--force").stdout == f"The servers in {busy_shop.data_dir} are stopped.\n"
    assert gone(postgres)

    servers = busy_shop.user().servers()
    assert sql(servers, "SELECT place FROM jobs") == [("kitchen",)]
    assert redis_client(servers).get("greeting") == "hello"


def test_a_deleted_data_folder_takes_its_servers_along(open_shop):
    shop = open_shop()
    shop.user().servers()
    processes = [shop.postgres, shop.redis, shop.keeper]

    shutil.rmtree(shop.data_dir)

    assert eventually(lambda: all(gone(process) for process in processes))


def test_servers_that_cannot_start_are_reported_soon_with_the_reason(open_shop):
    shop = open_shop()
    (shop.data_dir / "postgres").mkdir(parents=True)
    (shop.data_dir / "postgres" / "postgresql.conf").write_text("")

    with pytest.raises(EmbeddedServersError) as refusal:
        ensure(shop.data_dir, postgres=True, redis=False)

    assert str(refusal.value) == (
        f"PostgreSQL did not start: it ended while starting. More in {shop.data_dir / 'log'}."
    )


def test_nothing_is_started_when_nothing_is_asked_for(tmp_path):
    assert ensure(tmp_path / "data", postgres=False, redis=False) == Servers(database_url=None, redis_url=None)
    assert list(tmp_path.iterdir()) == []
