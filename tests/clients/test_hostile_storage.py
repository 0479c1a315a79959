"""Storage hosts that try to hold a worker or to fill its memory."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients import stall_timeout, storage_responses
from airflow_provider_mosaic.clients.destinations import local_destination
from airflow_provider_mosaic.clients.sources import local_source

from .hostile_endpoints import EMPTY_MEMBER, FLOODS, at_most, bomb, endless
from .on_loopback import fetch, measure, read_file_info, send_form, url_source
from .servers import HostileServer, Reply, answer

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("plain_environment")]

MIB = 1024 * 1024
_FAILED = b"HTTP/1.1 500 No\r\n"
_CHUNKED = _FAILED + b"Transfer-Encoding: chunked\r\n\r\n"
#: Error responses without an end.
ERRORS = {
    "a body": endless(_FAILED + b"Content-Length: 1000000\r\n\r\n<Error>", b" "),
    "a chunk's size": endless(_CHUNKED + b"1;", b"x"),
    "trailers": endless(_CHUNKED + b"1\r\n \r\n0\r\n", b"X-T: 1\r\n", pause=0.05),
    "empty gzip members": endless(_FAILED + b"Content-Encoding: gzip\r\n\r\n", EMPTY_MEMBER),
    "a body!": endless(_FAILED + b"\r\n<Error>", b"x" * 100_000, pause=0),
    "a chunk's size!": endless(_CHUNKED + b"1;", b"x" * 100_000, pause=0),
    "a negative size!": endless(_CHUNKED + b"-1\r\n", b"x" * 100_000, pause=0),
}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "cut.mp4"
    path.write_bytes(bytes(range(256)) * 20_000)
    return path


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_responses, "_READ_TIME_LIMIT", 0.3)


def form_for(url: str) -> UploadForm:
    return UploadForm(asset_id="a1", upload_url=url, upload_fields={"key": "k"}, max_file_size_bytes=None)


def upload(url: str, video: Path) -> None:
    send_form(form_for(url), local_source(video), "video/mp4", connect_timeout=20, send_timeout=20, timeout=20)


@pytest.mark.parametrize("reply", ERRORS.values(), ids=ERRORS)
def test_slow_error_body_keeps_its_status_in_uploads(video: Path, reply: Reply) -> None:
    with HostileServer(reply) as host, at_most(20 * MIB, seconds=20), pytest.raises(MosaicServerError, match="500"):
        upload(host.url, video)


@pytest.mark.parametrize("reply", ERRORS.values(), ids=ERRORS)
def test_slow_error_body_keeps_its_status_in_downloads(tmp_path: Path, reply: Reply) -> None:
    with HostileServer(reply) as host, at_most(20 * MIB, seconds=20), pytest.raises(MosaicServerError, match="500"):
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), timeout=20, retries=ONCE)


def test_negative_chunk_size_fails(tmp_path: Path) -> None:
    with (
        HostileServer(FLOODS["a chunk of a negative size"]) as host,
        at_most(20 * MIB, seconds=20),
        pytest.raises(MosaicTransportError, match="connection failed"),
    ):
        fetch(lambda: f"{host.url}/x.json", local_destination(tmp_path / "x.mp4"), retries=ONCE)


def test_compressed_error_is_not_decompressed(tmp_path: Path, video: Path) -> None:
    reply = answer(403, bomb(128 * MIB), Content_Encoding="gzip, gzip")
    with HostileServer(reply) as host:
        with at_most(20 * MIB, seconds=20), pytest.raises(MosaicPermissionError, match="403"):
            upload(host.url, video)
        with at_most(20 * MIB, seconds=20), pytest.raises(MosaicPermissionError, match="403"):
            fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), retries=ONCE)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br", "zstd"])
def test_compressed_files_are_rejected(tmp_path: Path, encoding: str) -> None:
    target = tmp_path / "x.mp4"
    with HostileServer(answer(200, bomb(128 * MIB), Content_Encoding=encoding)) as host:
        for call in (
            lambda: fetch(lambda: host.url, local_destination(target)),
            lambda: measure(lambda: host.url, max_bytes=MIB),
            lambda: read_file_info(lambda: host.url),
        ):
            with at_most(20 * MIB, seconds=20), pytest.raises(MosaicResponseError, match="compressed"):
                call()
        with at_most(20 * MIB, seconds=20), pytest.raises(MosaicValidationError, match="compressed"):
            url_source(host.url)
    assert not target.exists()


def test_upload_to_a_slow_host_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall_timeout, "_MIN_SEND_RATE", 100 * MIB)
    ours, theirs = socket.socketpair()

    def sip() -> None:
        ends_at = time.monotonic() + 3
        with theirs:
            while time.monotonic() < ends_at and theirs.recv(4 * 1024):
                time.sleep(0.01)

    sipping = threading.Thread(target=sip)
    sipping.start()
    # A socket pair: over TCP, buffers would hide the slow progress.
    with ours, pytest.raises(TimeoutError, match=r"took (fewer than|no byte)"):
        stall_timeout._send_all(ours, memoryview(bytes(2 * MIB)), 0.5)
    sipping.join()


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "%00", "utf-16", "hex"])
def test_file_name_that_cannot_be_decoded_is_ignored(tmp_path: Path, charset: str) -> None:
    with HostileServer(answer(200, b"x", Content_Disposition=f"attachment; filename*={charset}''%ff-%ff")) as host:
        assert fetch(lambda: host.url, local_destination(tmp_path / "x.mp4")) == 1
        assert read_file_info(lambda: host.url).size == 1
        assert url_source(f"{host.url}/cut.mp4").name == "cut.mp4"


def test_parts_of_a_file_name_without_numbers_are_ignored(tmp_path: Path) -> None:
    with HostileServer(answer(200, b"x", Content_Disposition="attachment; filename*=a; filename*0=b")) as host:
        assert fetch(lambda: host.url, local_destination(tmp_path / "x.mp4")) == 1
        assert url_source(f"{host.url}/cut.mp4").name == "cut.mp4"


def test_error_with_a_huge_character_reference_keeps_its_status(tmp_path: Path, video: Path) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>&#" + b"9" * 5000 + b";</Message></Error>"
    with HostileServer(answer(403, body)) as host:
        with pytest.raises(MosaicPermissionError, match="AccessDenied"):
            upload(host.url, video)
        with pytest.raises(MosaicPermissionError, match="AccessDenied"):
            fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), retries=ONCE)


@pytest.mark.parametrize("value", ["attachment;" + '"' + ";" * 60_000, "attachment; filename=" + "a\\" * 30_000])
def test_oversized_file_name_is_parsed_quickly(tmp_path: Path, value: str) -> None:
    with HostileServer(answer(200, b"x", Content_Disposition=value)) as host:
        started = time.process_time()
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"))
        assert time.process_time() - started < 0.5
