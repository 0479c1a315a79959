"""Storages with renames: the old file stays complete until the new one has its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients import destinations
from airflow_provider_mosaic.clients.destinations import PartialFile, storage_destination

from .on_loopback import fetch
from .servers import HostileServer
from .storage_endpoints import file

pytestmark = pytest.mark.usefixtures("plain_environment")

CONTENT = os.urandom(100_000)


class Folder(AbstractFileSystem):
    """A storage over a local directory; subclasses restrict it."""

    cachable = False
    protocol = "folder"

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        return Path(path).open(mode)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {"name": path, "size": Path(path).stat().st_size, "type": "file"}

    def rm_file(self, path: str) -> None:
        Path(path).unlink()

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        Path(path1).replace(path2)


class Unsupported(Folder):
    """SFTP without OpenSSH's extension: rename fails if the new name exists."""

    class Ftp:
        def posix_rename(self, old: str, new: str) -> None:
            raise OSError("Operation unsupported")

        def rename(self, old: str, new: str) -> None:
            if Path(new).exists():
                raise OSError("Failure")
            Path(old).rename(new)

    ftp = Ftp()

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.ftp.posix_rename(path1, path2)


class ToFreeNames(Folder):
    """SMB, HDFS: rename fails if the new name exists."""

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        if Path(path2).exists():
            raise FileExistsError(path2)
        Path(path1).rename(path2)


class Copying(Folder):
    """fsspec's own move: copy and delete."""

    mv = AbstractFileSystem.mv

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        shutil.copyfile(path1, path2)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        Path(path).unlink()


class Shell:
    """An SFTP channel of asyncssh."""

    async def posix_rename(self, old: str, new: str) -> None:
        raise OSError("Operation unsupported")

    async def rename(self, old: str, new: str) -> None:
        if Path(new).exists():
            raise OSError("Failure")
        Path(old).rename(new)


class Pool:
    @asynccontextmanager
    async def get(self) -> AsyncIterator[Shell]:
        yield Shell()


class OverSshfs(AsyncFileSystem, Folder):
    """
    Airflow's SFTP (sshfs) with a server that has no shell and not OpenSSH's extension: its move then fails, and
    deletes the file that it should have moved.
    """

    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool = Pool()

    info, rm_file, _open = Folder.info, Folder.rm_file, Folder._open

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        Path(path1).unlink()
        raise OSError("Channel request failed")


class InOneStep(Folder):
    """SFTP as OpenSSH serves it."""

    class Ftp:
        posix_rename = rename = staticmethod(os.replace)

    ftp = Ftp()


class FakePath:
    """The part of universal_pathlib that a destination uses."""

    protocol = "folder"

    def __init__(self, fs: Any, path: str | Path) -> None:
        self.fs, self.path = fs, str(path)
        if isinstance(fs, OverSshfs):
            self.protocol = "sftp"
        self.name = Path(path).name

    def __str__(self) -> str:
        return f"folder://{self.path}"

    @property
    def parent(self) -> FakePath:
        return FakePath(self.fs, Path(self.path).parent)

    def joinpath(self, name: str) -> FakePath:
        return FakePath(self.fs, Path(self.path) / name)

    def is_dir(self) -> bool:
        return Path(self.path).is_dir()

    def exists(self) -> bool:
        return Path(self.path).exists()

    def mkdir(self, **options: Any) -> None:
        Path(self.path).mkdir(**options)


KINDS = [Folder, Unsupported, OverSshfs, ToFreeNames, Copying, InOneStep]
each_kind = pytest.mark.parametrize("kind", KINDS)


def fetch_to(kind: Any, path: Path) -> HostileServer:
    with HostileServer(file(CONTENT)) as host:
        fetch(lambda: f"{host.url}/cut.mp4", storage_destination(FakePath(kind, path)), retries=ONCE)
    return host


