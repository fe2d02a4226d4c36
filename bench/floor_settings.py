"""The real settings with everything between the socket and the view taken out."""

from config.settings import *  # noqa: F403 - that is the point

MIDDLEWARE: list[str] = []
ROOT_URLCONF = "bench.floor"
