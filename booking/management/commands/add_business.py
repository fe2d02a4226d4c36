"""`manage.py add_business SLUG --name … --zone …`: a new tenant that can be booked at once."""

from datetime import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from booking import setup
from crm.models import PhoneNumber
from crm.phones import PhoneError
from crm.scoping import only
from crm.services import add_business, add_number


class Command(BaseCommand):
    help = "Add a business with starter services, staff, weekday hours 8 to 5 and a number. Prints its id and number."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="short name in addresses and the API, e.g. t_acme")
        parser.add_argument("--name", required=True)
        parser.add_argument("--zone", required=True, help="IANA time zone, e.g. America/Chicago")
        parser.add_argument("--open-intake", action="store_true", help="accept leads without an API key")
        parser.add_argument("--staff", type=int, default=1, help="how many people do jobs (default 1)")
        parser.add_argument("--number", help="the business's number; without one a demo number is chosen")
        parser.add_argument("--owner-phone", default="", help="where alerts go, e.g. +15551230000")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not 1 <= options["staff"] <= 1000:
            raise CommandError("--staff: choose 1 to 1000.")
        try:
            with transaction.atomic():
                business = add_business(
                    slug=options["slug"], name=options["name"], zone=options["zone"],
                    open_intake=options["open_intake"], owner_phone=options["owner_phone"],
                )  # fmt: skip
                number = add_number(business=business, raw=options["number"] or _free_demo_number())
                with only(business):
                    setup.set_rules(business)
                    setup.add_services(business, setup.STARTER_SERVICES)
                    setup.add_staff(business, [f"Technician {n}" for n in range(1, options["staff"] + 1)])
                    setup.set_hours(business, [(day, time(8), time(17)) for day in setup.WEEKDAYS])
        except ValidationError as error:
            raise CommandError(
                "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
            ) from error
        except PhoneError as error:
            raise CommandError(f"--number: {error}") from error
        self.stdout.write(f"{business.slug} {business.pk} {number.e164}")


def _free_demo_number() -> str:
    """The next of the numbers nobody can own: +1 555 200 0000 and up."""
    taken = set(PhoneNumber.objects.filter(e164__startswith="+1555200").values_list("e164", flat=True))
    return next(number for n in range(10_000) if (number := f"+1555200{n:04d}") not in taken)
