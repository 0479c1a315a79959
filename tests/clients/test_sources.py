from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicRateLimitError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.clients.sources import Source, local_source, read_blocks, storage_source

from .buckets import bucket_in_s3, client_of_s3, folder_in_memory, running_s3_server  # noqa: F401 - fixtures
from .on_loopback import url_source
from .servers import HostileServer, Reply, answer, hang_up, reset
from .storage_endpoints import chunked, file, raw

pytestmark = pytest.mark.usefixtures("plain_environment")

CONTENT = os.urandom(3_000_000)


def read(source: Source) -> bytes:
    return b"".join(bytes(block) for block in read_blocks(source))


# --- local files ---


def test_local_source_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(CONTENT)
    source = local_source(str(path))
    assert (source.name, source.size, source.shown) == ("cut.mp4", len(CONTENT), str(path))
    assert read(source) == read(source) == CONTENT


def test_stamp_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    before = local_source(path)
    assert local_source(path).stamp == before.stamp
    os.utime(path, ns=(2, 2))
    assert local_source(path).stamp != before.stamp


def test_invalid_local_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, pattern in (
        ("missing.mp4", "no such file"),
        (".", "directory"),
        ("empty.mp4", "empty"),
        ("pipe.mp4", "not a regular file"),
        ("empty.mp4/x.mp4", "no such file"),
        ("nul\0.mp4", "can't be read"),
    ):
        with pytest.raises(MosaicValidationError, match=pattern) as caught:
            local_source(tmp_path / name)
        assert str(caught.value).startswith("source=")
        assert not caught.value.transient
    with pytest.raises(MosaicValidationError, match="not int"):
        local_source(3)  # type: ignore[arg-type]


# --- links ---


def test_url_source_is_requested_for_each_read() -> None:
    with HostileServer(file(CONTENT, ETag='"v1"')) as host:
        source = url_source(f"{host.url}/a/cut%20one.mp4?sig=cafe")
        assert (source.name, source.size) == ("cut one.mp4", len(CONTENT))
        assert source.shown == f"{host.url}/a/cut%20one.mp4"
        assert '"v1"' in source.stamp
        assert read(source) == read(source) == CONTENT
    assert {request.method for request in host.seen} == {"GET"}
    for request in host.seen:
        assert request.headers["accept-encoding"] == "identity"
        assert not {"authorization", "cookie"} & set(request.headers)


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/cut.mp4", {"Content_Disposition": 'attachment; filename="other.mov"'}, "cut.mp4"),
        ("/download", {"Content_Disposition": "attachment; filename*=UTF-8''Z%C3%BCrich.mov"}, "Zürich.mov"),
        ("/download", {"Content_Disposition": 'attachment; filename="../../etc/passwd.mp4"'}, "passwd.mp4"),
        ("/download?filename=cut.mov", {"Content_Disposition": 'attachment; filename="cut.mov"'}, "cut.mov"),
        ("/download?f=a%20cut.mov", {"Content_Disposition": 'attachment; filename="a cut.mov"'}, "a cut.mov"),
        # A signature in the name is masked, and so is a value that may be one.
        ("/download?sig=cut8f.mov", {"Content_Disposition": 'attachment; filename="cut8f.mov"'}, "***.mov"),
        ("/download?id=cut8f", {"Content_Disposition": 'attachment; filename="cut8f.mov"'}, "***.mov"),
        ("/download?format=webm", {"Content_Disposition": 'attachment; filename="cut.webm"'}, "cut.***.webm"),
        ("/download", {"Content_Type": "video/quicktime"}, "download.mov"),
        ("/photo", {"Content_Type": "image/jpeg"}, "photo.jpg"),
        ("/", {"Content_Type": "video/mp4"}, "source.mp4"),
        ("/download", {}, "download"),
    ],
)
def test_url_source_name(path: str, headers: dict[str, str], name: str) -> None:
    with HostileServer(file(CONTENT, **headers)) as host:
        assert url_source(host.url + path).name == name


def test_url_source_follows_redirects() -> None:
    with HostileServer(answer(302, Location="/files/cut.mp4?x=1"), file(CONTENT)) as host:
        assert url_source(f"{host.url}/share").name == "cut.mp4"
    with (
        HostileServer(answer(302, Location="/")) as host,
        pytest.raises(MosaicValidationError, match="10 times"),
    ):
        url_source(f"{host.url}/cut.mp4")


