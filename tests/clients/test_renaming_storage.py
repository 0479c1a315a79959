"""Storages that are written under another name first: the old file is somewhere whole until the new one is in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec import AbstractFileSystem

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients import targets
from airflow_provider_mosaic.clients.targets import storage_target

from .on_loopback import fetch
from .servers import HostileServer
from .storage_acts import file

pytestmark = pytest.mark.usefixtures("plain_environment")

CONTENT = os.urandom(100_000)


class Folder(AbstractFileSystem):
    """A storage over a local folder; what it can't do, a test takes from it."""

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
    """SFTP without OpenSSH's extension: fsspec asks for that alone; the plain rename takes only a free name."""

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
    """SMB, HDFS: a rename takes only a free name."""

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        if Path(path2).exists():
            raise FileExistsError(path2)
        Path(path1).rename(path2)


class Copying(Folder):
    """fsspec's own move: a copy, and a removal."""

    mv = AbstractFileSystem.mv

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        shutil.copyfile(path1, path2)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        Path(path).unlink()


class InOneStep(Folder):
    """SFTP as OpenSSH serves it."""

    class Ftp:
        posix_rename = rename = staticmethod(os.replace)

    ftp = Ftp()


class FakePath:
    """As much of a path of universal_pathlib as a target uses."""

    protocol = "folder"

    def __init__(self, fs: Any, path: str | Path) -> None:
        self.fs, self.path = fs, str(path)
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


KINDS = [Folder, Unsupported, ToFreeNames, Copying, InOneStep]
each_kind = pytest.mark.parametrize("kind", KINDS)


def fetch_to(kind: Any, path: Path) -> HostileServer:
    with HostileServer(file(CONTENT)) as host:
        fetch(lambda: f"{host.url}/cut.mp4", storage_target(FakePath(kind, path)), retries=ONCE)
    return host


@each_kind
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_takes_its_place_alone(kind: Any, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "made" / "cut.mp4"
    if old is not None:
        path.parent.mkdir()
        path.write_bytes(old)
    fetch_to(kind(), path)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["cut.mp4"]


class Killed(BaseException):
    """What a task's timeout or its end raises in the middle of something."""


Failure = Callable[[], BaseException]


@each_kind
@pytest.mark.parametrize("failure", [lambda: OSError("gone"), Killed], ids=["error", "kill"])
@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("halfway", [False, True])
def test_whichever_rename_fails_the_old_file_is_whole_and_keeps_its_name(
    kind: Any, failure: Failure, at: int, halfway: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = kind()
    renames = 0

    def failing(rename: Any) -> Any:
        def act(old: str, new: str, **options: Any) -> None:
            nonlocal renames
            renames += 1
            if renames == at:
                if halfway and kind is Copying:
                    Path(new).write_bytes(Path(old).read_bytes()[:1])
                raise failure()
            rename(old, new, **options)

        return act

    if kind is Copying:
        storage.cp_file = failing(storage.cp_file)
    else:
        storage.mv = failing(storage.mv)
    try:
        fetch_to(storage, path)
    except (MosaicError, Killed):
        assert path.read_bytes() == b"old"
    else:
        assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]


def test_an_old_file_that_can_not_get_its_name_back_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = ToFreeNames()
    rename, renames = storage.mv, []

    def failing(old: str, new: str, **options: Any) -> None:
        renames.append(new)
        # The first is the trial, the second moves the old file aside.
        if len(renames) > 2:
            raise OSError("the connection is gone")
        rename(old, new)

    storage.mv = failing  # type: ignore[method-assign]
    with pytest.raises(MosaicTransportError, match="The old one is beside it") as caught:
        fetch_to(storage, path)
    [kept] = tmp_path.iterdir()
    assert kept.read_bytes() == b"old"
    assert kept.name in str(caught.value)
    assert caught.value.transient


@pytest.mark.parametrize("error", [NotImplementedError(), OSError("Operation unsupported")])
def test_a_storage_that_can_not_rename_is_refused_before_the_transfer(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"old")
    storage = Folder()

    def refused(old: str, new: str, **options: Any) -> None:
        raise error

    storage.mv = refused  # type: ignore[method-assign]
    taken = 0

    def counted(line: Any) -> bool:
        nonlocal taken
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        while taken < 50_000_000:
            taken += line.send(CONTENT)
        return False

    with HostileServer(counted) as host:
        with pytest.raises(MosaicValidationError, match=r"can't rename.*Nothing was fetched") as caught:
            fetch(lambda: host.url, storage_target(FakePath(storage, path)), retries=ONCE)
        assert taken < 50_000_000
    assert caught.value.transient is isinstance(error, OSError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mp4"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("version", "refused"), [("2023.10.0", True), ("2024.7.0", True), ("2024.12.0", False)])
def test_an_adlfs_that_deletes_the_old_file_first_is_refused(
    version: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    stream = SimpleNamespace(discard=lambda: None)
    path = FakePath(SimpleNamespace(open=lambda *args, **options: stream), tmp_path / "cut.mp4")
    path.protocol = "abfs"
    Path(path.path).write_bytes(b"old")
    target = storage_target(path)
    if refused:
        with pytest.raises(MosaicValidationError, match=r"adlfs>=2024\.12"):
            target.begin(5)
        Path(path.path).unlink()
    assert isinstance(target.begin(5), targets.Part)
