from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from .conftest import Api

BOUNDARY = "a-boundary"
FILE = "file"


def form(fields: Iterable[tuple[str, str]], *, data: bytes = b"bytes", after: bytes = b"") -> bytes:
    """Encode a form. The field `file` is replaced by the file."""
    body = b""
    for name, value in fields:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if name == FILE:
            head += '; filename="a.mp4"\r\nContent-Type: video/mp4'
            body += f"{head}\r\n\r\n".encode() + data + b"\r\n"
        else:
            body += f"{head}\r\n\r\n{value}\r\n".encode()
    return body + after + f"--{BOUNDARY}--\r\n".encode()


def send(storage: httpx.Client, reserved: dict[str, Any], body: Any, **headers: str) -> httpx.Response:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return storage.post(reserved["upload_url"], content=body, headers={"Content-Type": kind, **headers})


def pairs(reserved: dict[str, Any]) -> list[tuple[str, str]]:
    return [*reserved["upload_fields"].items(), (FILE, "")]


@pytest.mark.parametrize(("asset_type", "limit"), [("video", 5368709120), ("audio", 524288000), ("image", 52428800)])
def test_upload(api: Api, storage: httpx.Client, asset_type: str, limit: int) -> None:
    reserved = api.reserve(asset_type)
    key = f"{asset_type}_id"
    assert set(reserved) == {key, "upload_url", "upload_fields", "max_file_size_bytes"}
    assert reserved["max_file_size_bytes"] == limit
    assert reserved[key].startswith("img-") == (asset_type == "image")
    assert all(isinstance(value, str) for value in reserved["upload_fields"].values())
    policy = json.loads(base64.b64decode(reserved["upload_fields"]["policy"]))
    assert ["content-length-range", 0, limit] in policy["conditions"]

    stored = send(storage, reserved, form(pairs(reserved), data=b"\r\n--a-boundar\r\nbytes\r\n"))
    assert (stored.status_code, stored.content) == (204, b"")

    for _ in range(2):
        final = api.post(f"/uploads/{asset_type}/finalize_upload", {key: reserved[key]})
        assert (final.status_code, final.json()) == (200, {key: reserved[key]})
    (upload,) = api.mosaic.uploads()
    assert Path(upload["path"]).read_bytes() == b"\r\n--a-boundar\r\nbytes\r\n"
    counts = api.mosaic.counts()
    assert (counts.uploads_started, counts.uploads_stored, counts.uploads_finalized) == (1, 1, 1)
    assert counts.bytes_stored == 22


def test_storage_host_has_another_port(api: Api) -> None:
    assert urlsplit(api.reserve()["upload_url"]).netloc != urlsplit(api.mosaic.url).netloc


