"""A text was left to the language model. Sent after commit, as a wake-up only; the sweep finds the receipt anyway."""

from django.dispatch import Signal

text_unread = Signal()
