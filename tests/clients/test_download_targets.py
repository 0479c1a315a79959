from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.destinations import local_destination, storage_destination

from .buckets import (  # noqa: F401 - fixtures
    BUCKET,
    CONNECTION,
    FrontOfS3,
    bucket_behind_front,
    bucket_in_s3,
    client_of_s3,
    connected_front,
    folder_in_memory,
    running_s3_server,
    server_in_front_of_s3,
)
from .on_loopback import fetch
from .servers import HostileServer
from .storage_endpoints import file

pytestmark = pytest.mark.usefixtures("plain_environment")

# More than two parts of a multipart upload, and not a multiple of them.
CONTENT = os.urandom(13_000_001)


@pytest.fixture(params=["memory", "s3", "file"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a directory in each storage."""
    from airflow.sdk import ObjectStoragePath

    if request.param == "file":
        return ObjectStoragePath(f"file://{tmp_path}")
    return request.getfixturevalue(request.param)


def names_in(folder: Any) -> set[str]:
    folder.fs.invalidate_cache()
    return {path.rpartition("/")[2] for path in folder.fs.find(folder.path)}


@pytest.mark.parametrize("content", [CONTENT, b"small"], ids=["large", "small"])
def test_download_saves_only_the_file(folder: Any, content: bytes) -> None:
    path = folder / "run" / "cut.mp4"
    with HostileServer(file(content)) as host:
        assert fetch(lambda: f"{host.url}/cut.mp4", storage_destination(path)) == len(content)
    assert path.fs.cat_file(path.path) == content
    assert names_in(folder) == {"cut.mp4"}


def test_download_resumes_in_each_storage(folder: Any) -> None:
    path = folder / "cut.mp4"
    tag = '"v1"'
    script = [file(CONTENT, keep=9_000_000, ETag=tag), file(CONTENT, start=9_000_000, ETag=tag)]
    with HostileServer(*script) as host:
        fetch(lambda: f"{host.url}/cut.mp4", storage_destination(path), sleep=lambda seconds: None)
    assert path.fs.cat_file(path.path) == CONTENT
    assert host.seen[1].headers["range"] == "bytes=9000000-"


def test_restarted_download_replaces_the_first_bytes(folder: Any) -> None:
    path = folder / "cut.mp4"
    with HostileServer(file(CONTENT, keep=9_000_000), file(CONTENT[::-1])) as host:
        fetch(lambda: f"{host.url}/cut.mp4", storage_destination(path), sleep=lambda seconds: None)
    assert path.fs.cat_file(path.path) == CONTENT[::-1]
    assert names_in(folder) == {"cut.mp4"}


@pytest.mark.parametrize("keep", [9_000_000, 1000])
def test_failed_download_keeps_the_old_file(folder: Any, keep: int) -> None:
    old, new = folder / "old.mp4", folder / "new.mp4"
    old.fs.pipe_file(old.path, b"old")
    for path in (old, new):
        with HostileServer(file(CONTENT, keep=keep)) as host, pytest.raises(MosaicError):
            fetch(
                lambda url=host.url: url,  # type: ignore[misc]
                storage_destination(path),
                retries=RetryPolicy(attempts=2),
                sleep=lambda seconds: None,
            )
    assert names_in(folder) == {"old.mp4"}
    assert old.fs.cat_file(old.path) == b"old"


def test_failed_download_aborts_the_multipart_upload(s3: Any, s3_client: Any) -> None:
    with HostileServer(file(CONTENT, keep=9_000_000)) as host, pytest.raises(MosaicError):
        fetch(
            lambda: host.url,
            storage_destination(s3 / "cut.mp4"),
            retries=RetryPolicy(attempts=2),
            sleep=lambda seconds: None,
        )
    assert not s3_client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    assert names_in(s3) == set()


def test_missing_bucket_is_named(s3: Any) -> None:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath("s3://not-there/cut.mp4", conn_id=CONNECTION)
    for content in (CONTENT, b"small"):
        with HostileServer(file(content)) as host, pytest.raises(MosaicValidationError, match="destination=") as caught:
            fetch(lambda url=host.url: url, storage_destination(path))  # type: ignore[misc]
        assert "not-there" in str(caught.value)


@pytest.mark.parametrize("old", [None, CONTENT[::-1]], ids=["nothing before", "the same size before"])
def test_repeated_end_of_a_complete_upload_is_a_success(
    s3_behind_front: Any, s3: Any, front: FrontOfS3, old: bytes | None
) -> None:
    if old is not None:
        s3.fs.pipe_file(f"{BUCKET}/cut.mp4", old)
    front.loses_end = "done"
    with HostileServer(file(CONTENT)) as host:
        fetch(lambda: host.url, storage_destination(s3_behind_front / "cut.mp4"))
    assert front.ends == 2
    assert s3.fs.cat_file(f"{BUCKET}/cut.mp4") == CONTENT


@pytest.mark.parametrize("old", [None, b"old", CONTENT[::-1]], ids=["nothing before", "another size", "the same size"])
def test_upload_that_vanished_can_be_retried(
    s3_behind_front: Any, s3: Any, front: FrontOfS3, old: bytes | None
) -> None:
    if old is not None:
        s3.fs.pipe_file(f"{BUCKET}/cut.mp4", old)
    front.loses_end = "dropped"
    with HostileServer(file(CONTENT)) as host, pytest.raises(MosaicTransportError, match="no such upload") as caught:
        fetch(lambda: host.url, storage_destination(s3_behind_front / "cut.mp4"))
    assert caught.value.transient
    assert front.ends == 2


# Partial files on a disk

WRITING = """
import sys, time
from airflow_provider_mosaic.clients.destinations import local_destination, storage_destination

part = local_destination(sys.argv[1]).open(None)
part.write(b"a part")
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture
def start_writer(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts a process with a partial file."""
    children = []

    def start(name: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path / name)], stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def parts_in(folder: Path) -> set[Path]:
    return set(folder.glob(".mosaic-*.part"))


def made_old(parts: set[Path]) -> None:
    for part in parts:
        os.utime(part, (0, 0))


def test_partial_file_of_a_killed_download_is_deleted(
    tmp_path: Path, start_writer: Callable[[str], subprocess.Popen[str]]
) -> None:
    killed = start_writer("a.mp4")
    left = parts_in(tmp_path)
    start_writer("b.mp4")
    in_use = parts_in(tmp_path) - left
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    local_destination(tmp_path / "c.mp4").open(None).discard()
    # The file is young: its process might not have locked it yet.
    assert parts_in(tmp_path) == left | in_use
    made_old(left | in_use)
    other = tmp_path / ".mosaic-mine.part"
    other.write_bytes(b"a file of a user")
    made_old({other})
    local_destination(tmp_path / "c.mp4").open(None).discard()
    assert parts_in(tmp_path) == in_use | {other}


def test_partial_files_stay_without_locks(
    tmp_path: Path, start_writer: Callable[[str], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "no locks")

    start_writer("a.mp4").kill()
    left = parts_in(tmp_path)
    made_old(left)
    monkeypatch.setattr("fcntl.flock", unsupported)
    with HostileServer(file(CONTENT)) as host:
        fetch(lambda: host.url, local_destination(tmp_path / "c.mp4"))
    assert parts_in(tmp_path) == left
    assert (tmp_path / "c.mp4").read_bytes() == CONTENT


def test_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cut.mp4"
    synced = []

    def fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(("part" if name.suffix == ".part" else name.name, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with HostileServer(file(b"small")) as host:
        fetch(lambda: host.url, local_destination(path))
    assert synced == [("part", False), (tmp_path.name, True)]


@pytest.mark.parametrize(("number", "is_saved"), [(errno.EINVAL, True), (errno.ENOSPC, False)])
def test_error_of_the_disk_fails_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_saved: bool
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "cut.mp4"
    with HostileServer(file(b"small")) as host:
        if is_saved:
            fetch(lambda: host.url, local_destination(path))
        else:
            with pytest.raises(MosaicValidationError, match="there is no room"):
                fetch(lambda: host.url, local_destination(path))
    assert path.exists() == is_saved
    assert parts_in(tmp_path) == set()


IN_A_CHILD = """
import sys
from pathlib import Path
from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.clients.sources import read_blocks, storage_source
from airflow_provider_mosaic.clients.download import fetch
from airflow_provider_mosaic.clients.destinations import storage_destination
from upath import UPath

def status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])

kind, endpoint, uri, link = sys.argv[1:]
path = UPath(uri, key="testing", secret="testing", endpoint_url=endpoint)
# The first request loads modules of botocore, which are not a part of the transfer.
small = path.parent / "small.bin"
small.write_bytes(b"x")
source = storage_source(path) if kind == "read" else None
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
if kind == "read":
    assert sum(len(block) for block in read_blocks(source)) == source.size
else:
    fetch(lambda: link, storage_destination(path), policy=LinkPolicy(loopback=True))
print(status("VmHWM") - before)
"""


# Takes five seconds: 96 MiB pass through an S3 server in Python.
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its peak memory")
@pytest.mark.parametrize(("kind", "most"), [("read", 8), ("write", 24)])
def test_large_object_uses_little_memory(s3: Any, s3_client: Any, kind: str, most: int) -> None:
    size = 96 * 1024 * 1024
    path = s3 / "large.mp4"
    block = bytes(1024 * 1024)

    def large(connection: Any) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            connection.sendall(block)
        return False

    if kind == "read":
        path.fs.pipe_file(path.path, bytes(size))
    with HostileServer(large) as host:
        child = subprocess.run(
            [sys.executable, "-c", IN_A_CHILD, kind, s3_client.meta.endpoint_url, f"s3://{path.path}", host.url],
            capture_output=True,
            text=True,
            check=False,
        )
    assert child.returncode == 0, child.stderr
    assert path.fs.info(path.path, refresh=True)["size"] == size
    print(f"{kind}: {int(child.stdout) // 1024} MiB over idle")
    assert int(child.stdout) <= most * 1024
