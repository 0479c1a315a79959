"""A small API server that differs from the emulator wherever Mosaic's documentation allows it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

EAST = timezone(timedelta(hours=2))


class OtherMosaic:
    """
    Starts respond 201 with ``agent_state_id`` only. Times have an offset. Lists are oldest first, page by ``cursor``
    and ignore ``from``. A new run is ``queued``. Cancels and resumes respond without a body.
    """

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.lose_responses = 0
        #: ``triggered_by`` of the runs that others start while the response to a start is lost.
        self.triggered_meanwhile: list[dict[str, Any]] = []
        self.looks_until_end = 2
        #: Reads of the ended run without outputs, and then reads without a link.
        self.looks_without_outputs = self.looks_without_links = 0
        self.ends_as = "completed"
        #: Lists that show no runs.
        self.empty_lists = 0
        #: Whether a cancel responds with 404 though the run exists.
        self.cancel_not_found = False
        self.posts: list[dict[str, Any]] = []
        #: Fields of a post when it is read.
        self.post_fields: dict[str, Any] = {"status": "posted"}
        self.url = ""
        #: The body of the latest request.
        self.body = b""

    def add(self, run_id: str, **fields: Any) -> dict[str, Any]:
        run = {
            "run_id": run_id,
            "agent_id": "an-agent",
            "status": "queued",
            "started_at": datetime.now(EAST).isoformat(),
            "looks": 0,
            **fields,
        }
        self.runs.append(run)
        return run

    def started_by_api(self) -> list[str]:
        return [run["run_id"] for run in self.runs if run["run_id"].startswith("started")]

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        parts = urlsplit(target)
        self.requests.append(f"{method} {parts.path}")
        if method == "POST" and re.fullmatch(r"/agent/[^/]+/run", parts.path):
            run = self.add(f"started-{len(self.runs)}")
            if self.lose_responses:
                self.lose_responses -= 1
                for number, triggered_by in enumerate(self.triggered_meanwhile):
                    self.add(f"by-others-{number}", triggered_by=triggered_by)
                return 0, None
            return 201, {"agent_state_id": run["run_id"], "status": None, "extra": [None]}
        if method == "GET" and re.fullmatch(r"/agent/[^/]+/runs", parts.path):
            if self.empty_lists:
                self.empty_lists -= 1
                return 200, {"runs": []}
            at = int(parse_qs(parts.query).get("cursor", ["0"])[0])
            page = [{k: v for k, v in run.items() if k != "looks"} for run in self.runs[at : at + 100]]
            more = {"cursor": str(at + 100)} if at + 100 < len(self.runs) else {}
            return 200, {"runs": page, **more}
        if parts.path.startswith("/social/"):
            return self._answer_social(method, parts.path)
        found = re.fullmatch(r"/agent_run/([^/]+)(/\w+)?", parts.path)
        run = next((each for each in self.runs if found and each["run_id"] == found[1]), None)
        if found is None or run is None:
            return 404, {"detail": [{"loc": ["path"], "msg": "no such run"}]}
        if found[2] == "/nodes":
            return 200, {"nodes": []}
        if found[2] == "/cancel":
            if self.cancel_not_found:
                return 404, {"detail": "no such run"}
            if run["status"] in ("completed", "cancelled", "failed"):
                return 400, {"detail": {"message": "not running"}}
            run["status"] = "cancelled"
            return 204, None
        if found[2] == "/resume":
            run.update(status="queued", looks=0)
            self.ends_as = "completed"
            return 204, None
        run["looks"] += 1
        if run["status"] in ("queued", "running"):
            run["status"] = "running"
            if run["looks"] > self.looks_until_end:
                run["status"] = self.ends_as
        outputs = [{"id": "out-1", "video_url": "https://cdn.example/a.mp4?sig=1"}]
        if run["status"] == self.ends_as and self.looks_without_outputs:
            self.looks_without_outputs -= 1
            outputs = []
        elif run["status"] == self.ends_as and self.looks_without_links:
            self.looks_without_links -= 1
            outputs = [{"id": "out-1"}]
        return 200, {"id": "another-id", "status": run["status"], "errors": None, "outputs": outputs}

    def _answer_social(self, method: str, path: str) -> tuple[int, Any]:
        if method == "POST":
            self.posts.append({"post_id": f"post-{len(self.posts)}"})
            return 201, self.posts[-1]
        if path == "/social/posts":
            return 200, {"posts": self.posts}
        return 200, self.post_fields


@contextmanager
def serving(mosaic: OtherMosaic) -> Iterator[OtherMosaic]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            mosaic.body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = mosaic.answer(self.command, self.path)
            if status == 0:
                self.close_connection = True
                return
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    mosaic.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mosaic
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
