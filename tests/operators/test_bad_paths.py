"""Files that can't be uploaded and destinations that can't be written: the error has the path and the reason."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients.servers import HostileServer
from clients.storage_endpoints import file
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import AGENT, effects, nothing_was_done, until
from tasks.task_runs import LATE

from airflow_provider_mosaic.api.errors import MosaicTransportError
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicUploadOperator


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: path.touch(), "it is empty"),
        (lambda path: path.with_suffix(".txt").write_text("words"), r"asset type is unknown for \.txt"),
        (lambda path: path.with_suffix("").write_text("words"), "a name without a suffix"),
    ],
    ids=["directory", "empty", "unsupported", "no suffix"],
)
def test_missing_source_file_is_rejected(
    mosaic: Emulator, tmp_path: Path, make: Callable[[Path], Any], pattern: str
) -> None:
    make(tmp_path / "film.mp4")
    [source] = tmp_path.iterdir()
    with pytest.raises(AirflowFailException, match=pattern) as failure:
        TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=str(source), **LATE)).execute()
    assert "source=" in str(failure.value)
    assert source.stem in str(failure.value)
    assert nothing_was_done(mosaic)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("film.mxf", "video"), ("film", "video"), ("film.mp3", "video"), ("photo.HEIC", "image"), ("caf\udce9", "audio")],
)
def test_asset_type_overrides_the_suffix(mosaic: Emulator, tmp_path: Path, name: str, kind: str) -> None:
    source = tmp_path / name
    source.write_bytes(b"some bytes")
    TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=str(source), asset_type=kind)).execute()
    [upload] = mosaic.uploads()
    assert (upload["type"], upload["finalized"], upload["size"]) == (kind, True, 10)


def test_file_over_the_limit_is_rejected_before_its_first_byte(mosaic: Emulator, tmp_path: Path) -> None:
    mosaic.configure(max_file_size=10)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"eleven byte")
    with pytest.raises(AirflowFailException, match=r"source=.*film\.mp4.*at most .*10 bytes"):
        TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=str(film))).execute()
    assert effects(mosaic) == {}
    assert "POST /mosaic-emulator-uploads/" not in mosaic.counts().requests


def test_unreachable_source_url_is_rejected(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException, match=r"nothing\.mp4.*404"):
        TaskRunner(
            lambda: MosaicUploadOperator(task_id="up", source=f"{mosaic.url}/nothing.mp4?sig=marked-secret")
        ).execute()
    assert effects(mosaic) == {}


def test_link_without_a_name_or_type_needs_asset_type(mosaic: Emulator, tmp_path: Path) -> None:
    act = file(b"some bytes", Content_Type="application/octet-stream")
    with HostileServer(act) as host:
        guessed, explicit = (
            TaskRunner(lambda kind=kind: MosaicUploadOperator(task_id="up", source=f"{host.url}/d", asset_type=kind))  # type: ignore[misc]
            for kind in (None, "video")
        )
        with pytest.raises(AirflowFailException, match="Set asset_type"):
            guessed.execute()
        explicit.execute()
    assert [upload["type"] for upload in mosaic.uploads()] == ["video"]


@pytest.mark.parametrize(
    ("destination", "filename", "pattern"),
    [
        ("file", "{output_id}{suffix}", "destination="),
        ("file/x", "{output_id}{suffix}", "destination="),
        ("x", "../{output_id}", "filename="),
        ("", "file/{output_id}", "destination="),
        ("a\0b", "{output_id}", "destination=.*NUL"),
        ("caf\udce9", "{output_id}", "destination=.*not UTF-8"),
        ("", "a\0{output_id}", "filename=.*NUL"),
        ("", "\ud83d{output_id}", "filename=.*UTF-8"),
        ("", "x" * 300 + "{output_id}", "destination="),
    ],
)
def test_unwritable_destination_is_named(
    mosaic: Emulator, hook: Any, tmp_path: Path, destination: str, filename: str, pattern: str
) -> None:
    run_id = hook.run_agent(AGENT)
    until(lambda: mosaic.runs()[0]["status"] == "completed")
    (tmp_path / "file").write_text("in the way")
    place = f"{tmp_path}/{destination}"
    fetch = TaskRunner(
        lambda: MosaicDownloadOutputsOperator(
            task_id="fetch", run_id=run_id, destination=place, filename=filename, **LATE
        )
    )
    with pytest.raises(AirflowFailException, match=pattern) as failure:
        fetch.execute()
    str(failure.value).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("source", "pattern"),
    [("file/film.mp4", "is a file"), ("a\0b.mp4", "NUL"), ("x" * 300 + ".mp4", "can't be read")],
)
def test_source_that_cannot_be_a_file_fails_without_retries(
    mosaic: Emulator, tmp_path: Path, source: str, pattern: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AirflowFailException, match=f"source=.*{pattern}"):
        TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=f"{tmp_path}/{source}", **LATE)).execute()
    assert nothing_was_done(mosaic)


def test_disk_error_is_retried(mosaic: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"a film")
    up = TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=str(film)), store=StateStore())
    real = Path.stat

    def stale(path: Path, **options: Any) -> Any:
        if path == film:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stale)
        with pytest.raises(MosaicTransportError, match=r"source=.*film\.mp4"):
            up.execute()
    assert nothing_was_done(mosaic)
    assert up.execute() == mosaic.uploads()[0]["id"]
