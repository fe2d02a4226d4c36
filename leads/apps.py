from django.apps import AppConfig


class LeadsConfig(AppConfig):
    name = "leads"
    verbose_name = "Leads"

    def ready(self) -> None:
        from booking.announcements import visit_done  # noqa: PLC0415 - apps are loaded only now
        from leads import cards, tasks  # noqa: F401, PLC0415 - cards registers how its rows look elsewhere; apps are loaded only now
        from leads.services import pipeline  # noqa: PLC0415 - apps are loaded only now
        from leads.services.assessing import wants_reading  # noqa: PLC0415 - apps are loaded only now

        visit_done.connect(pipeline.win_with_visit, dispatch_uid="win_with_visit")
        wants_reading.connect(tasks.read_soon, dispatch_uid="read_lead")
