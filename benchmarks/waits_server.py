"""
Serve the APIs of Mosaic, dbt Cloud and Databricks with runs that never end, and count the requests.

    python benchmarks/waits_server.py READY_FILE

The server is a separate process with as little HTTP as possible, so that the client is what is measured.
``GET /_runs/N`` sets the number of Mosaic runs. ``GET /_start`` resets the count. ``GET /_cycle/S`` returns the mean
number of requests in a cycle of S seconds, over all cycles since then. A total would depend on whether the count
started just before a scan.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = 100


def run_name(number: int) -> str:
    """Return the id of a run."""
    return f"00000000-0000-4000-8000-{number:012d}"


def run_row(number: int) -> dict[str, object]:
    """Return a row of Mosaic's list in the documented shape, with a rendered output."""
    return {
        "run_id": run_name(number),
        "agent_id": "a0000000-0000-4000-8000-000000000001",
        "status": "running",
        "status_message": None,
        "started_at": "2026-07-01T10:00:00Z",
        "updated_at": "2026-07-01T10:07:00Z",
        "node_status_counts": {"completed": 4, "in_progress": 1, "failed": 0},
        "inputs": [],
        "outputs": [
            {
                "id": run_name(number + 1),
                "video_url": f"https://storage.example.org/renders/{number}.mp4?signature={'f' * 200}",
                "thumbnail_url": f"https://storage.example.org/renders/{number}.jpg?signature={'f' * 200}",
                "original_node_id": run_name(number + 2),
                "completed_at": "2026-07-01T10:07:00Z",
            }
        ],
        "triggered_by": None,
    }


class Responses:
    """The response bodies, created once."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self.times: list[float] = []
        self.pages: list[bytes] = []
        self.set_runs(1)
        self.run = json.dumps({**run_row(0), "needs_credits": False, "errors": []}).encode()
        self.dbt = json.dumps({"data": {"id": 1, "status": 3}}).encode()
        state = {"life_cycle_state": "RUNNING", "state_message": "In run"}
        self.databricks = json.dumps({"run_id": 1, "state": state, "run_page_url": "https://example.org"}).encode()

    def set_runs(self, count: int) -> None:
        """Create the pages of the list."""
        rows = [run_row(number) for number in range(count)]
        starts = range(0, count, PAGE)
        self.pages = [
            json.dumps(
                {"runs": rows[start : start + PAGE], "next_cursor": str(number + 1) if start + PAGE < count else None}
            ).encode()
            for number, start in enumerate(starts)
        ]

    def requests_per_cycle(self, seconds: float) -> float:
        """Return the mean number of requests in a cycle. Call this after at least two cycles."""
        last = time.monotonic() - seconds
        # A request counts for the cycles that contain it: those that start up to this many seconds before it.
        contained = sum(min(when, last) - max(when - seconds, self.started_at) for when in self.times)
        return contained / (last - self.started_at)

    def body_for(self, target: str) -> bytes:
        """Return the body for a request target."""
        parts = urlsplit(target)
        if parts.path == "/_start":
            self.started_at, self.times = time.monotonic(), []
            return b"null"
        if parts.path.startswith("/_cycle/"):
            return json.dumps(self.requests_per_cycle(float(parts.path.rpartition("/")[2]))).encode()
        if parts.path.startswith("/_runs/"):
            self.set_runs(int(parts.path.rpartition("/")[2]))
            return b"null"
        self.times.append(time.monotonic())
        if parts.path == "/agent_runs":
            return self.pages[int(parse_qs(parts.query).get("cursor", ["0"])[0])]
        if parts.path.startswith("/agent_run/"):
            return self.run
        return self.databricks if "/jobs/runs/get" in parts.path else self.dbt


class Connection(asyncio.Protocol):
    """Read requests, and respond to them in order."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request."""
        self._rest += data
        while True:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self._rest = rest[length:]
            body = self._responses.body_for(head.split(b" ", 2)[1].decode())
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )


async def serve(ready: Path) -> None:
    """Serve until the process is terminated."""
    responses = Responses()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(responses), "127.0.0.1", 0, backlog=4096)
    part = ready.with_suffix(".part")
    part.write_text(str(server.sockets[0].getsockname()[1]))
    part.rename(ready)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
