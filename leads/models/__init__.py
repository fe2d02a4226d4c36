"""The rows of leads, by room: who wants what, what it is worth, how it goes to a sale, and how a business works."""

from leads.models.intake import Lead, Proposal
from leads.models.pipeline import Deal, DealOffer, LeadActivity, LeadMerge, StageChange
from leads.models.scoring import Assessment, OutcomeModel
from leads.models.ways import AssignmentRule, PipelineSettings, Salesperson, SavedView

__all__ = [
    "Assessment",
    "AssignmentRule",
    "Deal",
    "DealOffer",
    "Lead",
    "LeadActivity",
    "LeadMerge",
    "OutcomeModel",
    "PipelineSettings",
    "Proposal",
    "Salesperson",
    "SavedView",
    "StageChange",
]
