"""The staff console: Django's admin with our own front page."""

from django.contrib import admin


class StaffSite(admin.AdminSite):
    site_header = "Frontdesk"
    site_title = "Frontdesk staff"
    index_title = "Today"
