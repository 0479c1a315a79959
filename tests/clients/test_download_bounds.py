"""Limits of transfers: no host can fill a disk or hold a task."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicResponseError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients import destinations, storage_responses
from airflow_provider_mosaic.clients import download as downloading
from airflow_provider_mosaic.clients import sources as url_sources
from airflow_provider_mosaic.clients.destinations import (
    Destination,
    PartialFile,
    local_destination,
    storage_destination,
)
from airflow_provider_mosaic.clients.sources import local_source, read_blocks

from .buckets import folder_in_memory  # noqa: F401 - a fixture
from .hostile_endpoints import at_most
from .on_loopback import fetch, measure, read_file_info, send_form, url_source
from .servers import HostileServer, Reply, answer, trickle, trickled_head
from .storage_endpoints import chunked, file, raw

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("plain_environment")]

CONTENT = os.urandom(300_000)
TIMEOUT = 0.3
MEBIBYTE = bytes(1024 * 1024)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
START_OF = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nx"


def dripping(start: bytes, drip: bytes, pause: float = 0.01) -> Reply:
    """Send a start, then the same bytes again and again, each time within any read timeout."""

    def reply(connection: socket.socket) -> bool:
        connection.sendall(start)
        while True:
            connection.sendall(drip)
            time.sleep(pause)

    return reply


def endless(*, length: int | None = None) -> Reply:
    """Send an endless body."""

    def reply(connection: socket.socket) -> bool:
        connection.sendall(HEAD if length is None else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        chunk = MEBIBYTE if length is not None else b"100000\r\n" + MEBIBYTE + b"\r\n"
        while True:
            connection.sendall(chunk)

    return reply


def download(url: str, folder: Path, timeout: float = TIMEOUT) -> Any:
    return fetch(lambda: url, local_destination(folder / "x.mp4"), timeout=timeout, retries=ONCE)


def read_info(url: str, folder: Path) -> Any:
    return read_file_info(lambda: url, timeout=TIMEOUT, retries=ONCE)


def only_measure(url: str, folder: Path) -> Any:
    return measure(lambda: url, max_bytes=10**9, timeout=TIMEOUT, retries=ONCE)


def read_source(url: str, folder: Path) -> Any:
    return list(read_blocks(url_source(url, timeout=TIMEOUT)))


def upload(url: str, folder: Path) -> Any:
    path = folder / "up.mp4"
    path.write_bytes(b"x")
    form = UploadForm(asset_id="a", upload_url=url, upload_fields={"key": "k"})
    return send_form(form, local_source(path), "video/mp4", timeout=TIMEOUT)


Transfer = Callable[[str, Path], Any]
IN_THE_HEAD = {
    "status line": dripping(b"HTTP/1.1 2", b"0"),
    "header": trickled_head,
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue at full speed": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0),
}
IN_THE_BODY = {
    "body": trickle(0.01),
    "chunk sizes": dripping(HEAD, b"0"),
    "chunks": dripping(HEAD, b"1\r\nx\r\n"),
    "extensions": dripping(HEAD, b"1;" + b"x" * 60_000 + b"\r\nx\r\n", pause=0),
    "trailers": dripping(HEAD + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
    "trailers at full speed": dripping(HEAD + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 1000, pause=0),
}


@pytest.mark.parametrize("transfer", [download, read_info, only_measure, read_source, upload])
@pytest.mark.parametrize("reply", IN_THE_HEAD.values(), ids=IN_THE_HEAD)
def test_slow_response_head_times_out(transfer: Transfer, reply: Reply, tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        HostileServer(reply) as host,
        at_most(20 << 20),
        pytest.raises(MosaicTransportError, match=r"in time|is too long") as caught,
    ):
        transfer(host.url, tmp_path)
    assert time.monotonic() - started < 20
    assert caught.value.transient


@pytest.mark.parametrize("transfer", [download, only_measure, read_source])
@pytest.mark.parametrize("reply", IN_THE_BODY.values(), ids=IN_THE_BODY)
def test_slow_response_body_times_out(transfer: Transfer, reply: Reply, tmp_path: Path) -> None:
    started = time.monotonic()
    with HostileServer(reply) as host, pytest.raises(MosaicTransportError, match="in time") as caught:
        transfer(host.url, tmp_path)
    assert time.monotonic() - started < 20
    assert caught.value.transient
    assert not (tmp_path / "x.mp4").exists()


def test_endless_trailers_use_little_memory(tmp_path: Path) -> None:
    reply = IN_THE_BODY["trailers at full speed"]
    with HostileServer(reply) as host, at_most(20 << 20), pytest.raises(MosaicTransportError):
        download(host.url, tmp_path)


@pytest.mark.alone
def test_timeout_error_contains_the_rate(tmp_path: Path) -> None:
    with HostileServer(trickle(0.01)) as host, pytest.raises(MosaicTransportError, match="fewer than 1024 bytes a"):
        download(host.url, tmp_path)


def test_slow_error_response_keeps_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_responses, "_READ_TIME_LIMIT", 0.3)
    with HostileServer(dripping(b"HTTP/1.1 503 No\r\nContent-Length: 99999\r\n\r\n", b"x")) as host:
        started = time.monotonic()
        with pytest.raises(MosaicError, match="503"):
            download(host.url, tmp_path, timeout=20)
        assert time.monotonic() - started < 20


@pytest.mark.alone
@pytest.mark.parametrize("given", [0, 40_000])
def test_repeatedly_slow_host_fails_after_few_retries(tmp_path: Path, given: int) -> None:
    def trickling(connection: socket.socket) -> bool:
        """Send a block, then single bytes."""
        start = int(host.seen[-1].headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        file(CONTENT, start=start, keep=given, ETag='"v"')(connection)
        while True:
            time.sleep(0.01)
            connection.sendall(b"x")

    with HostileServer(trickling) as host, pytest.raises(MosaicTransportError):
        fetch(
            lambda: host.url,
            local_destination(tmp_path / "x.mp4"),
            timeout=0.1,
            retries=RetryPolicy(attempts=3),
            sleep=lambda seconds: None,
        )
    assert host.count == 3


@pytest.mark.alone
def test_slow_connection_above_the_least_rate_succeeds(tmp_path: Path) -> None:
    def slow(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n")
        for start in range(0, 6000, 100):
            connection.sendall(CONTENT[start : start + 100])
            time.sleep(0.015)
        return False

    # For three timeouts, at six times the least rate.
    with HostileServer(slow) as host:
        assert download(host.url, tmp_path) == 6000


class SlowDestination(Destination):
    """A local file on a disk that is slower than a host may be."""

    def open(self, size: int | None) -> PartialFile:
        part = local_destination(self.shown).open(size)
        write = part.write
        part.write = lambda data: (time.sleep(TIMEOUT / 4), write(data))[1]  # type: ignore[method-assign]
        return part


def test_slow_destination_does_not_count_as_slow_host(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with HostileServer(file(CONTENT)) as host:
        size = fetch(lambda: host.url, SlowDestination(name=path.name, shown=str(path)), timeout=TIMEOUT, retries=ONCE)
    assert (size, path.read_bytes()) == (len(CONTENT), CONTENT)


# --- disk space and size ---


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Return a directory with 40 MiB of free space, and check that it is empty afterwards."""
    usage = type(shutil.disk_usage("/"))
    real = os.stat

    def used(folder: Any) -> Any:
        there = sum(real(entry.path).st_size for entry in os.scandir(folder))
        return usage(200 << 20, (160 << 20) + there, (40 << 20) - there)

    monkeypatch.setattr(shutil, "disk_usage", used)
    monkeypatch.setattr(destinations, "SPACE_CHECK_INTERVAL", 4 << 20)
    monkeypatch.setattr(url_sources, "SPACE_CHECK_INTERVAL", 4 << 20)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_endless_download_stops_before_the_disk_is_full(small_disk: Path) -> None:
    with HostileServer(endless()) as host, pytest.raises(MosaicValidationError, match=r"no room.* free") as caught:
        download(host.url, small_disk, timeout=20)
    assert host.count == 1
    assert caught.value.transient


