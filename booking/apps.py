from django.apps import AppConfig


class BookingConfig(AppConfig):
    name = "booking"
    verbose_name = "Calendar"

    def ready(self) -> None:
        from booking import cards  # noqa: F401, PLC0415 - registers how its rows look elsewhere; apps are loaded only now
