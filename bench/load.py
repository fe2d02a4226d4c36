"""A small HTTP load generator: a fixed number of keep-alive clients, each sending its own requests in order.

Run as a process of its own, so that it does not share the server's interpreter. Traffic goes to loopback only.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """`seconds` of wall time for `count` answers; latencies in milliseconds."""

    count: int
    seconds: float
    p50: float
    p95: float
    p99: float
    statuses: dict[int, int]

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


def request(path: str, body: bytes, *, content_type: str, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST request as bytes, made before the clock starts."""
    lines = [
        f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def run(port: int, clients: list[list[bytes]]) -> Result:
    """Send each client's requests one after another, all clients at once."""
    return asyncio.run(_run(port, clients))


async def _run(port: int, clients: list[list[bytes]]) -> Result:
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    started = time.perf_counter()
    await asyncio.gather(*(_client(port, requests, latencies, statuses) for requests in clients))
    seconds = time.perf_counter() - started
    ordered = sorted(latencies)

    def percentile(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000

    return Result(len(ordered), seconds, percentile(0.5), percentile(0.95), percentile(0.99), statuses)


async def _client(port: int, requests: list[bytes], latencies: list[float], statuses: dict[int, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for data in requests:
        began = time.perf_counter()
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length:
            await reader.readexactly(length)
        latencies.append(time.perf_counter() - began)
        status = int(head[9:12])
        statuses[status] = statuses.get(status, 0) + 1
    writer.close()
    await writer.wait_closed()
