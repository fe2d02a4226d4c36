"""The real settings with everything between the socket and the view taken out."""

import os

from config.settings import *  # noqa: F403 - that is the point

MIDDLEWARE: list[str] = []
ROOT_URLCONF = os.environ.get("BENCH_URLS", "bench.floor")
