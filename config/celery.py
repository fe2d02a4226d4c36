"""The background worker and its timetable.

The database is the queue: due rows are polled here every few seconds and claimed with SKIP LOCKED; a task sent at once
is only a wake-up. So there are no ETAs, and losing Redis loses nothing but seconds.
"""

import os

from celery import Celery
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("frontdesk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# What somebody waits for never queues behind what nobody waits for.
app.conf.task_routes = {
    "telephony.tasks.deliver_due": {"queue": "outbound"},
    "telephony.tasks.sweep_outbox": {"queue": "outbound"},
    "crm.tasks.heartbeat": {"queue": "outbound"},
    "telephony.tasks.read_text": {"queue": "inbound"},
    "telephony.tasks.sweep_unread": {"queue": "inbound"},
    "booking.tasks.release_expired_holds": {"queue": "inbound"},
    "booking.tasks.remind_customers": {"queue": "bulk"},
    "crm.tasks.forget_old_answers": {"queue": "bulk"},
    "telephony.tasks.move_simulated_texts": {"queue": "bulk"},
    # A salesperson waits for the next deal, and a lead for its score; what the model reads takes longer.
    "leads.tasks.pass_on_offers": {"queue": "inbound"},
    "leads.tasks.count_activity": {"queue": "inbound"},
    "leads.tasks.score_due": {"queue": "inbound"},
    "leads.tasks.*": {"queue": "bulk"},
    # A person who opted out, and the buyers who must hear of it, do not wait behind a long file.
    "marketplace.tasks.hear_opt_outs": {"queue": "outbound"},
    "marketplace.tasks.send_webhooks": {"queue": "outbound"},
    "marketplace.tasks.*": {"queue": "bulk"},
}

app.conf.beat_schedule = {
    # Texts that became due by time (quiet hours over, a retry), and those whose wake-up was lost.
    "deliver-due-texts": {"task": "telephony.tasks.deliver_due", "schedule": 5.0, "options": {"expires": 5}},
    "ask-about-stuck-texts": {"task": "telephony.tasks.sweep_outbox", "schedule": 30.0, "options": {"expires": 30}},
    "read-unread-texts": {"task": "telephony.tasks.sweep_unread", "schedule": 20.0, "options": {"expires": 20}},
    "release-expired-holds": {
        "task": "booking.tasks.release_expired_holds",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "remind-of-appointments": {"task": "booking.tasks.remind_customers", "schedule": 60.0, "options": {"expires": 60}},
    # Kept short so that the staff console can say “dead” within a minute.
    "heartbeat": {"task": "crm.tasks.heartbeat", "schedule": 15.0, "options": {"expires": 15}},
    "forget-old-answers": {"task": "crm.tasks.forget_old_answers", "schedule": 3600.0, "options": {"expires": 3600}},
    "move-simulated-texts": {
        "task": "telephony.tasks.move_simulated_texts",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "count-activity": {"task": "leads.tasks.count_activity", "schedule": 5.0, "options": {"expires": 5}},
    "score-leads": {"task": "leads.tasks.score_due", "schedule": 5.0, "options": {"expires": 5}},
    "pass-on-offers": {"task": "leads.tasks.pass_on_offers", "schedule": 15.0, "options": {"expires": 15}},
    "tell-late-leads": {"task": "leads.tasks.tell_late", "schedule": 60.0, "options": {"expires": 60}},
    "learn-from-outcomes": {
        "task": "leads.tasks.learn_from_outcomes",
        "schedule": crontab(hour="2", minute="10"),
        "options": {"expires": 3600},
    },
    # --- Marketplace: what people wait for is woken at once, too ---
    "ingest-files": {"task": "marketplace.tasks.ingest_files", "schedule": 10.0, "options": {"expires": 10}},
    "make-exports": {"task": "marketplace.tasks.make_exports", "schedule": 5.0, "options": {"expires": 5}},
    "land-purchases": {"task": "marketplace.tasks.land_purchases", "schedule": 10.0, "options": {"expires": 10}},
    "hear-opt-outs": {"task": "marketplace.tasks.hear_opt_outs", "schedule": 15.0, "options": {"expires": 15}},
    "send-webhooks": {"task": "marketplace.tasks.send_webhooks", "schedule": 10.0, "options": {"expires": 10}},
    "tidy-stock": {"task": "marketplace.tasks.tidy_stock", "schedule": 300.0, "options": {"expires": 300}},
    # Purchases look at the age themselves; this fills the shelf with those who have grown into the next bucket.
    "roll-over": {"task": "marketplace.tasks.roll_over", "schedule": 3600.0, "options": {"expires": 3600}},
    "issue-invoices": {"task": "marketplace.tasks.issue_invoices", "schedule": 3600.0, "options": {"expires": 3600}},
    "check-everything": {
        "task": "marketplace.tasks.check_everything",
        "schedule": crontab(hour="1", minute="20"),
        "options": {"expires": 3600},
    },
}