def test_file_larger_than_the_free_space_is_not_fetched(small_disk: Path) -> None:
    expected = r"no room.*40 MB are free, 41 MB are needed"
    with HostileServer(endless(length=41 << 20)) as host, pytest.raises(MosaicValidationError, match=expected):
        download(host.url, small_disk, timeout=20)
    assert host.count == 1


@pytest.mark.parametrize("then", [endless(), endless(length=41 << 20)], ids=["no length", "larger"])
def test_restarted_download_keeps_the_disk_from_filling(small_disk: Path, then: Reply) -> None:
    with HostileServer(file(CONTENT, keep=1000), then) as host, pytest.raises(MosaicValidationError, match="no room"):
        fetch(lambda: host.url, local_destination(small_disk / "x.mp4"), sleep=lambda seconds: None)
    assert host.count == 2


def test_restarted_download_has_the_part_size_of_its_new_length() -> None:
    part_sizes: list[int] = []

    def open_stream(path: str, mode: str, *, block_size: int) -> Any:
        part_sizes.append(block_size)
        return SimpleNamespace(write=lambda data: None, discard=lambda: None)

    path = SimpleNamespace(name="x.mp4", path="x.mp4", protocol="s3", fs=SimpleNamespace(open=open_stream))
    large = 100 << 30
    with HostileServer(file(CONTENT, keep=1000), raw(START_OF % large)) as host, pytest.raises(MosaicTransportError):
        fetch(
            lambda: host.url,
            storage_destination(path),
            retries=RetryPolicy(attempts=2),
            sleep=lambda seconds: None,
        )
    assert part_sizes[-1] * 10_000 > large


