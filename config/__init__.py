"""Assembles: settings, addresses, the background worker, the staff console. Nobody imports it."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
