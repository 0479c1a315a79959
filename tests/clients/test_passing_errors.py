"""Errors of storages that may pass are left to the retries, at the first look as later; the others fail at once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.clients.destinations import local_target, storage_target
from airflow_provider_mosaic.clients.sources import local_source, storage_source
from airflow_provider_mosaic.clients.storage_errors import is_missing, may_pass
from airflow_provider_mosaic.hooks.paths import DownloadDirectory, get_source, read_text

from .servers import HostileServer, answer
from .test_renaming_storage import FakePath

pytestmark = pytest.mark.usefixtures("plain_environment")


class HttpError(Exception):
    """As gcsfs raises it."""

    def __init__(self, code: Any) -> None:
        super().__init__(f"it went wrong, {code}")
        self.code = code


class ClientError(Exception):
    """As botocore raises it."""

    def __init__(self, status: int) -> None:
        super().__init__("An error occurred")
        self.response = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}


class HttpResponseError(Exception):
    """As azure-core raises it."""

    def __init__(self, status: int) -> None:
        super().__init__("Operation returned an invalid status")
        self.status_code = status


class SFTPConnectionLost(Exception):
    """As asyncssh raises it."""


class SMBOSError(OSError):
    """As smbprotocol raises it: with a number, but of a class of its own."""


PASSING: list[Exception] = [
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
    """A storage that fails with one error, whatever it is asked."""

    cachable = False
    error: Exception

    def _fails(self, *args: Any, **options: Any) -> Any:
        raise self.error

    info = _open = open = mv = rm_file = makedirs = _fails


def storage_failing_with(error: Exception) -> FakePath:
    storage = Failing()
    storage.error = error
    return FakePath(storage, "/somewhere/cut.mp4")


@pytest.mark.parametrize("error", PASSING, ids=names)
def test_what_may_pass_is_left_to_the_retries(error: Exception, tmp_path: Path) -> None:
    assert may_pass(error)
    path = storage_failing_with(error)
    path.path = str(tmp_path / "cut.mp4")
    for act in (lambda: storage_source(path), lambda: storage_target(path).open_part(5)):
        with pytest.raises(MosaicError, match="cut") as caught:
            act()
        assert caught.value.transient
        assert not caught.value.effect_unknown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", PERMANENT, ids=names)
def test_what_comes_again_fails_at_once(error: Exception, tmp_path: Path) -> None:
    assert not may_pass(error)
    path = storage_failing_with(error)
    path.path = str(tmp_path / "cut.mp4")
    for act in (lambda: storage_source(path), lambda: storage_target(path).open_part(5)):
        with pytest.raises(MosaicError) as caught:
            act()
        assert not caught.value.transient
    missing = getattr(error, "errno", None) == errno.ENOENT or getattr(error, "code", None) == 404
    assert is_missing(error) is missing


FIRST_LOOKS: dict[str, Callable[[Path], Any]] = {
    "source": lambda path: local_source(path),
    "target": lambda path: local_target(path).open_part(5),
    "folder": lambda path: DownloadDirectory(str(path.parent)).size_of(path.name),
    "definition": lambda path: read_text("definition", str(path), directory="."),
}


@pytest.mark.parametrize("act", FIRST_LOOKS)
@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.EIO])
def test_a_disk_that_fails_at_the_first_look_may_be_tried_again(
    act: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "cut.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a film")

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(each: Path, *args: Any, **options: Any) -> Any:
            if tmp_path in each.parents:
                raise OSError(number, os.strerror(number))
            return real(each, *args, **options)

        return act

    for name in ("stat", "open", "mkdir"):
        monkeypatch.setattr(Path, name, failing(getattr(Path, name)))
    with pytest.raises(MosaicTransportError, match="cut") as caught:
        FIRST_LOOKS[act](path)
    assert caught.value.transient


BUSY = answer(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")


@pytest.mark.parametrize("refused", [False, True], ids=["SlowDown", "connection refused"])
def test_a_bucket_that_is_busy_may_be_tried_again(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds: s3fs has tries of its own."""
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


def test_a_storage_that_can_not_be_opened_just_now_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import io

    def refuses(*args: Any, **options: Any) -> Any:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(io.store, "get_fs", refuses, raising=False)
    monkeypatch.setattr(io, "get_fs", refuses)
    with pytest.raises(MosaicTransportError, match=r"source='s3://some_conn@bucket/cut\.mp4'") as caught:
        get_source("s3://some_conn@bucket/cut.mp4", Access(api_key="mk_x"))
    assert caught.value.transient


def test_a_disk_without_room_for_a_file_of_unknown_length_may_have_some_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_mosaic.clients import spool

    from .on_loopback import url_source
    from .storage_endpoints import chunked

    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool.tempfile, "mkstemp", full)
    with HostileServer(chunked(b"content")) as host, pytest.raises(MosaicValidationError, match="TMPDIR") as caught:
        url_source(f"{host.url}/cut.mp4")
    assert caught.value.transient