def test_restarted_measurement_counts_from_the_start() -> None:
    with HostileServer(chunked(CONTENT, whole=False), chunked(CONTENT)) as host:
        size = measure(lambda: host.url, max_bytes=len(CONTENT), sleep=lambda seconds: None)
    assert (size, host.count) == (len(CONTENT), 2)


def test_endless_source_stops_before_the_disk_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type(shutil.disk_usage("/"))
    free = itertools.count(40 << 20, -(4 << 20))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(200 << 20, 0, next(free)))
    monkeypatch.setattr(url_sources, "SPACE_CHECK_INTERVAL", 4 << 20)
    with HostileServer(endless()) as host, pytest.raises(MosaicValidationError, match="no room"):
        url_source(host.url)


def test_endless_download_to_object_storage_fails(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "_MAX_UNKNOWN_SIZE", 3 << 20)
    with HostileServer(endless()) as host, pytest.raises(MosaicResponseError, match=r"more than 3\.0 MB without"):
        fetch(lambda: host.url, storage_destination(memory / "x.mp4"), retries=ONCE)
    assert host.count == 1
    assert memory.fs.find(memory.path) == []


def test_impossible_size_fails_before_the_transfer(memory: Any) -> None:
    with (
        HostileServer(endless(length=10**17)) as host,
        pytest.raises(MosaicResponseError, match="more than any output has"),
    ):
        fetch(lambda: host.url, storage_destination(memory / "x.mp4"), retries=ONCE)
    assert memory.fs.find(memory.path) == []


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "1e9", "-1", "٣"])
def test_invalid_length_raises_our_error(length: str, tmp_path: Path) -> None:
    for reply in (
        raw(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nx".encode()),
        raw(f"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-0/{length}\r\nContent-Length: {length}\r\n\r\nx".encode()),
    ):
        for transfer in (download, only_measure, read_source):
            with HostileServer(reply) as host, pytest.raises(MosaicError):
                transfer(host.url, tmp_path)


def test_measure_stops_at_max_bytes() -> None:
    with HostileServer(endless()) as host:
        assert measure(lambda: host.url, max_bytes=5_000_000) is None
    assert host.count == 1
    with HostileServer(chunked(CONTENT)) as host:
        assert measure(lambda: host.url, max_bytes=len(CONTENT)) == len(CONTENT)
        assert measure(lambda: host.url, max_bytes=len(CONTENT) - 1) is None


def test_endless_range_response_is_cut_off(tmp_path: Path) -> None:
    def rest(connection: socket.socket) -> bool:
        connection.sendall(b'HTTP/1.1 206 P\r\nETag: "v"\r\nContent-Range: bytes 1000-299999/300000\r\n' + HEAD[17:])
        while True:
            connection.sendall(b"100000\r\n" + MEBIBYTE + b"\r\n")

    path = tmp_path / "x.mp4"
    with HostileServer(file(CONTENT, keep=1000, ETag='"v"'), rest, file(CONTENT)) as host:
        fetch(lambda: host.url, local_destination(path), sleep=lambda seconds: None)
    assert path.read_bytes() == CONTENT


def test_upload_fails_if_the_host_only_sends_continue(tmp_path: Path) -> None:
    with HostileServer(answer(100)) as host, pytest.raises(MosaicTransportError):
        upload(host.url, tmp_path)
