"""`manage.py demo_reset --yes`: the demo businesses deleted and made anew. Nobody else's data is touched."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from telephony.demo import services


class Command(BaseCommand):
    help = "Delete the demo businesses with their customers, texts and appointments, and make them anew."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="really delete")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not options["yes"]:
            names = ", ".join(row.name for row in services.demo_businesses()) or "nothing, there is no demo"
            raise CommandError(
                f"This would delete {names} with all customers, texts and appointments. Repeat with --yes to do it."
            )
        removed = services.remove()
        self.stdout.write(f"Deleted: {', '.join(removed) or 'nothing, there was no demo'}. Making the demo anew ...")
        call_command("seed_demo", stdout=self.stdout)
