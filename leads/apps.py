from django.apps import AppConfig


class LeadsConfig(AppConfig):
    name = "leads"
    verbose_name = "Leads"

    def ready(self) -> None:
        from leads import cards  # noqa: F401, PLC0415 - registers how its rows look elsewhere; apps are loaded only now