@each_kind
@pytest.mark.parametrize("old", [None, b"old"])
def test_file_replaces_the_old_one(kind: Any, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "made" / "cut.mp4"
    if old is not None:
        path.parent.mkdir()
        path.write_bytes(old)
    fetch_to(kind(), path)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["cut.mp4"]


def test_undeleted_old_file_is_logged_on_one_line_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Undeletable(ToFreeNames):
        cachable = False

        def rm_file(self, path: str) -> None:
            if path.endswith(".old"):
                raise OSError("locked\x1b[31m\nforged ftp://someone:hush@host/cut.mp4?sig=hush")
            super().rm_file(path)

    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    fetch_to(Undeletable(), path)
    [line] = [record.getMessage() for record in caplog.records if "could not be deleted" in record.getMessage()]
    assert "hush" not in line
    assert line.isprintable()


class Killed(BaseException):
    """The exception of a task that is killed or times out."""


Failure = Callable[[], BaseException]


@pytest.mark.parametrize(
    ("kind", "failure"),
    # A kill reaches the task's thread, not fsspec's, which renames over sshfs.
    [(kind, OSError) for kind in KINDS] + [(kind, Killed) for kind in KINDS if kind is not OverSshfs],
)
@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("halfway", [False, True])
def test_failed_rename_keeps_the_old_file(
    kind: Any, failure: Failure, at: int, halfway: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = kind()
    renames = 0

    def failing(rename: Any) -> Any:
        def rename_or_fail(old: str, new: str, **options: Any) -> None:
            nonlocal renames
            renames += 1
            if renames == at:
                if halfway and kind is Copying:
                    Path(new).write_bytes(Path(old).read_bytes()[:1])
                raise failure()
            rename(old, new, **options)

        return rename_or_fail

    if kind is Copying:
        storage.cp_file = failing(storage.cp_file)
    elif kind is OverSshfs:

        async def over_channel(channel: Shell, old: str, new: str) -> None:
            failing(lambda old, new: Path(old).rename(new))(old, new)

        monkeypatch.setattr(Shell, "rename", over_channel)
    elif hasattr(storage, "ftp"):
        storage.ftp = SimpleNamespace(
            posix_rename=failing(storage.ftp.posix_rename), rename=failing(storage.ftp.rename)
        )
    else:
        storage.mv = failing(storage.mv)
    try:
        fetch_to(storage, path)
    except (MosaicError, Killed):
        assert path.read_bytes() == b"old"
    else:
        assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


def test_old_file_that_cannot_be_restored_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = ToFreeNames()
    rename, renames = storage.mv, []

    def failing(old: str, new: str, **options: Any) -> None:
        renames.append(new)
        # The first rename is the probe, the second moves the old file aside.
        if len(renames) > 2:
            raise OSError("the connection is gone")
        rename(old, new)

    storage.mv = failing  # type: ignore[method-assign]
    with pytest.raises(MosaicTransportError, match="The old file is beside it") as caught:
        fetch_to(storage, path)
    [kept] = tmp_path.iterdir()
    assert kept.read_bytes() == b"old"
    assert kept.name in str(caught.value)
    assert caught.value.transient


@pytest.mark.parametrize("error", [NotImplementedError(), OSError("Operation unsupported")])
def test_storage_without_renames_fails_before_the_transfer(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = Folder()

    def refused(old: str, new: str, **options: Any) -> None:
        raise error

    storage.mv = refused  # type: ignore[method-assign]
    taken = 0

    def counted(connection: Any) -> bool:
        nonlocal taken
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        while taken < 50_000_000:
            taken += connection.send(CONTENT)
        return False

    with HostileServer(counted) as host:
        with pytest.raises(MosaicValidationError, match=r"can't rename.*Nothing was downloaded") as caught:
            fetch(lambda: host.url, storage_destination(FakePath(storage, path)), retries=ONCE)
        assert taken < 50_000_000
    assert caught.value.transient is isinstance(error, OSError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("version", "refused"), [("2023.10.0", True), ("2024.7.0", True), ("2024.12.0", False)])
def test_old_adlfs_is_rejected_if_a_file_exists(
    version: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "version", lambda name: version)
    stream = SimpleNamespace(discard=lambda: None)
    path = FakePath(SimpleNamespace(open=lambda *args, **options: stream), tmp_path / "cut.mp4")
    path.protocol = "abfs"
    Path(path.path).write_bytes(b"old")
    target = storage_destination(path)
    if refused:
        with pytest.raises(MosaicValidationError, match=r"adlfs>=2024\.12"):
            target.open(5)
        Path(path.path).unlink()
    assert isinstance(target.open(5), PartialFile)


class ResponseLost(ToFreeNames):
    """A storage that renames the new file and loses the response."""

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        super().mv(path1, path2)
        if path2.endswith("cut.mp4"):
            raise OSError("the connection is gone")


@pytest.mark.parametrize("old", [None, b"old"])
def test_rename_with_a_lost_response_succeeds(old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    if old is not None:
        path.write_bytes(old)
    fetch_to(ResponseLost(), path)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("kind", [Folder, ToFreeNames, Copying, Unsupported])
def test_failed_stat_does_not_mean_a_missing_file(kind: Any, at: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = kind()
    info, calls = storage.info, 0

    def failing(where: str, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError("the server is busy")
        return info(where, **options)

    storage.info = failing
    try:
        fetch_to(storage, path)
    except MosaicError:
        assert path.read_bytes() == b"old"
    else:
        assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


class CopyingHalf(Copying):
    """A storage whose copies are incomplete without an error."""

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        content = Path(path1).read_bytes()
        Path(path2).write_bytes(content[: len(content) // 2])


def test_incomplete_copy_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MosaicError):
        fetch_to(CopyingHalf(), tmp_path / "cut.mp4")
    assert list(tmp_path.iterdir()) == []


def test_incomplete_copy_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    with pytest.raises(MosaicError):
        fetch_to(CopyingHalf(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


def test_glob_characters_in_names(tmp_path: Path) -> None:
    other = tmp_path / "cut1.mp4"
    other.write_bytes(b"another")
    for name in ("cut[1].mp4", "cut*.mp4", "cut?.mp4"):
        (tmp_path / name).write_bytes(b"old")
        fetch_to(Copying(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == CONTENT
        assert other.read_bytes() == b"another"


def test_storage_that_copies_instead_of_renaming_fails(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = Folder()
    storage.mv = lambda old, new, **options: shutil.copyfile(old, new)  # type: ignore[method-assign,assignment]
    with pytest.raises(MosaicValidationError, match="Nothing was downloaded"):
        fetch_to(storage, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


@pytest.mark.parametrize("error", [OSError, Killed])
def test_file_that_cannot_be_opened_leaves_nothing(error: Failure, tmp_path: Path) -> None:
    storage = ToFreeNames()
    opened: list[str] = []

    def open_once(path: str, mode: str) -> Any:
        opened.append(path)
        # The first one is opened to try a rename.
        if len(opened) > 1:
            raise error()
        return Path(path).open(mode)

    storage.open = open_once
    with pytest.raises((MosaicError, Killed)):
        fetch_to(storage, tmp_path / "cut.mp4")
    assert len(opened) == 2
    assert list(tmp_path.iterdir()) == []
