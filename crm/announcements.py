"""The one announcement that goes up: a message waits in the outbox.

Sent after commit, as a wake-up only. Whoever listens may miss it; the sweep finds the row anyway.
"""

from django.dispatch import Signal

message_queued = Signal()
