"""The ground floor in the staff console. The apps above borrow `base` and `lists` for their own rows."""

from crm.admin import businesses, customers, people, talk, trail

__all__ = ["businesses", "customers", "people", "talk", "trail"]
