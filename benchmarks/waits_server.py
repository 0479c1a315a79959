"""
One server for the triggers of Mosaic, dbt Cloud and Databricks: everything runs and never ends; requests are counted.

    python benchmarks/waits_server.py READY_FILE

It speaks just enough HTTP, in a process of its own, so that what is measured is the client. ``GET /_runs/N`` sets how
many Mosaic runs there are. ``GET /_begin`` begins to count, and ``GET /_cycle/S`` tells how many requests came since
then in a cycle of S seconds: the mean of all cycles that lie in that time, whenever they begin. How many came in all
would hang on whether the count began just before a sweep.
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
    """The id of a run."""
    return f"00000000-0000-4000-8000-{number:012d}"


def run_row(number: int) -> dict[str, object]:
    """A row of Mosaic's list as its documentation shows it, with an output that is done."""
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


class Answers:
    """The bodies, made once."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.times: list[float] = []
        self.pages: list[bytes] = []
        self.set_runs(1)
        self.run = json.dumps({**run_row(0), "needs_credits": False, "errors": []}).encode()
        self.dbt = json.dumps({"data": {"id": 1, "status": 3}}).encode()
        state = {"life_cycle_state": "RUNNING", "state_message": "In run"}
        self.databricks = json.dumps({"run_id": 1, "state": state, "run_page_url": "https://example.org"}).encode()

    def set_runs(self, many: int) -> None:
        """Make the pages of the list."""
        rows = [run_row(number) for number in range(many)]
        starts = range(0, many, PAGE)
        self.pages = [
            json.dumps(
                {"runs": rows[start : start + PAGE], "next_cursor": str(number + 1) if start + PAGE < many else None}
            ).encode()
            for number, start in enumerate(starts)
        ]

    def in_a_cycle(self, seconds: float) -> float:
        """The mean number of requests in a cycle of so many seconds, of at least two since the count began."""
        last = time.monotonic() - seconds
        # Each request counts for those cycles that hold it: they begin up to so many seconds before it.
        held = sum(min(when, last) - max(when - seconds, self.begun) for when in self.times)
        return held / (last - self.begun)

    def to(self, target: str) -> bytes:
        """The body for an address."""
        parts = urlsplit(target)
        if parts.path == "/_begin":
            self.begun, self.times = time.monotonic(), []
            return b"null"
        if parts.path.startswith("/_cycle/"):
            return json.dumps(self.in_a_cycle(float(parts.path.rpartition("/")[2]))).encode()
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
    """Reads requests and answers them in order."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
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
            body = self._answers.to(head.split(b" ", 2)[1].decode())
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )


async def serve(ready: Path) -> None:
    """Serve until the process is ended."""
    answers = Answers()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0, backlog=4096)
    made = ready.with_suffix(".part")
    made.write_text(str(server.sockets[0].getsockname()[1]))
    made.rename(ready)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
