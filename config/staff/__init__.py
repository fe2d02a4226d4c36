"""The staff console: Django's admin with our own front page, for the people who look after all businesses."""

from config.staff.site import StaffSite

__all__ = ["StaffSite"]