def test_empty_file_is_stored(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    assert send(storage, reserved, form(pairs(reserved), data=b"")).status_code == 204
    assert api.mosaic.uploads()[0]["size"] == 0


def test_changed_form_is_rejected(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    good = pairs(reserved)
    bad = {
        "a field more": [("Content-Type", "video/mp4"), *good],
        "a field less": good[:2] + good[3:],
        "another value": [(name, value + "x" if name == "policy" else value) for name, value in good],
        "another signature": [(name, "0" if name == "x-goog-signature" else value) for name, value in good],
        "another order": [good[1], good[0], *good[2:]],
    }
    for why, fields in bad.items():
        response = send(storage, reserved, form(fields))
        assert response.status_code == 403, why
        assert response.text.startswith("<?xml"), why
        assert response.headers["content-type"].startswith("application/xml"), why
    assert send(storage, reserved, form([("key", "made-up"), (FILE, "")])).status_code == 403
    assert api.mosaic.counts().uploads_stored == 0
    # A rejected form keeps the reservation.
    assert send(storage, reserved, form(good)).status_code == 204


def test_file_must_be_the_last_part(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    good = pairs(reserved)
    for fields in ([good[-1], *good[:-1]], [*good, ("success_action_status", "201")], good[:-1]):
        response = send(storage, reserved, form(fields))
        assert response.status_code in (400, 403)
    assert api.mosaic.counts().uploads_stored == 0
    assert api.mosaic.requests()[1]["form_fields"] == [FILE]
    assert api.mosaic.requests()[3]["form_fields"] == list(reserved["upload_fields"])


def test_field_order_can_be_ignored(api: Api, storage: httpx.Client) -> None:
    api.mosaic.configure(upload_field_order=False)
    reserved = api.reserve()
    good = pairs(reserved)
    assert send(storage, reserved, form([("Content-Type", "video/mp4"), *good])).status_code == 403
    assert send(storage, reserved, form([*good[-2::-1], good[-1]])).status_code == 204


def test_too_large_file_is_rejected(api: Api, storage: httpx.Client) -> None:
    api.mosaic.configure(max_file_size=1000)
    reserved = api.reserve()
    response = send(storage, reserved, form(pairs(reserved), data=bytes(1001)))
    assert response.status_code == 400
    assert "<Code>EntityTooLarge</Code>" in response.text
    assert api.post("/uploads/video/finalize_upload", {"video_id": reserved["video_id"]}).status_code == 400
    assert send(storage, reserved, form(pairs(reserved), data=bytes(1000))).status_code == 204


def test_expired_form(api: Api, storage: httpx.Client) -> None:
    api.mosaic.configure(upload_seconds=0)
    reserved = api.reserve()
    response = send(storage, reserved, form(pairs(reserved)))
    assert (response.status_code, "expired" in response.text) == (403, True)
    assert api.post("/uploads/video/finalize_upload", {"video_id": reserved["video_id"]}).status_code == 404


def test_api_key_at_the_storage_host_is_counted(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    response = send(storage, reserved, form(pairs(reserved)), Authorization=f"Bearer {api.mosaic.api_key}")
    assert response.status_code == 400
    assert response.text.startswith("<?xml")
    assert api.mosaic.counts().key_leaks == 1
    assert api.mosaic.counts().uploads_stored == 0


def test_put_is_rejected(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    assert storage.put(reserved["upload_url"], content=b"bytes").status_code == 403
    assert storage.get(reserved["upload_url"]).status_code == 403


def test_chunked_upload(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    body = form(pairs(reserved), data=bytes(300_000))
    assert send(storage, reserved, (body[at : at + 7001] for at in range(0, len(body), 7001))).status_code == 204
    assert api.mosaic.uploads()[0]["size"] == 300_000
    api.mosaic.configure(chunked_upload="refuse")
    reserved = api.reserve()
    assert send(storage, reserved, iter([form(pairs(reserved))])).status_code == 411


@pytest.mark.parametrize("status", [200, 201])
def test_success_status(api: Api, storage: httpx.Client, status: int) -> None:
    api.mosaic.configure(upload_success_status=status)
    reserved = api.reserve()
    assert send(storage, reserved, form(pairs(reserved))).status_code == status


def test_body_that_is_not_a_form_is_rejected(api: Api, storage: httpx.Client) -> None:
    reserved = api.reserve()
    whole = form(pairs(reserved))
    for body in (b"", b"bytes", whole[: len(whole) // 2], whole[:-20]):
        assert send(storage, reserved, body).status_code in (400, 403)
    response = storage.post(reserved["upload_url"], json={})
    assert response.status_code == 400


def test_aborted_upload_leaves_nothing(api: Api) -> None:
    reserved = api.reserve()
    body = form(pairs(reserved), data=bytes(500_000))
    where = urlsplit(reserved["upload_url"])
    with socket.create_connection((where.hostname, where.port)) as raw:
        head = (
            f"POST {where.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        )
        raw.sendall(head.encode() + body[:200_000])
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b""
    assert api.mosaic.counts().uploads_stored == 0
    assert api.mosaic.uploads()[0]["stored"] is False


def test_finalize_requires_the_file(api: Api) -> None:
    reserved = api.reserve()
    response = api.post("/uploads/video/finalize_upload", {"video_id": reserved["video_id"]})
    assert (response.status_code, response.json()) == (400, {"detail": "The file has not been uploaded yet"})


def test_finalize_accepts_one_id_of_its_type(api: Api) -> None:
    reserved = api.reserve()
    api.store(reserved)
    video_id = reserved["video_id"]
    assert api.post("/uploads/video/finalize_upload", {"video_id": "unknown"}).status_code == 404
    assert api.post("/uploads/audio/finalize_upload", {"audio_id": video_id}).status_code == 404
    for body in ({}, {"id": video_id}, {"audio_id": video_id}, {"video_id": video_id, "audio_id": "x"}):
        assert api.post("/uploads/video/finalize_upload", body).status_code == 400
    assert api.post("/uploads/film/finalize_upload", {"video_id": video_id}).status_code == 404
    assert api.mosaic.counts().uploads_finalized == 0


@pytest.mark.parametrize(
    ("shape", "keys"), [("status_ok", {"status"}), ("file_uuid", {"file_uuid", "file_name", "url"}), ("empty", None)]
)
def test_finalize_response_shapes(api: Api, shape: str, keys: set[str] | None) -> None:
    api.mosaic.configure(finalize_response=shape)
    reserved = api.reserve()
    api.store(reserved)
    response = api.post("/uploads/video/finalize_upload", {"video_id": reserved["video_id"]})
    assert response.status_code == (204 if keys is None else 200)
    assert (set(response.json()) if keys else None) == keys
    assert api.mosaic.counts().uploads_finalized == 1


def test_finalize_lag(api: Api) -> None:
    api.mosaic.inject("finalize_lag", times=2)
    reserved = api.reserve()
    api.store(reserved)
    body = {"video_id": reserved["video_id"]}
    assert [api.post("/uploads/video/finalize_upload", body).status_code for _ in range(3)] == [400, 400, 200]
    assert api.mosaic.counts().uploads_finalized == 1


def test_discard_uploads(api: Api) -> None:
    api.mosaic.configure(discard_uploads=True)
    run = api.finished(body={"video_ids": [api.upload(bytes(12345))]})
    assert run["status"] == "completed"
    (upload,) = api.mosaic.uploads()
    assert (upload["size"], upload["path"]) == (12345, None)
    assert api.mosaic.counts().bytes_stored == 12345


def test_view_link(api: Api, storage: httpx.Client) -> None:
    asset_id = api.upload(b"0123456789")
    response = api.post("/uploads/get_view_url", {"asset_type": "video", "asset_id": asset_id})
    body = response.json()
    assert (body["asset_type"], body["asset_id"]) == ("video", asset_id)
    assert storage.get(body["signed_url"]).content == b"0123456789"
    for bad, status in (
        ({"asset_type": "audio", "asset_id": asset_id}, 404),
        ({"asset_type": "film", "asset_id": asset_id}, 400),
        ({"asset_id": asset_id}, 400),
    ):
        assert api.post("/uploads/get_view_url", bad).status_code == status


def test_memory_is_constant_for_a_large_file(api: Api, storage: httpx.Client) -> None:
    size, block = 192 << 20, bytes(range(256)) * 4096

    def peak() -> int:
        status = Path(f"/proc/{api.mosaic.pid}/status").read_text()
        return next(int(connection.split()[1]) for connection in status.splitlines() if connection.startswith("VmHWM"))

    if not Path("/proc").is_dir():
        pytest.skip("the peak of another process's memory is read from /proc")
    reserved = api.reserve()
    head, tail = form(pairs(reserved), data=b"|").split(b"|")
    api.upload()
    before = peak()

    def body() -> Iterable[bytes]:
        yield head
        for _ in range(size // len(block)):
            yield block
        yield tail

    length = str(len(head) + size + len(tail))
    assert send(storage, reserved, body(), **{"Content-Length": length}).status_code == 204
    video_id = reserved["video_id"]
    api.post("/uploads/video/finalize_upload", {"video_id": video_id})
    run = api.end(api.start(body={"video_ids": [video_id]}))
    received = 0
    with storage.stream("GET", run["outputs"][0]["video_url"]) as response:
        for chunk in response.iter_raw(1 << 20):
            received += len(chunk)
    assert received == size
    assert peak() - before < 32 << 10
