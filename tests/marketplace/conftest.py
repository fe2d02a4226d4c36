from __future__ import annotations

from collections.abc import Iterator

import pytest

from marketplace import tasks
from marketplace.services.buyers import mail_waits


@pytest.fixture(autouse=True)
def _mails_leave_at_once() -> Iterator[None]:
    """No worker runs here: a mail goes out when its transaction commits."""
    mail_waits.disconnect(dispatch_uid="mail_waits")
    yield
    mail_waits.connect(tasks.mail_waits, dispatch_uid="mail_waits")
