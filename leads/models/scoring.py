"""What a lead is worth: every assessment as it was made, and what a business's own outcomes teach."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from crm.scoping import TenantForeignKey, TenantModel, own_key
from leads.enums import ModelVerdict
from leads.models.intake import Lead


class Assessment(TenantModel):
    """One look at a lead: points by the rules, and how far a reading of the conversation moved them.

    Append-only; a trigger refuses UPDATE. `score` = `baseline` + `reading` + `silence`, the two together at most 0.2 away
    from the baseline and the whole between 0 and 1.
    """

    lead = TenantForeignKey(Lead, on_delete=models.PROTECT, related_name="assessments")
    score = models.DecimalField(max_digits=3, decimal_places=2, help_text="0 to 1.")
    baseline = models.DecimalField(max_digits=3, decimal_places=2, help_text="By the table of points.")
    reading = models.DecimalField(
        max_digits=3, decimal_places=2, default=0, help_text="What the conversation added or took."
    )
    silence = models.DecimalField(max_digits=3, decimal_places=2, default=0, help_text="What silence took.")
    recommendation = models.CharField(max_length=20)
    reason = models.CharField(max_length=300)
    factors = models.JSONField(default=list, help_text="Points of the table: name, points and text of each.")
    evidence = models.JSONField(default=list, help_text="What the reading leans on: their words, and why they count.")
    summary = models.CharField(max_length=400, blank=True, help_text="The conversation in a sentence, by the model.")
    model = models.CharField(max_length=80, blank=True, help_text="The language model that read; empty: rules only.")
    prompt_version = models.CharField(max_length=20, blank=True)
    activity_count = models.PositiveIntegerField(default=0)
    read_until = models.DateTimeField(null=True, blank=True, help_text="The newest message the reading knows.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            own_key("assessment_own_key"),
            models.CheckConstraint(condition=Q(score__gte=0, score__lte=1), name="a_score_is_between_0_and_1"),
            models.CheckConstraint(
                condition=Q(score__gte=models.F("baseline") - models.Value("0.2", output_field=models.DecimalField()))
                & Q(score__lte=models.F("baseline") + models.Value("0.2", output_field=models.DecimalField())),
                name="a_score_stays_near_its_baseline",
            ),
        ]
        indexes = [
            # used by the lead's page: newest first
            models.Index(fields=["lead", "-created_at", "-id"], name="assessment_of_lead"),
        ]

    def __str__(self) -> str:
        return f"{self.score} ({self.recommendation})"


class OutcomeModel(TenantModel):
    """What the won and lost leads of one business say about the next: a calibrated chance, beside the rules.

    Coefficients are data; nothing is ever loaded as code. The newest row is what the pages show.
    """

    trained_at = models.DateTimeField()
    won = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0)
    verdict = models.CharField(max_length=10, choices=ModelVerdict)
    parameters = models.JSONField(default=dict, help_text="Features with their coefficients, and the calibration.")
    brier = models.FloatField(null=True, blank=True, help_text="Mean squared error of the chances, on leads unseen.")
    base_brier = models.FloatField(null=True, blank=True, help_text="The same for always saying the average.")
    curve = models.JSONField(default=list, help_text="Reliability: said, seen and how many, by tenth.")

    class Meta:
        ordering = ["-trained_at", "-id"]
        indexes = [models.Index(fields=["business", "-trained_at", "-id"], name="outcome_model_newest")]

    def __str__(self) -> str:
        return f"{self.get_verdict_display()} ({self.won} won, {self.lost} lost)"
