"""`manage.py simulate_text BUSINESS FROM "text"`: as if somebody had texted the business; prints the answer."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm.models import Business
from crm.phones import PhoneError, parse
from telephony.gateways import simulated


class Command(BaseCommand):
    help = "Send a text to a business through the real, signed webhook and print what it answers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("business")
        parser.add_argument("from_number", metavar="from", help="the customer's number")
        parser.add_argument("text")

    def handle(self, *_args: Any, **options: Any) -> None:
        if settings.CARRIER != "simulated":
            raise CommandError("This installation texts through a real carrier; the simulated phones are off.")
        business = Business.objects.filter(slug=options["business"]).first()
        if business is None:
            raise CommandError(f"No business is called “{options['business']}”.")
        number = business.numbers.first()
        if number is None:
            raise CommandError(f"{business} has no number to text.")
        try:
            sender = parse(options["from_number"], region=business.region).e164
        except PhoneError as error:
            raise CommandError(str(error)) from error
        delivery = simulated.text_us(from_number=sender, to_number=number.e164, body=options["text"])
        if delivery.status != 200:
            raise CommandError(f"The webhook answered {delivery.status}: {delivery.answer.strip()}")
        for reply in delivery.replies:
            self.stdout.write(reply)
        if not delivery.replies:
            self.stdout.write("(no answer)")
