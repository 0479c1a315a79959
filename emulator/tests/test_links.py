from __future__ import annotations

import json
from urllib.parse import parse_qsl

import httpx
import pytest

from .conftest import Api, until

DATA = bytes(range(256)) * 40


@pytest.fixture
def run_id(api: Api) -> str:
    run_id = api.start(body={"video_ids": [api.upload(DATA)]})
    api.end(run_id)
    return run_id


def link(api: Api, run_id: str) -> str:
    return str(api.run(run_id)["outputs"][0]["video_url"])


def test_each_read_returns_a_new_link(api: Api, run_id: str, storage: httpx.Client) -> None:
    first, second = link(api, run_id), link(api, run_id)
    assert first != second
    assert "X-Goog-Expires=604800" in first
    for each in (first, second):
        response = storage.get(each)
        assert response.content == DATA
        assert response.headers["content-length"] == str(len(DATA))
        assert response.headers["content-type"] == "video/mp4"
    # The emulator counts a file after it was sent.
    counts = until(api.mosaic.counts, lambda counts: counts.downloads == 2)
    assert counts.bytes_served == 2 * len(DATA)


def test_modified_link_is_rejected(api: Api, run_id: str, storage: httpx.Client) -> None:
    good = link(api, run_id)
    for bad in (good[:-1] + ("0" if good[-1] != "0" else "1"), good.replace("604800", "704800"), good.split("?")[0]):
        assert storage.get(bad).status_code == 403
    assert api.mosaic.counts().downloads == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_expired_link_status(api: Api, run_id: str, storage: httpx.Client, status: int) -> None:
    api.mosaic.configure(expired_link_status=status)
    old = link(api, run_id)
    api.mosaic.expire_links()
    response = storage.get(old)
    assert response.status_code == status
    assert response.text.startswith("<?xml")
    assert storage.get(link(api, run_id)).status_code == 200


def test_link_lifetime(api: Api, run_id: str, storage: httpx.Client) -> None:
    api.mosaic.configure(link_seconds=0)
    assert storage.get(link(api, run_id)).status_code == 400


def test_expired_link_fault(api: Api, run_id: str, storage: httpx.Client) -> None:
    api.mosaic.inject("expired_link", status=403)
    url = link(api, run_id)
    assert [storage.get(url).status_code for _ in range(2)] == [403, 200]


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-99", 206, 0, 99),
        ("bytes=100-", 206, 100, len(DATA) - 1),
        ("bytes=-10", 206, len(DATA) - 10, len(DATA) - 1),
        ("bytes=5-999999", 206, 5, len(DATA) - 1),
        ("bytes=99999-", 416, 0, 0),
        ("bytes=a-b", 200, 0, len(DATA) - 1),
    ],
)
def test_ranges(api: Api, run_id: str, storage: httpx.Client, asked: str, status: int, first: int, last: int) -> None:
    response = storage.get(link(api, run_id), headers={"Range": asked})
    assert response.status_code == status
    if status == 416:
        return
    assert response.content == DATA[first : last + 1]
    if status == 206:
        assert response.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"


def test_if_range_of_another_version(api: Api, run_id: str, storage: httpx.Client) -> None:
    etag = storage.get(link(api, run_id)).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=1-", "If-Range": condition}
        assert storage.get(link(api, run_id), headers=headers).status_code == status


def test_ranges_can_be_ignored(api: Api, run_id: str, storage: httpx.Client) -> None:
    api.mosaic.configure(ranges=False)
    response = storage.get(link(api, run_id), headers={"Range": "bytes=0-9"})
    assert (response.status_code, response.content) == (200, DATA)


def test_head_is_not_a_download(api: Api, run_id: str, storage: httpx.Client) -> None:
    response = storage.head(link(api, run_id))
    assert (response.status_code, response.headers["content-length"], response.content) == (200, str(len(DATA)), b"")
    assert api.mosaic.counts().downloads == 0


@pytest.mark.parametrize("mode", ["chunked", "absent"])
def test_content_length_can_be_omitted(api: Api, run_id: str, storage: httpx.Client, mode: str) -> None:
    api.mosaic.configure(download_length=mode)
    response = storage.get(link(api, run_id))
    assert response.content == DATA
    assert "content-length" not in response.headers
    # A download is counted after its last byte.
    until(lambda: api.mosaic.counts().downloads, lambda downloads: downloads == 1)


@pytest.mark.parametrize("reset", [False, True])
def test_cut_body(api: Api, run_id: str, storage: httpx.Client, reset: bool) -> None:
    api.mosaic.inject("cut_body", fraction=0.25, reset=reset)
    url = link(api, run_id)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        storage.get(url)
    assert storage.get(url).content == DATA
    # A download is counted after its last byte.
    until(lambda: api.mosaic.counts().downloads, lambda downloads: downloads == 1)


def test_api_key_at_the_storage_host_is_rejected(api: Api, run_id: str) -> None:
    response = api.get(link(api, run_id))
    assert response.status_code == 400
    assert api.mosaic.counts().key_leaks == 1


def test_signature_mark(api: Api, run_id: str, storage: httpx.Client) -> None:
    api.mosaic.configure(signature_mark="look4me")
    url = link(api, run_id)
    assert "X-Goog-Signature=look4me" in url
    assert storage.get(url).status_code == 200
    assert storage.get(url.replace("look4me", "")).status_code == 403
    form = api.post("/uploads/video/get_upload_url").json()
    assert form["upload_fields"]["x-goog-signature"].startswith("look4me")


def test_request_log_masks_signed_urls(api: Api, run_id: str, storage: httpx.Client) -> None:
    api.mosaic.configure(signature_mark="look4me")
    url = link(api, run_id)
    assert storage.get(url).status_code == 200
    api.post("/social/post", {"post": "Hello", "platforms": ["x"], "media_urls": [url]})
    api.get("/agent_runs", params={"limit": 3, "cursor": "c"})
    log = api.mosaic.requests()
    assert "look4me" not in json.dumps(log)
    [download] = [each["query"] for each in log if each["template"].startswith("/mosaic-emulator-media")]
    assert {value for _, value in parse_qsl(download)} == {"***"}
    [post] = [each["body"] for each in log if each["path"] == "/social/post"]
    assert post["media_urls"][0].startswith(url.partition("=")[0])
    assert log[-1]["query"] == "limit=3&cursor=c"


def test_link_to_a_deleted_object_is_not_found(api: Api, run_id: str, storage: httpx.Client) -> None:
    url = link(api, run_id)
    api.mosaic.reset()
    assert storage.get(url).status_code == 404
