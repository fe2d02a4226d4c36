from django.apps import AppConfig


class TelephonyConfig(AppConfig):
    name = "telephony"
    verbose_name = "Calls and texts"

    def ready(self) -> None:
        from crm.announcements import message_queued  # noqa: PLC0415 - apps are loaded only now
        from telephony import tasks  # noqa: PLC0415 - apps are loaded only now
        from telephony.announcements import text_unread  # noqa: PLC0415 - apps are loaded only now

        text_unread.connect(tasks.wake_reader, dispatch_uid="wake_reader")
        message_queued.connect(tasks.wake_delivery, dispatch_uid="wake_delivery")
