"""Letterboxes for the carrier, at the root and under /v1, and the simulator. With or without a trailing slash."""

from django.urls import path, re_path

from telephony import views, webhooks

app_name = "telephony"
urlpatterns = [
    re_path(r"^(?:v1/)?twilio/sms/?$", webhooks.text_received, name="sms"),
    re_path(r"^(?:v1/)?twilio/status/?$", webhooks.status_reported, name="status"),
    path("simulator", views.page),
    path("simulator/", views.page, name="simulator"),
    re_path(r"^simulator/live/?$", views.live, name="simulator-live"),
    re_path(r"^simulator/text/?$", views.send, name="simulator-text"),
    re_path(r"^simulator/weather/?$", views.weather, name="simulator-weather"),
    re_path(r"^simulator/forgery/?$", views.forge, name="simulator-forgery"),
]
