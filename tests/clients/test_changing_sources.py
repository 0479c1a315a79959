"""Files that a program writes over while they are uploaded. Their size stays the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.clients.sources import Source, local_source, read_blocks, storage_source

from .buckets import folder_in_memory  # noqa: F401 - a fixture

SIZE = 5 * 1024 * 1024


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "cut.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


def write_over(path: Path) -> None:
    # The clock of a file system may advance in steps of some milliseconds.
    time.sleep(0.05)
    with path.open("r+b") as file:
        file.write(b"moov")


def blocks_of(source: Source) -> Iterator[bytes]:
    return (bytes(block) for block in read_blocks(source))


def assert_changed(blocks: Iterator[bytes]) -> None:
    with pytest.raises(MosaicValidationError, match="it changed while it was being sent") as caught:
        list(blocks)
    assert caught.value.transient


def test_file_that_is_written_over_during_the_transfer_fails(video: Path) -> None:
    blocks = blocks_of(local_source(video))
    next(blocks)
    write_over(video)
    assert_changed(blocks)


def test_file_that_is_written_over_before_the_transfer_fails(video: Path) -> None:
    source = local_source(video)
    write_over(video)
    assert_changed(blocks_of(source))


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_open_file_is_sent_even_if_its_name_is_gone(video: Path, how: str) -> None:
    content = video.read_bytes()
    blocks = blocks_of(local_source(video))
    first = next(blocks)
    if how == "deleted":
        video.unlink()
    else:
        other = video.with_suffix(".new")
        other.write_bytes(os.urandom(SIZE))
        other.replace(video)
    assert b"".join([first, *blocks]) == content


def test_object_that_is_written_over_during_the_transfer_fails(memory: Any) -> None:
    path = memory / "cut.mp4"
    path.fs.pipe_file(path.path, bytes(SIZE))
    blocks = blocks_of(storage_source(path))
    next(blocks)
    path.fs.pipe_file(path.path, bytes(SIZE))
    assert_changed(blocks)


def test_object_that_is_deleted_after_its_last_byte_is_sent(memory: Any) -> None:
    path = memory / "cut.mp4"
    path.fs.pipe_file(path.path, bytes(SIZE))
    blocks = blocks_of(storage_source(path))
    sent = b""
    while len(sent) < SIZE:
        sent += next(blocks)
    path.fs.rm_file(path.path)
    assert list(blocks) == []


@pytest.mark.parametrize("field", ["modificationTime", "modify", "modified"])
def test_times_that_storages_report_show_a_change(memory: Any, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """WebHDFS, FTP and WebDAV have a name of their own for the time of the last change."""
    path = memory / "cut.mp4"
    path.fs.pipe_file(path.path, bytes(SIZE))
    info, changed_at = path.fs.info, 1
    monkeypatch.setattr(path.fs, "info", lambda name: {**info(name), "created": 1, field: changed_at})
    blocks = blocks_of(storage_source(path))
    next(blocks)
    changed_at = 2
    assert_changed(blocks)
