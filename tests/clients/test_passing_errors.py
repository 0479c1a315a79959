"""Transient errors of storages are left to the retries. Permanent errors fail at once."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.clients.destinations import (
    Destination,
    PartialFile,
    local_destination,
    storage_destination,
)
from airflow_provider_mosaic.clients.sources import local_source, storage_source
from airflow_provider_mosaic.clients.storage_errors import is_missing, is_transient
from airflow_provider_mosaic.hooks.paths import DownloadDirectory, get_source, read_text

from .servers import HostileServer, answer
from .test_renaming_storage import FakePath

pytestmark = pytest.mark.usefixtures("plain_environment")


class HttpError(Exception):
    """An error of gcsfs."""

    def __init__(self, code: Any) -> None:
        super().__init__(f"it went wrong, {code}")
        self.code = code


class ClientError(Exception):
    """An error of botocore."""

    def __init__(self, status: int) -> None:
        super().__init__("An error occurred")
        self.response = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}


class HttpResponseError(Exception):
    """An error of azure-core."""

    def __init__(self, status: int) -> None:
        super().__init__("Operation returned an invalid status")
        self.status_code = status


class SFTPConnectionLost(Exception):
    """An error of asyncssh."""


class SMBOSError(OSError):
    """An error of smbprotocol: its own class, with an errno."""


TRANSIENT: list[Exception] = [
    *(
        OSError(number, os.strerror(number))
        for number in (
            errno.ESTALE, errno.ETIMEDOUT, errno.EIO, errno.EBUSY, errno.ECONNREFUSED, errno.ECONNRESET,
            errno.EHOSTUNREACH, errno.EAGAIN, errno.EMFILE, errno.EREMOTEIO,
        )
    ),
    OSError("Socket is closed"),
    EOFError(),
    TimeoutError(),
    HttpError(503),
    HttpError("429"),
    ClientError(503),
    HttpResponseError(500),
    HttpResponseError(408),
    SFTPConnectionLost("Connection lost"),
    RuntimeError("the loop is closed"),
]  # fmt: skip
PERMANENT: list[Exception] = [
    FileNotFoundError(errno.ENOENT, "no"),
    PermissionError("Forbidden"),
    OSError(errno.ENAMETOOLONG, "too long"),
    OSError(errno.ELOOP, "links"),
    OSError(errno.EINVAL, "invalid"),
    SMBOSError(errno.ENOENT, "no"),
    HttpError(403),
    HttpError(404),
    ClientError(400),
    HttpResponseError(401),
    ValueError("embedded null byte"),
    UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
]
names = lambda error: f"{type(error).__name__}-{error}"  # noqa: E731


class Failing(AbstractFileSystem):
    """A storage that raises the same error for every operation."""

    cachable = False
    error: Exception

    def _fails(self, *args: Any, **options: Any) -> Any:
        raise self.error

    info = _open = open = mv = rm_file = makedirs = _fails


def storage_failing_with(error: Exception) -> FakePath:
    storage = Failing()
    storage.error = error
    return FakePath(storage, "/somewhere/cut.mp4")


def opened(destination: Destination) -> PartialFile:
    with destination.errors(started=False):
        return destination.open(5)


@pytest.mark.parametrize("error", TRANSIENT, ids=names)
def test_transient_storage_errors(error: Exception, tmp_path: Path) -> None:
    assert is_transient(error)
    path = storage_failing_with(error)
    path.path = str(tmp_path / "cut.mp4")
    for action in (lambda: storage_source(path), lambda: opened(storage_destination(path))):
        with pytest.raises(MosaicError, match="cut") as caught:
            action()
        assert caught.value.transient
        assert not caught.value.effect_unknown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", PERMANENT, ids=names)
def test_permanent_storage_errors(error: Exception, tmp_path: Path) -> None:
    assert not is_transient(error)
    path = storage_failing_with(error)
    path.path = str(tmp_path / "cut.mp4")
    for action in (lambda: storage_source(path), lambda: opened(storage_destination(path))):
        with pytest.raises(MosaicError) as caught:
            action()
        assert not caught.value.transient
    missing = getattr(error, "errno", None) == errno.ENOENT or getattr(error, "code", None) == 404
    assert is_missing(error) is missing


FIRST_READS: dict[str, Callable[[Path], Any]] = {
    "source": lambda path: local_source(path),
    "target": lambda path: opened(local_destination(path)),
    "folder": lambda path: DownloadDirectory(str(path.parent)).size_of(path.name),
    "definition": lambda path: read_text("definition", str(path), directory="."),
}


@pytest.mark.parametrize("action", FIRST_READS)
@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.EIO])
def test_disk_errors_are_transient(action: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "cut.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a film")

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def fail(each: Path, *args: Any, **options: Any) -> Any:
            if tmp_path in each.parents:
                raise OSError(number, os.strerror(number))
            return real(each, *args, **options)

        return fail

    for name in ("stat", "open", "mkdir"):
        monkeypatch.setattr(Path, name, failing(getattr(Path, name)))
    with pytest.raises(MosaicTransportError, match="cut") as caught:
        FIRST_READS[action](path)
    assert caught.value.transient


BUSY = answer(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")


@pytest.mark.parametrize("refused", [False, True], ids=["SlowDown", "connection refused"])
def test_busy_bucket_is_transient(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes seconds, since s3fs has its own retries."""
    from airflow.sdk import ObjectStoragePath

    with HostileServer(BUSY) as server:
        connection = {
            "conn_type": "aws",
            "login": "k",
            "password": "s",
            "extra": {
                "endpoint_url": "http://127.0.0.1:9" if refused else server.url,
                "region_name": "us-east-1",
                "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
            },
        }
        name = f"busy_{int(refused)}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        uri = f"s3://{name}@bucket/cut.mp4"
        with pytest.raises(MosaicTransportError, match=f"s3://{name}@bucket") as caught:
            get_source(uri, Access(api_key="mk_x"))
        assert caught.value.transient
        folder = DownloadDirectory(ObjectStoragePath(f"s3://{name}@bucket"))
        with pytest.raises(MosaicTransportError, match=f"s3://{name}@bucket") as caught:
            folder.size_of("cut.mp4")
        assert caught.value.transient


def test_unreachable_storage_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import io

    def refuses(*args: Any, **options: Any) -> Any:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(io.store, "get_fs", refuses, raising=False)
    monkeypatch.setattr(io, "get_fs", refuses)
    with pytest.raises(MosaicTransportError, match=r"source='s3://some_conn@bucket/cut\.mp4'") as caught:
        get_source("s3://some_conn@bucket/cut.mp4", Access(api_key="mk_x"))
    assert caught.value.transient


def test_full_temporary_directory_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from .on_loopback import url_source
    from .storage_endpoints import chunked

    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with HostileServer(chunked(b"content")) as host, pytest.raises(MosaicValidationError, match="TMPDIR") as caught:
        url_source(f"{host.url}/cut.mp4")
    assert caught.value.transient
