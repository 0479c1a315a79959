from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.destinations import Destination, PartialFile, local_destination

from .on_loopback import fetch, read_file_info
from .servers import HostileServer, Reply, answer, hang_up, reset, silence
from .storage_endpoints import chunked, file, raw

pytestmark = pytest.mark.usefixtures("plain_environment")

CONTENT = os.urandom(700_000)
TAG = '"v1"'


class Links:
    """Signed URLs of one server, each with a number."""

    def __init__(self, host: HostileServer) -> None:
        self.host = host
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        # As long as a real signature: a text that is cut must not contain a part of it.
        return f"{self.host.url}/cut.mp4?X-Goog-Signature={'cafe' * 200}{self.given}"


def fetch_from(host: HostileServer, path: Path, **options: Any) -> tuple[int, Links]:
    links = Links(host)
    options.setdefault("sleep", lambda seconds: None)
    return fetch(links, local_destination(path), **options), links


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Path]:
    """Return a path in a missing directory, and check that no partial file is left there."""
    path = tmp_path / "made" / "here" / "cut.mp4"
    yield path
    if path.parent.exists():
        assert {entry.name for entry in path.parent.iterdir()} <= {path.name}


def test_download_creates_missing_directories(landing: Path) -> None:
    with HostileServer(file(CONTENT)) as host:
        size, links = fetch_from(host, landing)
    assert size == len(CONTENT)
    assert landing.read_bytes() == CONTENT
    assert (host.count, links.given) == (1, 1)
    headers = host.seen[0].headers
    assert headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "range", "x-workspace-id"} & set(headers)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_expired_url_is_renewed(landing: Path, status: int) -> None:
    with HostileServer(answer(status, b"<Error><Code>ExpiredToken</Code></Error>"), file(CONTENT)) as host:
        _, links = fetch_from(host, landing)
    assert landing.read_bytes() == CONTENT
    assert links.given == 2
    assert host.seen[1].target.endswith("cafe2")


@pytest.mark.parametrize(
    ("status", "kind"), [(403, MosaicPermissionError), (404, MosaicNotFoundError), (410, MosaicNotFoundError)]
)
def test_download_fails_after_three_fresh_urls(landing: Path, status: int, kind: type[MosaicError]) -> None:
    refusal = answer(
        status, b"<Error><Code>AccessDenied</Code><Message>see ?Signature, https://x.test/?k=cafe</Message>"
    )
    with HostileServer(refusal) as host, pytest.raises(kind) as caught:
        fetch_from(host, landing)
    assert host.count == 4
    assert "AccessDenied" in str(caught.value)
    assert "cafe" not in str(caught.value)
    assert not landing.parent.exists()


@pytest.mark.parametrize("broken", [True, False])
def test_download_resumes_with_a_fresh_url(landing: Path, broken: bool) -> None:
    def resumed(connection: Any) -> bool:
        start = int(host.seen[-1].headers["range"].removeprefix("bytes=").removesuffix("-"))
        assert start > 0
        return file(CONTENT, start=start, ETag=TAG)(connection)

    script = [file(CONTENT, keep=600_000, broken=broken, ETag=TAG), answer(403), resumed]
    with HostileServer(*script) as host:
        size, links = fetch_from(host, landing)
    assert (size, landing.read_bytes()) == (len(CONTENT), CONTENT)
    assert links.given == 2
    assert host.seen[2].headers["if-range"] == TAG
    if not broken:
        assert host.seen[2].headers["range"] == "bytes=600000-"


def test_download_restarts_without_a_strong_validator(landing: Path) -> None:
    with HostileServer(file(CONTENT, keep=1000, ETag='W/"v1"'), file(CONTENT)) as host:
        fetch_from(host, landing)
    assert "range" not in host.seen[1].headers
    assert landing.read_bytes() == CONTENT


OTHER = os.urandom(500_000)
SAME_LENGTH = os.urandom(len(CONTENT))
MODIFIED = "Tue, 01 Sep 2026 17:00:00 GMT"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (file(CONTENT, keep=1000, ETag=TAG), [file(OTHER, ETag='"v2"')]),
        (file(CONTENT, keep=1000, ETag=TAG), [file(SAME_LENGTH, start=1000, ETag='"v2"'), file(OTHER)]),
        (file(CONTENT, keep=1000, Last_Modified=MODIFIED), [file(SAME_LENGTH, start=1000), file(OTHER)]),
        (file(CONTENT, keep=1000, ETag=TAG), [file(OTHER, start=1000, ETag=TAG), file(OTHER)]),
        (file(CONTENT, keep=1000, ETag=TAG), [file(OTHER, start=2000, ETag=TAG), file(OTHER)]),
        (file(CONTENT, keep=1000, ETag=TAG), [answer(416), file(OTHER)]),
        (
            file(CONTENT, keep=1000, ETag=TAG),
            [file(CONTENT, start=1000, ETag=TAG, Content_Range="rubbish"), file(OTHER)],
        ),
    ],
    ids=["200-in-place-of-206", "other-tag", "no-date", "other-length", "other-part", "416", "no-range"],
)
def test_versions_of_a_file_are_never_mixed(landing: Path, first: Reply, then: list[Reply]) -> None:
    with HostileServer(first, *then) as host:
        size, _ = fetch_from(host, landing)
    assert (size, landing.read_bytes()) == (len(OTHER), OTHER)
    assert host.seen[1].headers["range"] == "bytes=1000-"


