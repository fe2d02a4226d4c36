"""What the floors above hear of the calendar: a visit is done.

Sent inside the transaction of the change, so that whatever hangs on it is done with it or not at all.
"""

from django.dispatch import Signal

visit_done = Signal()  # appointment, now