@pytest.mark.parametrize(
    ("reply", "kind", "pattern"),
    [
        (answer(404), MosaicValidationError, "nothing there"),
        (answer(403), MosaicValidationError, "denies access"),
        (answer(418), MosaicValidationError, "418"),
        (answer(206), MosaicValidationError, "206"),
        (answer(200, b"<html>x", Content_Type="text/html"), MosaicValidationError, "HTML page"),
        (answer(200, b"{}", Content_Type="application/json"), MosaicValidationError, "as for an error"),
        (answer(200, b"x", Content_Encoding="gzip"), MosaicValidationError, "compressed"),
        (answer(200, b""), MosaicValidationError, "empty"),
        (chunked(b""), MosaicValidationError, "empty"),
        (raw(b"HTTP/1.0 200 OK\r\n\r\nabc"), MosaicValidationError, "without its length"),
        (answer(429), MosaicRateLimitError, "429"),
        (answer(502), MosaicServerError, "502"),
        (answer(425), MosaicServerError, "425"),
        (reset, MosaicTransportError, "connection failed"),
        (hang_up, MosaicTransportError, "connection failed"),
        (chunked(CONTENT, whole=False), MosaicTransportError, "connection failed"),
    ],
)
def test_invalid_url_sources_are_named_without_query(reply: Reply, kind: type[MosaicError], pattern: str) -> None:
    with HostileServer(reply) as host, pytest.raises(kind, match=pattern) as caught:
        url_source(f"{host.url}/cut.mp4?sig=cafe")
    assert "source=" in str(caught.value)
    assert "cafe" not in str(caught.value)


def test_invalid_url_is_rejected() -> None:
    with pytest.raises(MosaicValidationError, match="full URL"):
        url_source("ftp://host.test/cut.mp4")


def test_url_source_of_unknown_size_is_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with HostileServer(chunked(CONTENT)) as host:
        source = url_source(f"{host.url}/cut.mp4")
        assert source.size == len(CONTENT)
        assert read(source) == read(source) == CONTENT
        with pytest.raises(MosaicValidationError, match=r"larger than 1.9 MB"):
            url_source(f"{host.url}/cut.mp4", max_bytes=2_000_000)
    assert host.count == 2
    assert list(tmp_path.iterdir()) == []


def test_changed_url_source_fails() -> None:
    with HostileServer(file(CONTENT, ETag='"v1"'), file(CONTENT, ETag='"v2"')) as host:
        source = url_source(f"{host.url}/cut.mp4")
        with pytest.raises(MosaicValidationError, match="another file now") as caught:
            read(source)
    assert caught.value.transient


@pytest.mark.parametrize("tags", [{}, {"ETag": 'W/"v1"'}, {"ETag": '"v1"'}])
def test_url_source_with_a_new_modification_time_in_each_response_is_read(tags: dict[str, str]) -> None:
    replies = [file(CONTENT, Last_Modified=f"Mon, 06 Jul 2026 10:00:0{n} GMT", **tags) for n in range(2)]
    with HostileServer(*replies) as host:
        assert read(url_source(f"{host.url}/cut.mp4")) == CONTENT


def test_interrupted_url_source_is_transient() -> None:
    with HostileServer(file(CONTENT), file(CONTENT, keep=1000)) as host:
        source = url_source(f"{host.url}/cut.mp4?sig=cafe")
        with pytest.raises(MosaicError) as caught:
            read(source)
    assert caught.value.transient
    assert "cafe" not in str(caught.value)


# --- object storage ---


def test_storage_source_is_read(memory: Any, s3: Any, tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    for folder in (memory, s3, ObjectStoragePath(f"file://{tmp_path}")):
        path = folder / "cut.mp4"
        path.fs.pipe_file(path.path, CONTENT)
        source = storage_source(path)
        assert (source.name, source.size) == ("cut.mp4", len(CONTENT))
        assert source.shown.endswith("/cut.mp4")
        assert read(source) == read(source) == CONTENT


def test_invalid_storage_sources_are_named(memory: Any, s3: Any) -> None:
    for folder in (memory, s3):
        path = folder / "inner" / "empty.mp4"
        path.fs.pipe_file(path.path, b"")
        for name, pattern in (("missing.mp4", "no such file"), ("inner", "directory"), ("inner/empty.mp4", "empty")):
            with pytest.raises(MosaicValidationError, match=pattern) as caught:
                storage_source(folder / name)
            assert name in str(caught.value)


def test_object_stamp_changes_with_the_content(s3: Any) -> None:
    path = s3 / "cut.mp4"
    path.fs.pipe_file(path.path, b"one")
    before = storage_source(path)
    assert storage_source(path).stamp == before.stamp
    path.fs.pipe_file(path.path, b"two")
    assert storage_source(path).stamp != before.stamp


def test_replaced_object_fails(s3: Any) -> None:
    path = s3 / "cut.mp4"
    path.fs.pipe_file(path.path, CONTENT)
    reading = read_blocks(storage_source(path))
    next(reading)
    path.fs.pipe_file(path.path, CONTENT[::-1])
    with pytest.raises(MosaicValidationError, match="changed while") as caught:
        list(reading)
    assert caught.value.transient