@pytest.mark.parametrize("reply", [reset, hang_up, answer(503), answer(429), answer(500, b"<html>")])
def test_transient_errors_are_retried(landing: Path, reply: Reply) -> None:
    pauses: list[float] = []
    with HostileServer(reply, reply, file(CONTENT)) as host:
        fetch_from(host, landing, sleep=pauses.append, retries=RetryPolicy(first_pause=1.0))
    assert landing.read_bytes() == CONTENT
    assert len(pauses) == 2
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_retry_after_is_honoured(landing: Path) -> None:
    pauses: list[float] = []
    with HostileServer(answer(503, Retry_After="9"), file(CONTENT)) as host:
        fetch_from(host, landing, sleep=pauses.append)
    assert 9.0 <= pauses[0] <= 10.0


def test_retry_after_beyond_the_budget_fails(landing: Path) -> None:
    pauses: list[float] = []
    with HostileServer(answer(503, Retry_After="2592000"), file(CONTENT)) as host:
        with pytest.raises(MosaicServerError):
            fetch_from(host, landing, sleep=pauses.append)
        assert (host.count, pauses) == (1, [])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (file(CONTENT, keep=1000), MosaicTransportError),
        (file(CONTENT, keep=1000, broken=True), MosaicTransportError),
        (chunked(CONTENT, whole=False), MosaicTransportError),
        (answer(503), MosaicServerError),
        (silence, MosaicTransportError),
    ],
)
def test_incomplete_download_leaves_nothing(landing: Path, reply: Reply, kind: type[MosaicError]) -> None:
    with HostileServer(reply) as host, pytest.raises(kind) as caught:
        fetch_from(host, landing, timeout=0.2 if reply is silence else 20, retries=RetryPolicy(attempts=3))
    assert caught.value.transient
    assert "cafe" not in str(caught.value)
    assert not landing.exists()
    assert host.count in (3, 4)


def resumed(start: int, end: int, *, size: int | None = len(CONTENT), keep: int | None = None) -> Reply:
    """Send a range of the file, which ends before the byte ``end``."""
    content_range = f"bytes {start}-{end - 1}/{'*' if size is None else size}"
    return file(CONTENT[:end], start=start, keep=keep, ETag=TAG, Content_Range=content_range)


#: The first block of a file, in a response without a length. Then the connection ends.
BLOCK = 32 * 1024
CHUNKED_BLOCK = raw(
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "v1"\r\n\r\n%x\r\n%s\r\n' % (BLOCK, CONTENT[:BLOCK])
)


@pytest.mark.parametrize(
    "then",
    [
        [resumed(BLOCK, len(CONTENT))],
        [resumed(BLOCK, BLOCK + 1000), resumed(BLOCK + 1000, len(CONTENT))],
        [resumed(BLOCK, len(CONTENT), keep=1000), resumed(BLOCK + 1000, len(CONTENT))],
        [resumed(BLOCK, BLOCK + 1000, size=None), chunked(CONTENT)],
    ],
    ids=["the rest", "a part of the rest", "an incomplete body", "an unknown size"],
)
def test_file_without_a_size_is_complete_after_it_resumes(landing: Path, then: list[Reply]) -> None:
    with HostileServer(CHUNKED_BLOCK, *then) as host:
        size, _ = fetch_from(host, landing)
    assert (size, landing.read_bytes()) == (len(CONTENT), CONTENT)
    assert host.count == 1 + len(then)
    assert host.seen[1].headers["range"] == f"bytes={BLOCK}-"


def test_impossible_size_of_a_resumed_file_fails(landing: Path) -> None:
    with (
        HostileServer(CHUNKED_BLOCK, resumed(BLOCK, len(CONTENT), size=10**17)) as host,
        pytest.raises(MosaicResponseError, match="without a length"),
    ):
        fetch_from(host, landing)
    assert not landing.exists()


