"""A carrier's letter, normalised: what came in the form, by our names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_KEPT: Final = (
    "MessageSid", "AccountSid", "MessagingServiceSid", "NumMedia", "NumSegments", "OptOutType", "SmsStatus", "MessageStatus",
    "ErrorCode", "FromCountry", "ToCountry", "ApiVersion",
)  # fmt: skip


@dataclass(frozen=True)
class TextLetter:
    """Somebody's text to a number of ours."""

    sid: str
    from_number: str
    to_number: str
    body: str
    opt_out_type: str
    media: int
    business_slug: str
    payload: str  # JSON, without the words: those are in the message

    @classmethod
    def from_form(cls, form: Mapping[str, Any], query: Mapping[str, Any]) -> TextLetter:
        """Raises KeyError naming the missing field."""
        media = str(form.get("NumMedia", "0"))
        return cls(
            sid=form["MessageSid"][:80],
            from_number=form["From"].strip()[:16],
            to_number=form.get("To", "").strip()[:16],
            body=form["Body"].replace("\x00", ""),
            opt_out_type=str(form.get("OptOutType", "")).strip().upper(),
            media=int(media) if media.isdigit() else 0,
            business_slug=str(query.get("business_id", ""))[:64],
            payload=_payload(form),
        )

    @property
    def shown_body(self) -> str:
        """What the thread shows: a picture without words is still a message."""
        if self.media:
            return f"{self.body} [{self.media} picture{'s' if self.media > 1 else ''}]".strip()
        return self.body


@dataclass(frozen=True)
class StatusLetter:
    """A report on a text of ours."""

    sid: str
    status: str
    error_code: str
    message_id: str
    from_number: str
    to_number: str
    payload: str

    @classmethod
    def from_form(cls, form: Mapping[str, Any], query: Mapping[str, Any]) -> StatusLetter:
        """Raises KeyError naming the missing field."""
        return cls(
            sid=form["MessageSid"][:64],
            status=form["MessageStatus"][:20],
            error_code=str(form.get("ErrorCode", ""))[:16],
            message_id=str(query.get("message", ""))[:64],
            from_number=str(form.get("From", ""))[:64],
            to_number=str(form.get("To", ""))[:64],
            payload=_payload(form),
        )

    @property
    def whose(self) -> dict[str, str]:
        """How to find the message: by our own id in the address, else by the carrier's sid."""
        return {"pk": self.message_id} if self.message_id else {"provider_sid": self.sid}


def _payload(form: Mapping[str, Any]) -> str:
    return json.dumps({name: str(form[name])[:64] for name in _KEPT if name in form})
