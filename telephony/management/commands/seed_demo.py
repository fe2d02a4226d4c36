"""`manage.py seed_demo`: three demo businesses, told up to today; says how to log in. Safe to run at every start."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from telephony.demo import access, services


class Command(BaseCommand):
    requires_system_checks = ()  # runs at every start, right after migrate
    help = "Make the demo businesses or carry them on to today, and print how to log in. A second run changes nothing."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if settings.CARRIER != "simulated":
            self.stdout.write("This installation texts through a real carrier, so the demo stays out of it.")
            return
        seeded = services.seed(now=timezone.now())
        for slug in seeded.left_alone:
            self.stdout.write(f"A business of yours is called {slug}; the demo left it alone and goes without.")
        self.stdout.write("  /simulator/   two phones to play with, no login needed: text “need ac repair asap”")
        self.stdout.write("  /             log in with")
        for account in access.accounts():
            self.stdout.write(f"      {account.email:<26} {seeded.passwords[account.email]:<22} {account.what}")
        self.stdout.write(f"  These logins stand in {access.login_file()}.")
        if seeded.keys:
            self.stdout.write("  Keys for programs, shown only this once:")
            for key in seeded.keys:
                self.stdout.write(f"      {key.business:<23} {key.kind:<12} {key.secret}")