def test_new_bytes_reset_the_retries(landing: Path) -> None:
    content = CONTENT[:1200]

    def hundred_bytes(connection: Any) -> bool:
        start = int(host.seen[-1].headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return file(content, start=start, keep=100, ETag=TAG)(connection)

    with HostileServer(hundred_bytes) as host:
        fetch_from(host, landing, retries=RetryPolicy(attempts=2))
    assert landing.read_bytes() == content
    assert host.count == 12


def test_chunked_file_is_saved(landing: Path) -> None:
    with HostileServer(chunked(CONTENT)) as host:
        size, _ = fetch_from(host, landing)
    assert (size, landing.read_bytes()) == (len(CONTENT), CONTENT)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"Chunked", b"4\r\nclip\r\n0\r\n\r\n"),
        (b"chunked ", b"4\r\nclip\r\n0\r\n\r\n"),
        (b"identity , chunked\t", b"4\r\nclip\r\n0\r\n\r\n"),
        (b"identity\r\nTransfer-Encoding: chunked", b"4\r\nclip\r\n0\r\n\r\n"),
        (b"chunked \r\nContent-Length: 9", b"4\r\nclip\r\n0\r\n\r\n"),
        (b"identity\r\nContent-Length: 4", b"clip"),
        (b"identity \r\nContent-Length: 4", b"clip"),
    ],
)
def test_plain_transfer_encodings_are_saved(landing: Path, encoding: bytes, body: bytes) -> None:
    def reply(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n%s" % (encoding, body))
        return True

    with HostileServer(reply) as host:
        fetch_from(host, landing, timeout=20)
    assert landing.read_bytes() == b"clip"


ENCODED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "pattern"),
    [
        (raw(b"HTTP/1.0 200 OK\r\n\r\nwhere does it end"), "without its length"),
        (answer(200, b"<html>log in</html>", Content_Type="text/html"), "HTML page"),
        (answer(200, b"\x1f\x8b", Content_Encoding="gzip"), "compressed"),
        (answer(200, b"\x1f\x8b", Transfer_Encoding="gzip"), "transfer encoding"),
        (raw(ENCODED % b"gzip, chunked"), "transfer encoding"),
        (raw(ENCODED % b"gzip\r\nTransfer-Encoding: chunked"), "transfer encoding"),
        (raw(ENCODED % b"chunked, chunked"), "transfer encoding"),
        (answer(200, b""), "empty"),
        (chunked(b""), "empty"),
        (answer(302, Location="ftp://elsewhere.test/"), "not an HTTP URL"),
    ],
)
def test_responses_that_are_not_files_fail_at_once(landing: Path, reply: Reply, pattern: str) -> None:
    with HostileServer(reply) as host, pytest.raises(MosaicResponseError, match=pattern) as caught:
        fetch_from(host, landing)
    assert host.count == 1
    assert not caught.value.transient
    assert not landing.exists()


