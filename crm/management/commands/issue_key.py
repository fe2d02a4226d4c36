"""`manage.py issue_key BUSINESS --kind api|owner|widget|admin`: prints just the new key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.models import Business


class Command(BaseCommand):
    help = "Issue an API key and print it. It is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("business", nargs="?", help="short name of the business; leave out for --kind admin")
        parser.add_argument("--kind", choices=KeyKind.values, default=KeyKind.API.value)
        parser.add_argument("--label", default="")

    def handle(self, *_args: Any, **options: Any) -> None:
        kind = KeyKind(options["kind"])
        business = None
        if kind != KeyKind.ADMIN:
            if not options["business"]:
                raise CommandError(f"Name the business this {kind.label} key is for.")
            business = Business.objects.filter(slug=options["business"]).first()
            if business is None:
                raise CommandError(f"No business is called “{options['business']}”.")
        new = issue_key(
            business=business, kind=kind, label=options["label"], now=timezone.now(), actor_text="command line"
        )
        self.stdout.write(new.secret)
