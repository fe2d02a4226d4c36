"""Twilio's REST API 2010-04-01, as far as texts go: the Messages resource of one account.

https://www.twilio.com/docs/messaging/api/message-resource. It takes texts, lists them with To, PageSize and paging,
checks the account and token, and words its refusals as Twilio does. What is sent stays in `texts`; `creating` and
`listing` are its bad weather.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.servers.loopback import Dropped, Loopback

MAX_LENGTH = 1_600
_USUAL_CODES = {429: 20429, 503: 20503, 500: 20500}


@dataclass(frozen=True)
class Weather:
    """What goes wrong. All off: nothing does."""

    refuse: int = 0  # HTTP 400 with this error code
    status: int = 0  # this HTTP status, with the code Twilio uses for it
    page: str = ""  # with `status`: this body instead of JSON, as a proxy in between would answer
    hang: float = 0  # seconds before anything is answered
    drop_unread: bool = False  # the line breaks before the text is taken
    drop_taken: bool = False  # the line breaks after the text was taken
    twice: bool = False  # one request leaves two texts
    garbage: bool = False  # taken, and the answer cannot be read


FINE = Weather()


@dataclass
class Text:
    sid: str
    to: str
    from_number: str
    body: str
    status_callback: str
    created_at: datetime
    status: str = "queued"
    error_code: int | None = None


class TwilioApi(Loopback):
    """`with TwilioApi() as twilio:` and point TWILIO_API_URL at `twilio.url`."""

    def __init__(self, *, account_sid: str = "AC" + "a1" * 16, token: str = "t0" * 16) -> None:
        super().__init__()
        self.tokens = {account_sid: token}
        self.account_sid, self.token = account_sid, token
        self.texts: list[Text] = []
        self.creating = self.listing = FINE
        self.page_size = 50  # what Twilio gives at most in one page here; small, so that clients have to turn pages
        self.now: datetime | None = None  # its clock; None: this machine's
        self.requests: list[str] = []
        self.senders: list[str] = []  # which account each create came from
        self._turn = threading.Lock()

    def put(self, *, to: str, body: str, from_number: str, status: str = "sent", at: datetime | None = None) -> Text:
        """A text that is at the carrier already, however it got there."""
        text = Text(
            sid="SM" + secrets.token_hex(16), to=to, from_number=from_number, body=body, status_callback="",
            created_at=at or self._clock(), status=status,
        )  # fmt: skip
        with self._turn:
            self.texts.append(text)
        return text

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        address = urlsplit(path)
        with self._turn:
            self.requests.append(f"{method} {path}")
        parts = address.path.strip("/").split("/")
        account = parts[2] if len(parts) > 2 else ""
        if self.tokens.get(account) is None or headers.get("authorization") != _basic(account, self.tokens[account]):
            return _error(401, 20003, "Authenticate")
        if parts[:2] != ["2010-04-01", "Accounts"] or parts[3:] != ["Messages.json"]:
            return _error(404, 20404, f"The requested resource {address.path} was not found")
        if method == "POST":
            return self._create(
                account, {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
            )
        return self._list(address.path, {name: values[0] for name, values in parse_qs(address.query).items()})

    def _create(self, account: str, form: dict[str, str]) -> tuple[int, Any]:
        weather = self.creating
        self._bad(weather)
        if weather.refuse or weather.status:
            return _refusal(weather)
        for field, code in (("To", 21604), ("From", 21603), ("Body", 21602)):
            if not form.get(field, "").strip():
                return _error(400, code, f"'{field}' is required.")
        if len(form["Body"]) > MAX_LENGTH:
            return _error(400, 21617, f"The concatenated message body exceeds the {MAX_LENGTH} character limit")
        taken = []
        for _ in range(2 if weather.twice else 1):
            text = self.put(to=form["To"], from_number=form["From"], body=form["Body"], status="queued")
            text.status_callback = form.get("StatusCallback", "")
            self.senders.append(account)
            taken.append(text)
        if weather.drop_taken:
            raise Dropped
        return (201, "not what was agreed") if weather.garbage else (201, _resource(taken[-1], account))

    def _list(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        self._bad(self.listing)
        if self.listing.refuse or self.listing.status:
            return _refusal(self.listing)
        size = min(int(query.get("PageSize", 50)), self.page_size)
        page = int(query.get("Page", 0))
        with self._turn:
            newest_first = [text for text in reversed(self.texts) if query.get("To") in (None, text.to)]
        shown = list(itertools.islice(newest_first, page * size, (page + 1) * size))
        more = len(newest_first) > (page + 1) * size
        following = urlencode({**query, "PageSize": size, "Page": page + 1, "PageToken": "PAMM" + str(page + 1)})
        account = path.split("/")[3]
        return 200, {
            "messages": [_resource(text, account) for text in shown],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + len(shown) - 1,
            "uri": path,
            "first_page_uri": path,
            "previous_page_uri": None,
            "next_page_uri": f"{path}?{following}" if more else None,
        }

    def _bad(self, weather: Weather) -> None:
        if weather.hang and self.closing.wait(weather.hang):
            raise Dropped
        if weather.drop_unread:
            raise Dropped

    def _clock(self) -> datetime:
        return self.now or datetime.now(UTC)


def _basic(account: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()


def _refusal(weather: Weather) -> tuple[int, Any]:
    if weather.page:
        return weather.status, weather.page
    status = weather.status or 400
    code = weather.refuse or _USUAL_CODES[status]
    return _error(status, code, HTTPStatus(status).phrase)


def _error(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": message, "more_info": more, "status": status}


def _resource(text: Text, account: str) -> dict[str, Any]:
    when = format_datetime(text.created_at.astimezone(UTC))
    return {
        "sid": text.sid,
        "account_sid": account,
        "api_version": "2010-04-01",
        "to": text.to,
        "from": text.from_number,
        "body": text.body,
        "status": text.status,
        "direction": "outbound-api",
        "error_code": text.error_code,
        "error_message": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "messaging_service_sid": None,
        "date_created": when,
        "date_updated": when,
        "date_sent": None,
        "uri": f"/2010-04-01/Accounts/{account}/Messages/{text.sid}.json",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{account}/Messages/{text.sid}/Media.json"},
    }