def test_redirect_to_another_host_sends_no_credentials(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileServer(file(CONTENT)) as there:
        there_url = there.url.replace("127.0.0.1", "localhost")
        with HostileServer(answer(302, Location=f"{there_url}/x?y=1", Set_Cookie="a=b")) as here:
            fetch_from(here, landing)
    assert landing.read_bytes() == CONTENT
    assert there.seen[0].target == "/x?y=1"
    for request in (*here.seen, *there.seen):
        assert not {"authorization", "cookie", "referer"} & set(request.headers)


def test_old_file_stays_until_the_new_one_is_complete(landing: Path) -> None:
    landing.parent.mkdir(parents=True)
    landing.write_bytes(b"old")
    with HostileServer(file(CONTENT, keep=1000)) as host, pytest.raises(MosaicTransportError):
        fetch_from(host, landing, retries=RetryPolicy(attempts=2))
    assert landing.read_bytes() == b"old"
    with HostileServer(file(CONTENT)) as host:
        fetch_from(host, landing)
    assert landing.read_bytes() == CONTENT


class FullDisk(Destination):
    """A local file on a full disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(name=path.name, shown=str(path))
        self.part: PartialFile | None = None
        self._inner = local_destination(path)

    def open(self, size: int | None) -> PartialFile:
        part = self._inner.open(size)
        # A Linux device that is always full.
        part._stream.close()  # type: ignore[attr-defined]
        part._stream = Path("/dev/full").open("wb", buffering=0)  # type: ignore[attr-defined]  # noqa: SIM115
        return part


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_names_the_destination_and_leaves_nothing(landing: Path) -> None:
    with HostileServer(file(CONTENT)) as host, pytest.raises(MosaicValidationError, match="no room") as caught:
        fetch(Links(host), FullDisk(landing), sleep=lambda seconds: None)
    assert host.count == 1
    assert f"destination={str(landing)!r}" in str(caught.value)
    assert os.strerror(errno.ENOSPC) in str(caught.value)


def test_unwritable_destination_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    for path in (tmp_path, tmp_path / "plain" / "cut.mp4", tmp_path / ("x" * 300) / "cut.mp4"):
        with HostileServer(file(CONTENT)) as host, pytest.raises(MosaicValidationError, match="destination=") as caught:
            fetch_from(host, path)
        assert not caught.value.transient
    assert {entry.name for entry in tmp_path.iterdir()} == {"plain"}


def test_kill_during_download_leaves_nothing(landing: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(seconds: float) -> None:
        raise Killed

    with HostileServer(file(CONTENT, keep=1000)) as host, pytest.raises(Killed):
        fetch_from(host, landing, sleep=kill)
    assert list(landing.parent.iterdir()) == []


def test_download_fails_without_a_url(landing: Path) -> None:
    def gone() -> str:
        raise MosaicNotFoundError("the run is gone")

    with pytest.raises(MosaicNotFoundError, match="the run is gone"):
        fetch(gone, local_destination(landing))


def test_end_of_the_download_is_logged(landing: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with HostileServer(file(CONTENT)) as host:
        fetch_from(host, landing)
    assert [message.partition(" in ")[0] for message in caplog.messages] == ["cut.mp4: 684 KB"]


@pytest.mark.parametrize(
    ("reply", "size"),
    [
        (file(CONTENT), len(CONTENT)),
        (raw(b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-0/700000\r\nContent-Length: 1\r\n\r\nx"), 700_000),
        (raw(b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-0/*\r\nContent-Length: 1\r\n\r\nx"), None),
        (answer(416), 0),
        (chunked(CONTENT), None),
    ],
)
def test_size_is_read_without_fetching(reply: Reply, size: int | None) -> None:
    with HostileServer(answer(403), reply) as host:
        links = Links(host)
        assert read_file_info(links).size == size
    assert links.given == 2
    assert host.seen[1].method == "GET"


def test_file_info_has_media_type_and_name() -> None:
    headers = {"Content_Type": "Video/MP4; x=y", "Content_Disposition": "attachment; filename*=UTF-8''Z%C3%BCrich.mp4"}
    with HostileServer(file(CONTENT, **headers)) as host:
        info = read_file_info(Links(host))
    assert (info.media_type, info.file_name, info.size) == ("video/mp4", "Zürich.mp4", len(CONTENT))


IN_A_CHILD = """
import sys
from pathlib import Path
from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.clients.destinations import local_destination
from airflow_provider_mosaic.clients.download import fetch

def status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
fetch(lambda: sys.argv[1], local_destination(sys.argv[2]), policy=LinkPolicy(loopback=True))
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its peak memory")
def test_large_download_uses_little_memory(tmp_path: Path) -> None:
    size = 256 * 1024 * 1024
    block = bytes(1024 * 1024)

    def large(connection: Any) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            connection.sendall(block)
        return False

    path = tmp_path / "large.mp4"
    with HostileServer(large) as host:
        child = subprocess.run(
            [sys.executable, "-c", IN_A_CHILD, host.url, str(path)], capture_output=True, text=True, check=False
        )
    assert child.returncode == 0, child.stderr
    assert path.stat().st_size == size
    assert int(child.stdout) <= 8 * 1024


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n<!DOCTYPE html><title>Busy</title>", "HTML page"),
        (b"<HTML><body>Busy", "HTML page"),
        (b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>", "text of an error"),
        (b"<Error><Code>SlowDown</Code></Error>", "text of an error"),
        (b'{"error": "expired"}', "text of an error"),
        (b'{ "detail": "hush" }', "text of an error"),
    ],
)
@pytest.mark.parametrize("media_type", ["video/mp4", "application/octet-stream"])
def test_error_with_the_headers_of_a_file_is_not_saved(
    landing: Path, content: bytes, reason: str, media_type: str
) -> None:
    with (
        HostileServer(answer(200, content, Content_Type=media_type)) as host,
        pytest.raises(MosaicResponseError, match=reason) as failure,
    ):
        fetch_from(host, landing)
    assert not landing.exists()
    assert "Nothing was saved" in str(failure.value)
    assert "hush" not in str(failure.value)


@pytest.mark.parametrize(
    "content", [b"a film", b"<?xml version='1.0'?><svg/>", b"<svg/>", b'{"v": "5.7", "layers": []}']
)
def test_text_that_is_no_error_is_saved(landing: Path, content: bytes) -> None:
    with HostileServer(answer(200, content, Content_Type="image/svg+xml")) as host:
        fetch_from(host, landing)
    assert landing.read_bytes() == content
