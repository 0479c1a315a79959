"""Storage hosts that are meant to hold a worker, or to fill its memory."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicError,
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

from .hostile_endpoints import EMPTY_MEMBER, FLOODS, TRICKLES, bomb, endless
from .on_loopback import fetch, look, measure, send_form, url_source
from .servers import Act, HostileServer, answer
from .storage_endpoints import raw

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("plain_environment")]

MIB = 1024 * 1024
HEADS = ("a status line", "a header", "100 Continue")
BODIES = ("a chunk's size", "trailers")
_FAILED = b"HTTP/1.1 500 No\r\n"
_CHUNKED = _FAILED + b"Transfer-Encoding: chunked\r\n\r\n"
#: What a host that never gets to the end of its words says about a failure.
ERRORS = {
    "a body": endless(_FAILED + b"Content-Length: 1000000\r\n\r\n<Error>", b" "),
    "a chunk's size": endless(_CHUNKED + b"1;", b"x"),
    "trailers": endless(_CHUNKED + b"1\r\n \r\n0\r\n", b"X-T: 1\r\n", pause=0.05),
    "empty gzip members": endless(_FAILED + b"Content-Encoding: gzip\r\n\r\n", EMPTY_MEMBER),
    "a body!": endless(_FAILED + b"\r\n<Error>", b"x" * 100_000, pause=0),
    "a chunk's size!": endless(_CHUNKED + b"1;", b"x" * 100_000, pause=0),
    "a negative size!": endless(_CHUNKED + b"-1\r\n", b"x" * 100_000, pause=0),
}


@contextlib.contextmanager
def at_most(size: int, *, seconds: float = 2.0) -> Iterator[None]:
    """Fail if more bytes are held at once in this block than before it, or if it takes longer."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size
    assert time.monotonic() - began < seconds


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
    send_form(form_for(url), local_source(video), "video/mp4", connect_timeout=0.5, send_timeout=0.5, timeout=0.3)


@pytest.mark.parametrize("name", HEADS)
def test_no_head_of_an_answer_holds_an_upload(video: Path, name: str) -> None:
    with (
        HostileServer(TRICKLES[name]) as host,
        at_most(20 * MIB),
        pytest.raises(MosaicTransportError, match="no response came in time"),
    ):
        upload(host.url, video)


@pytest.mark.parametrize("act", ERRORS.values(), ids=ERRORS)
def test_no_body_of_an_error_holds_an_upload_and_its_status_counts(video: Path, act: Act) -> None:
    with HostileServer(act) as host, at_most(20 * MIB), pytest.raises(MosaicServerError, match="500"):
        upload(host.url, video)


@pytest.mark.parametrize("name", HEADS)
def test_no_head_of_an_answer_holds_a_download(tmp_path: Path, name: str) -> None:
    with (
        HostileServer(TRICKLES[name]) as host,
        at_most(20 * MIB),
        pytest.raises(MosaicTransportError, match="no response came in time"),
    ):
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), timeout=0.3, retries=ONCE)


@pytest.mark.parametrize("act", [*(TRICKLES[name] for name in BODIES), FLOODS["trailers"]], ids=[*BODIES, "trailers!"])
def test_no_framing_of_a_body_holds_a_download(tmp_path: Path, act: Act) -> None:
    with (
        HostileServer(act) as host,
        at_most(20 * MIB),
        pytest.raises(MosaicTransportError, match="no response came in time"),
    ):
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), timeout=0.3, retries=ONCE)


@pytest.mark.parametrize("act", ERRORS.values(), ids=ERRORS)
def test_no_body_of_an_error_holds_a_download_and_its_status_counts(tmp_path: Path, act: Act) -> None:
    with HostileServer(act) as host, at_most(20 * MIB), pytest.raises(MosaicServerError, match="500"):
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), timeout=0.3, retries=ONCE)


@pytest.mark.parametrize("name", [*HEADS, *BODIES])
def test_no_answer_holds_the_reading_of_a_source(name: str) -> None:
    with (
        HostileServer(TRICKLES[name]) as host,
        at_most(20 * MIB),
        pytest.raises(MosaicTransportError, match="no response came in time"),
    ):
        url_source(f"{host.url}/cut.mp4", timeout=0.3)


def test_a_chunk_of_a_negative_size_is_a_broken_connection(tmp_path: Path) -> None:
    with (
        HostileServer(FLOODS["a chunk of a negative size"]) as host,
        at_most(20 * MIB),
        pytest.raises(MosaicTransportError, match="connection failed"),
    ):
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), retries=ONCE)


def test_a_refusal_that_is_compressed_is_read_as_it_came(tmp_path: Path, video: Path) -> None:
    act = answer(403, bomb(128 * MIB), Content_Encoding="gzip, gzip")
    with HostileServer(act) as host:
        with at_most(20 * MIB), pytest.raises(MosaicPermissionError, match="403"):
            upload(host.url, video)
        with at_most(20 * MIB), pytest.raises(MosaicPermissionError, match="403"):
            fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), retries=ONCE)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br", "zstd"])
def test_a_file_that_is_compressed_unasked_is_refused(tmp_path: Path, encoding: str) -> None:
    target = tmp_path / "x.mp4"
    with HostileServer(answer(200, bomb(128 * MIB), Content_Encoding=encoding)) as host:
        for act in (
            lambda: fetch(lambda: host.url, local_destination(target)),
            lambda: measure(lambda: host.url, max_bytes=MIB),
            lambda: look(lambda: host.url),
        ):
            with at_most(20 * MIB), pytest.raises(MosaicResponseError, match="compressed"):
                act()
        with at_most(20 * MIB), pytest.raises(MosaicValidationError, match="compressed"):
            url_source(host.url)
    assert not target.exists()


@pytest.mark.parametrize("digits", [19, 5000])
def test_a_length_of_thousands_of_digits_is_an_error_of_ours(tmp_path: Path, digits: int) -> None:
    length = b"9" * digits
    for head in (
        b"HTTP/1.1 200 OK\r\nContent-Length: " + length,
        b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/" + length,
    ):
        with HostileServer(raw(head + b"\r\n\r\nx")) as host:
            with pytest.raises(MosaicError):
                fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"), retries=ONCE)
            with contextlib.suppress(MosaicError):
                look(lambda: host.url, retries=ONCE)
            with pytest.raises(MosaicError):
                url_source(host.url)


def test_a_host_that_sips_does_not_hold_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall_timeout, "_MIN_SEND_RATE", 100 * MIB)
    ours, theirs = socket.socketpair()

    def sip() -> None:
        ends_at = time.monotonic() + 3
        with theirs:
            while time.monotonic() < ends_at and theirs.recv(4 * 1024):
                time.sleep(0.01)

    sipping = threading.Thread(target=sip)
    sipping.start()
    # There is progress always: TCP would show it only now and then, by the size of its buffers.
    with ours, pytest.raises(TimeoutError, match="took fewer than"):
        stall_timeout._send_all(ours, memoryview(bytes(2 * MIB)), 0.5)
    sipping.join()


@pytest.mark.parametrize("value", ["attachment;" + '"' + ";" * 60_000, "attachment; filename=" + "a\\" * 30_000])
def test_a_name_that_never_ends_takes_no_time(tmp_path: Path, value: str) -> None:
    with HostileServer(answer(200, b"x", Content_Disposition=value)) as host:
        began = time.process_time()
        fetch(lambda: host.url, local_destination(tmp_path / "x.mp4"))
        assert time.process_time() - began < 0.5
