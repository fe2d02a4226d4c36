from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    default_site = "config.staff.StaffSite"

    def ready(self) -> None:
        super().ready()
        from config.staff import sign_ins  # noqa: F401, PLC0415 - takes over tables that django-axes has just registered
