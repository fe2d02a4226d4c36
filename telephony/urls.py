"""Letterboxes for the carrier. Root and /v1, with or without a trailing slash."""

from django.urls import re_path

from telephony import webhooks

app_name = "telephony"
urlpatterns = [
    re_path(r"^(?:v1/)?twilio/sms/?$", webhooks.text_received, name="sms"),
    re_path(r"^(?:v1/)?twilio/status/?$", webhooks.status_reported, name="status"),
]
