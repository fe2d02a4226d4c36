"""`manage.py export_leads -o FILE`: the leads on file, as a file that `ingest_leads` reads elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace import columns, places
from marketplace.enums import Classification
from marketplace.models import AgedLead


class Command(BaseCommand):
    help = (
        "Write the leads on file as CSV: the 25 columns they came in, in the order they came. Erased people are left out."
        " The file is for programs (ingest_leads reads it back unchanged), not for double-click: values are as they are,"
        " also those that a spreadsheet would take for a formula."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
        parser.add_argument("-c", "--classification", choices=Classification.values)
        parser.add_argument("-s", "--state", help="like LA")

    def handle(self, *_args: Any, **options: Any) -> None:
        leads = AgedLead.objects.filter(erased_at__isnull=True).order_by("pk")
        if options["classification"]:
            leads = leads.filter(classification=options["classification"])
        if options["state"]:
            leads = leads.filter(state=places.spell_state(options["state"]))
        output: Path = options["output"]
        unfinished = output.with_name(f"{output.name}.part")
        count = 0
        try:
            with unfinished.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns.SOURCE)
                for row in leads.values_list(*columns.SOURCE.values()).iterator(chunk_size=5_000):
                    writer.writerow(row)
                    count += 1
            if not count:
                raise CommandError("No lead matches, so no file was written.")
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
        self.stdout.write(f"{count:,} leads written to {output}.")
