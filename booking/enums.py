"""The words of the calendar."""

from django.db.models import TextChoices


class AppointmentStatus(TextChoices):
    HELD = "HELD", "Held"
    SCHEDULED = "SCHEDULED", "Scheduled"
    CONFIRMED = "CONFIRMED", "Confirmed"
    PENDING_RESCHEDULE = "PENDING_RESCHEDULE", "Wants another time"
    CANCELLED = "CANCELLED", "Cancelled"
    COMPLETED = "COMPLETED", "Completed"
    NO_SHOW = "NO_SHOW", "No-show"
    RELEASED = "RELEASED", "Hold released"


# These take the staff member's time; the exclusion constraint names the same ones.
OCCUPYING = (
    AppointmentStatus.HELD,
    AppointmentStatus.SCHEDULED,
    AppointmentStatus.CONFIRMED,
    AppointmentStatus.PENDING_RESCHEDULE,
)
# A job that was agreed and is still to come.
UPCOMING = (AppointmentStatus.SCHEDULED, AppointmentStatus.CONFIRMED, AppointmentStatus.PENDING_RESCHEDULE)

# From where each status may be reached. The services move by `UPDATE … WHERE status IN (…)`, so two movers cannot both win.
MOVES = {
    AppointmentStatus.SCHEDULED: (
        AppointmentStatus.HELD,
        AppointmentStatus.RELEASED,  # a late yes: the same slot, if the constraint still allows it
        AppointmentStatus.CANCELLED,  # undo
        AppointmentStatus.PENDING_RESCHEDULE,
    ),
    AppointmentStatus.CONFIRMED: (AppointmentStatus.SCHEDULED, AppointmentStatus.PENDING_RESCHEDULE),
    AppointmentStatus.PENDING_RESCHEDULE: (AppointmentStatus.SCHEDULED, AppointmentStatus.CONFIRMED),
    AppointmentStatus.CANCELLED: UPCOMING,
    AppointmentStatus.COMPLETED: UPCOMING,
    AppointmentStatus.NO_SHOW: UPCOMING,
    AppointmentStatus.RELEASED: (AppointmentStatus.HELD,),
}
