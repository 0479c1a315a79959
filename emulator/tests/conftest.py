from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx
import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO

T = TypeVar("T")


class Api:
    """A minimal client of the documented API."""

    def __init__(self, mosaic: Emulator) -> None:
        self.mosaic = mosaic
        self.http = httpx.Client(
            base_url=mosaic.url,
            headers={"Authorization": f"Bearer {mosaic.api_key}"},
            trust_env=False,
            follow_redirects=False,
            timeout=60,
        )

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path) if body is None else self.http.post(path, json=body)

    def reserve(self, asset_type: str = "video") -> dict[str, Any]:
        response = self.post(f"/uploads/{asset_type}/get_upload_url")
        assert response.status_code == 200
        return dict(response.json())

    def store(self, form: dict[str, Any], data: bytes | None = None, name: str = "clip.mp4") -> httpx.Response:
        content = SAMPLE_VIDEO.read_bytes() if data is None else data
        return httpx.post(
            form["upload_url"],
            data=form["upload_fields"],
            files={"file": (name, content, "video/mp4")},
            trust_env=False,
        )

    def upload(self, data: bytes | None = None, name: str = "clip.mp4") -> str:
        form = self.reserve()
        assert self.store(form, data, name).status_code == 204
        assert self.post("/uploads/video/finalize_upload", {"video_id": form["video_id"]}).status_code == 200
        return str(form["video_id"])

    def start(self, body: dict[str, Any] | None = None, agent_id: str | None = None) -> str:
        payload = {"video_ids": [self.upload()]} if body is None else body
        response = self.post(f"/agent/{agent_id or self.mosaic.agent_id}/run", payload)
        assert response.status_code == 200, response.text
        return str(response.json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        response = self.get(f"/agent_run/{run_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def nodes(self, run_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"/agent_run/{run_id}/nodes").json()["nodes"])

    def end(self, run_id: str) -> dict[str, Any]:
        return until(lambda: self.run(run_id), lambda run: run["status"] not in ("running", "queued"))

    def finished(self, **options: Any) -> dict[str, Any]:
        return self.end(self.start(**options))

    def post_end(self, post_id: str) -> dict[str, Any]:
        return until(
            lambda: dict(self.get(f"/social/post/{post_id}").json()),
            lambda post: post["status"] not in ("processing", "scheduled"),
        )


@dataclass
class Receiver:
    url: str = ""
    responses: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    signatures: list[str | None] = field(default_factory=list)

    def flags(self) -> list[str]:
        return [event["flag"] for event in self.events]


def until(read: Callable[[], T], is_done: Callable[[T], object], seconds: float = 60.0) -> T:
    """Call ``read`` until ``is_done`` accepts its result. Fail after a timeout."""
    deadline = time.monotonic() + seconds
    while not is_done(value := read()):
        assert time.monotonic() < deadline, f"timeout with: {value}"
        time.sleep(0.005)
    return value


@pytest.fixture
def mosaic(mosaic_emulator: Emulator) -> Emulator:
    return mosaic_emulator


@pytest.fixture
def api(mosaic: Emulator) -> Iterator[Api]:
    with contextlib.closing(Api(mosaic)) as client:
        yield client


@pytest.fixture
def storage() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, follow_redirects=False, timeout=60) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.events.append(json.loads(body))
            receiver.signatures.append(self.headers["X-Mosaic-Signature"])
            self.send_response(receiver.responses.pop(0) if receiver.responses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield receiver
        server.shutdown()
