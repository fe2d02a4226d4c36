from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"
    verbose_name = "Lead marketplace"

    def ready(self) -> None:
        from marketplace import tasks  # noqa: PLC0415 - apps are loaded only now
        from marketplace.services.buyers import mail_waits  # noqa: PLC0415 - apps are loaded only now

        mail_waits.connect(tasks.mail_waits, dispatch_uid="mail_waits")
