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
    business_id: str  # a slug or a UUID, from the address
    payload: str  # JSON, without the words: those are in the message

    @classmethod
    def from_form(cls, form: Mapping[str, Any], query: Mapping[str, Any]) -> TextLetter:
        """Raises KeyError naming the missing field."""
        form = _readable(form)
        media = form.get("NumMedia", "0")
        return cls(
            sid=form["MessageSid"][:64],
            from_number=form["From"].strip()[:64],
            to_number=form.get("To", "").strip()[:16],
            body=form["Body"],
            opt_out_type=form.get("OptOutType", "").strip().upper(),
            media=int(media) if media.isascii() and media.isdigit() else 0,
            business_id=str(query.get("business_id", ""))[:64],
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
        form = _readable(form)
        return cls(
            sid=form["MessageSid"][:64],
            status=form["MessageStatus"][:20],
            error_code=form.get("ErrorCode", "")[:16],
            message_id=str(query.get("message", ""))[:64],
            from_number=form.get("From", "")[:64],
            to_number=form.get("To", "")[:64],
            payload=_payload(form),
        )


def _readable(form: Mapping[str, Any]) -> dict[str, str]:
    """Without NUL bytes, which no text column can hold."""
    return {name: str(value).replace("\x00", "") for name, value in form.items()}


def _payload(form: Mapping[str, str]) -> str:
    return json.dumps({name: form[name][:64] for name in _KEPT if name in form})
