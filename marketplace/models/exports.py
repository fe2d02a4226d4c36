"""Files that buyers took away."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from crm.scoping import TenantForeignKey, TenantModel, own_key
from marketplace.enums import ExportProfile, ExportStatus


class Export(TenantModel):
    """A file of bought leads, made once: asked for again, the very same bytes come back."""

    profile = models.CharField(max_length=8, choices=ExportProfile)
    sale_ids = ArrayField(models.UUIDField(), help_text="In the order of the rows.")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked for.")
    status = models.CharField(max_length=8, choices=ExportStatus, default=ExportStatus.BUILDING)
    file = models.FileField(upload_to="exports", blank=True, max_length=200)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the file.")
    size = models.BigIntegerField(default=0, help_text="Bytes.")
    done_rows = models.PositiveIntegerField(default=0)
    stripped = models.PositiveIntegerField(default=0, help_text="Cells that began like a formula and were cleaned.")
    asked_by = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField()
    alive_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("export_own_key"),
            models.UniqueConstraint(
                fields=["business", "fingerprint"],
                condition=Q(status__in=["building", "ready"]),
                name="one_file_per_question",
            ),
        ]
        indexes = [
            models.Index(fields=["business", "-created_at", "-id"], name="export_newest"),
            # used by the worker: files to make
            models.Index(fields=["created_at"], condition=Q(status="building"), name="export_to_make"),
        ]

    def __str__(self) -> str:
        return f"{self.get_profile_display()}, {self.created_at:%Y-%m-%d %H:%M}"


class ExportDownload(TenantModel):
    """Who took a file, and when."""

    export = TenantForeignKey(Export, on_delete=models.PROTECT, related_name="downloads")
    by = models.CharField(max_length=120, help_text="A person, or the beginning of an API key.")
    source = models.CharField("sender", max_length=64, blank=True, help_text="Hash of the network address.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["export", "-at"], name="download_of_export")]

    def __str__(self) -> str:
        return f"{self.by} at {self.at:%Y-%m-%d %H:%M}"
