"""`manage.py forget_person PHONE --because erased|opted_out`: somebody who may not be sold any more."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from crm.phones import PhoneError, parse, pretty
from crm.wording import say_noun
from marketplace.enums import GoneBecause
from marketplace.services import recalls


class Command(BaseCommand):
    help = "Never sell a person again: take them off the shelf, tell the buyers who have them, erase them if they ask."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", help="like +15551234567 or (555) 123-4567")
        parser.add_argument("--because", choices=GoneBecause.values, required=True)
        parser.add_argument("--yes", action="store_true", help="do not ask first")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            phone = parse(options["phone"], region="US").e164
        except PhoneError as error:
            raise CommandError(str(error)) from error
        because = GoneBecause(options["because"])
        count = recalls.leads_of(phone)
        if not options["yes"]:
            question = (
                f"{pretty(phone)} has {count:,} {say_noun(count, 'lead', 'leads')}. {because.label}: this cannot be"
            )
            if input(f"{question} undone. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was changed.")
        done = recalls.forget(phone=phone, because=because, told_by="command line", now=timezone.now())
        self.stdout.write(
            f"{done.leads:,} {say_noun(done.leads, 'lead', 'leads')} called back, {done.closed:,} taken off the shelf,"
            f" {done.notices:,} {say_noun(done.notices, 'sale', 'sales')} told of."
        )
