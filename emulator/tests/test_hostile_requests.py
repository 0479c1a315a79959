"""Malformed requests: the emulator rejects them and keeps running."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from mosaic_emulator import Emulator

from .conftest import Api

BODIES = {
    "nested too deeply": b'{"a":' + b"[" * 100_000,
    "nested deeply and closed": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "a number of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "half of a character": b'{"name":"\\ud800"}',
    "no UTF-8": b'{"name":"\xff"}',
    "longer than is read": b'{"name":"' + b"x" * (17 << 20) + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_unreadable_body_is_a_bad_request(api: Api, mosaic: Emulator, body: bytes) -> None:
    paths = ("/agent/create", f"/agent/{mosaic.agent_id}/run", "/_emulator/settings", "/_emulator/faults")
    for path in paths:
        response = api.http.post(path, content=body)
        assert response.status_code in (400, 422), (path, response.text)
    assert api.get("/whoami").status_code == 200


@pytest.mark.parametrize(
    "place", [b"[" * 5000, b'{"n":1e999,"f":""}', b'{"n":' + b"9" * 5000 + b"}", b"\xff", b'{"n":NaN,"f":""}']
)
def test_unreadable_cursor_is_rejected(api: Api, place: bytes) -> None:
    response = api.get("/agents", params={"cursor": base64.urlsafe_b64encode(place).decode()})
    assert (response.status_code, "cursor" in response.text) == (api.mosaic.settings()["validation_status"], True)


def test_invalid_content_length_is_rejected(api: Api) -> None:
    form = urlsplit(api.reserve()["upload_url"])
    for length in (b"9" * 5000, b"-1", b"1_0"):
        with socket.create_connection((form.hostname, form.port), timeout=10) as connection:
            connection.sendall(
                b"POST " + form.path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_overlong_range_is_ignored(api: Api) -> None:
    run = api.finished()
    response = httpx.get(run["outputs"][0]["video_url"], headers={"Range": f"bytes={'9' * 5000}-"}, trust_env=False)
    assert response.status_code == 200


def send_all(connection: socket.socket, chunks: Iterator[int]) -> None:
    for _ in chunks:
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def test_endless_response_of_a_receiver_is_dropped(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as endless:
        url = f"http://127.0.0.1:{endless.getsockname()[1]}/hook"
        api.start({"callback_url": url, "video_urls": ["https://cdn.example.org/a.mp4"]})
        endless.settimeout(10)
        connection, _ = endless.accept()
        connection.settimeout(10)
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunks = iter(range(4096))
            with pytest.raises(OSError, match=r"reset|pipe"):
                send_all(connection, chunks)
    assert next(chunks) < 1024


NO_URLS = ["http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://:80/", "http:///a", "ftp://a/b", ""]


@pytest.mark.parametrize("url", NO_URLS)
def test_invalid_url_is_a_bad_request(api: Api, mosaic: Emulator, url: str) -> None:
    agent, good = f"/agent/{mosaic.agent_id}", "https://cdn.example.org/a.mp4"
    bodies: dict[str, dict[str, object]] = {
        f"{agent}/run": {"video_urls": [url]},
        f"{agent}/run#": {"video_urls": [good], "callback_url": url},
        f"{agent}/triggers/add_youtube_channels": {
            "youtube_channels": ["UC" + "a" * 22],
            "trigger_callback_url": url,
        },
        f"{agent}/triggers/add_youtube_channels#": {"youtube_channels": [url or "x"]},
        "/social/post": {"post": "x", "platforms": ["x"], "media_urls": [url]},
        "/social/connections": {"platform": "x", "redirect_url": url},
        "/avatar-profiles/create": {"name": "a", "sources": {"video_url": url}},
        "/plan/upgrade": {"plan_id": "creator", "success_url": url, "cancel_url": good},
        "/_emulator/triggers/d0000000-0000-4000-8000-000000000001/fire": {"video_url": url},
    }
    for path, body in bodies.items():
        response = api.http.post(path.rstrip("#"), json=body)
        assert response.status_code == 400, (path, response.text)
    assert mosaic.counts().runs_started == 0
