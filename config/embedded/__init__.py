"""A real PostgreSQL and a real Redis from Python wheels, for machines that have neither.

`ensure(data_dir, postgres=True, redis=True)` answers with the addresses of two servers that run for as long as anybody
uses them. Every process calls it once at start (the settings do): web, workers, beat, commands, test workers.

    user process ──shared lock──▶ run/users.lock ◀──exclusive, once nobody is left── keeper ──▶ PostgreSQL, Redis
                                                     run/keeper.lock ◀──exclusive──┘

- `door.py`    what a user process does: hold the shared lock for life, start a keeper if none is, wait for addresses.
- `keeper.py`  one detached process per data folder: starts or adopts both servers, restarts what died, stops them a few
  seconds after the last user left.
- `postgres_server.py`, `redis_server.py`  how each server is started, recognised and stopped.
- `room.py`    the files of a data folder and the two locks.

Nothing is counted and no list of pids is kept: the kernel drops a lock when its process dies, however it dies. A keeper
that was killed leaves the servers running; the next `ensure` starts another, which adopts them.
"""

from config.embedded.door import EmbeddedServersError, Servers, ensure

__all__ = ["EmbeddedServersError", "Servers", "ensure"]
