"""The pipeline in the staff console, one module per room."""

from leads.admin import deals, intake, pipeline, trail, ways

__all__ = ["deals", "intake", "pipeline", "trail", "ways"]
