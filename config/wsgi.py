"""The web process: `granian --interface wsgi config.wsgi:application`."""

import gc
import os

# Before the settings are read: a web process keeps a pool of connections for its threads.
os.environ.setdefault("FRONTDESK_PROCESS", "web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the environment comes first

application = get_wsgi_application()

# What is loaded now stays for good: the collector need not walk through all of it again and again under load.
gc.collect()
gc.freeze()
