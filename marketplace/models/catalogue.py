"""What there is to sell: aged leads, the files they came in, and the inventory."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.keys import uuid7
from marketplace.enums import AgeBucket, Classification, ClosedBecause, IngestStatus, ProblemKind


class IngestRun(models.Model):
    """One file of leads on its way in. `done_rows` is written with the rows themselves, so a killed run goes on where
    it was; whoever works on it says so in `alive_at`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    file = models.FileField(
        upload_to="ingest", blank=True, help_text="Empty when it was read from a path by a command."
    )
    name = models.CharField("file name", max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(help_text="Bytes.")
    dry_run = models.BooleanField(default=False)
    status = models.CharField(max_length=8, choices=IngestStatus, default=IngestStatus.WAITING)
    refusal = models.CharField(max_length=300, blank=True)
    total_rows = models.PositiveIntegerField(null=True, help_text="Rows in the file, counted when it came.")
    done_rows = models.PositiveIntegerField(default=0)
    successful = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField("already on file", default=0)
    blocked = models.PositiveIntegerField("opted out or erased", default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    gold = models.PositiveIntegerField(default=0)
    silver = models.PositiveIntegerField(default=0)
    started_by = models.ForeignKey("crm.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    alive_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = "ingested file"
        indexes = [
            # used by the sweep: files that wait, and files whose reader died
            models.Index(fields=["alive_at"], condition=Q(status__in=["waiting", "running"]), name="ingest_unfinished"),
            # used to find the unfinished run of a file that is read again
            models.Index(fields=["sha256"], name="ingest_of_file"),
        ]

    def __str__(self) -> str:
        return self.name


class IngestProblem(models.Model):
    """A row that did not become a lead, whole, so that it can be put right and sent again."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(IngestRun, on_delete=models.CASCADE, related_name="problems")
    row_number = models.PositiveIntegerField(help_text="As a spreadsheet counts: the headings are row 1.")
    kind = models.CharField(max_length=8, choices=ProblemKind)
    problem = models.CharField(max_length=300)
    row = models.JSONField(help_text="The row as it stood in the file: heading and value.")

    class Meta:
        ordering = ["run", "row_number"]
        constraints = [models.UniqueConstraint(fields=["run", "row_number"], name="one_problem_per_row")]

    def __str__(self) -> str:
        return f"Row {self.row_number}: {self.problem}"


class AgedLead(models.Model):
    """Somebody who once called in. Its class, its moment and its place never change: a trigger refuses it, because the
    inventory carries copies of them.

    All other columns are the file's own words, empty where the file had none.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    natural_key = models.UUIDField(unique=True, help_text="Of what tells one row of a file from another.")
    classification = models.CharField(max_length=6, choices=Classification)
    called_in_at = models.DateTimeField(help_text="“Call In Date”, from the clock of the lead's state.")
    state = models.CharField(max_length=100)
    county = models.CharField(max_length=100, blank=True)
    phone = models.CharField(max_length=16, blank=True, help_text="Borrower Phone as +15551234567, if it is a number.")
    other_phone = models.CharField(max_length=16, blank=True, help_text="Call In Phone Number, likewise.")
    phone_mark = models.UUIDField(null=True, editable=False)
    other_mark = models.UUIDField(null=True, editable=False)
    mortgage_id = models.TextField(blank=True)
    campaign_id = models.TextField(blank=True)
    type = models.TextField(blank=True)
    status = models.TextField(blank=True)
    full_name = models.TextField(blank=True)
    first_name = models.TextField(blank=True)
    last_name = models.TextField(blank=True)
    co_borrower_name = models.TextField(blank=True)
    address = models.TextField(blank=True)
    city = models.TextField(blank=True)
    zip = models.TextField(blank=True)
    mortgage_amount = models.TextField(blank=True)
    lender = models.TextField(blank=True)
    sale_date = models.TextField(blank=True, help_text="Of the mortgage; not when it was sold here.")
    agent_id = models.TextField(blank=True)
    call_in_phone_number = models.TextField(blank=True)
    borrower_phone = models.TextField(blank=True)
    borrower_age = models.TextField(blank=True)
    borrower_medical_issues = models.TextField(blank=True)
    borrower_tobacco_use = models.TextField(blank=True)
    co_borrower = models.TextField("co-borrower?", blank=True)
    source = models.TextField(blank=True)
    call_in_date = models.TextField(blank=True)
    run = models.ForeignKey(IngestRun, on_delete=models.PROTECT, null=True, related_name="leads", db_index=False)
    created_at = models.DateTimeField(help_text="When it came in here.")
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(classification__in=["Gold", "Silver"]), name="lead_is_gold_or_silver")
        ]
        indexes = [
            # used by roll-over: who crossed into a bucket since the last time
            models.Index(fields=["called_in_at"], name="aged_lead_age"),
            # used by recall: the leads of a person
            models.Index(fields=["phone_mark"], condition=Q(phone_mark__isnull=False), name="aged_lead_person"),
            models.Index(fields=["other_mark"], condition=Q(other_mark__isnull=False), name="aged_lead_other"),
            # used by the page of an ingested file
            models.Index(fields=["run"], name="aged_lead_run"),
        ]

    def __str__(self) -> str:
        return f"{self.classification} lead in {self.county or self.state}, {self.called_in_at:%b %Y}"


class InventoryItem(models.Model):
    """A lead in one bucket: for sale, sold, or closed unsold. Once per lead and bucket, and sold once.

    The class, place and moment are copies of the lead's, which never change, so that one index finds what to sell.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lead = models.ForeignKey(AgedLead, on_delete=models.PROTECT, related_name="items", db_index=False)
    age_bucket = models.CharField(max_length=14, choices=AgeBucket)
    classification = models.CharField(max_length=6, choices=Classification)
    state = models.CharField(max_length=100)
    county = models.CharField(max_length=100, blank=True)
    called_in_at = models.DateTimeField()
    created_at = models.DateTimeField()
    sold_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_because = models.CharField(max_length=10, choices=ClosedBecause, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["lead", "age_bucket"], name="one_item_per_lead_and_bucket"),
            models.CheckConstraint(
                condition=Q(sold_at__isnull=True) | Q(closed_at__isnull=True), name="sold_or_closed_not_both"
            ),
        ]
        indexes = [
            # used by allocation, oldest first: anywhere, in a state, in a county
            models.Index(
                fields=["classification", "age_bucket", "called_in_at", "id"],
                condition=Q(sold_at__isnull=True, closed_at__isnull=True),
                name="item_for_sale",
            ),
            models.Index(
                fields=["classification", "age_bucket", "state", "called_in_at", "id"],
                condition=Q(sold_at__isnull=True, closed_at__isnull=True),
                name="item_for_sale_in_state",
            ),
            models.Index(
                fields=["classification", "age_bucket", "state", "county", "called_in_at", "id"],
                condition=Q(sold_at__isnull=True, closed_at__isnull=True),
                name="item_for_sale_in_county",
            ),
            # used by the staff console: closed for another reason than age, which are few
            models.Index(
                fields=["closed_because"],
                condition=Q(closed_because__in=["opted_out", "erased", "withdrawn"]),
                name="item_closed_early",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.classification} {self.age_bucket} in {self.county or self.state}"


class Stock(models.Model):
    """How many items are for sale, kept by triggers on the inventory as pluses and minuses that add up.

    A purchase adds a row instead of changing one, so two buyers of the same kind never wait for each other; the rows are
    added together now and then (`inventory.tidy_stock`).
    """

    id = models.BigAutoField(primary_key=True)
    classification = models.CharField(max_length=6, choices=Classification)
    age_bucket = models.CharField(max_length=14, choices=AgeBucket)
    state = models.CharField(max_length=100)
    county = models.CharField(max_length=100, blank=True)
    available = models.IntegerField()

    class Meta:
        verbose_name_plural = "the shelf"
        indexes = [
            # used by every count of what is for sale
            models.Index(fields=["classification", "age_bucket", "state", "county"], name="stock_cell")
        ]

    def __str__(self) -> str:
        return f"{self.classification} {self.age_bucket} {self.state} {self.county}: {self.available:+}"


class RolledOver(models.Model):
    """Up to which moment every lead that crossed into a bucket has its item. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    until = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_rollover_mark")]

    def __str__(self) -> str:
        return f"until {self.until:%Y-%m-%d %H:%M}"
