"""What the stand-ins share: an HTTP server on a free port, in threads, that can be closed while somebody waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Dropped(Exception):
    """The line breaks here: the client gets no answer, and no reason."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a crowd that knocks at once is let in


class Loopback:
    """A server to be used with `with`. A stand-in overrides `answer`."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str | dict[str, Any] | Iterator[bytes]]:
        """Status and body: a dict goes out as JSON, text as it stands, an iterator piece by piece."""
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, said = stand_in.answer(self.command, self.path, headers, body)
                except Dropped:
                    self.close_connection = True
                    return
                if isinstance(said, Iterator):
                    self._in_pieces(status, said)
                    return
                as_json = not isinstance(said, str)
                content = (json.dumps(said) if as_json else said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if as_json or said[:1] != "<" else "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _in_pieces(self, status: int, pieces: Iterator[bytes]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.close_connection = True
                for piece in pieces:
                    try:
                        self.wfile.write(piece)
                        self.wfile.flush()
                    except OSError:  # the client has had enough
                        return

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name for it
                """Tests have nobody to tell."""

        return Handler
