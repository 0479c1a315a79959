"""Files that can't be uploaded and places that can't be written to: the failure names them, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fixtures import AGENT, effects, nothing_was_done, until
from tasks.lives import LATE
from tasks.standins import Life

from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicUploadOperator


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: path.touch(), "it is empty"),
        (lambda path: path.with_suffix(".txt").write_text("words"), r"does not take \.txt"),
        (lambda path: path.with_suffix("").write_text("words"), "a file without a suffix"),
        (lambda path: path.with_suffix(".mp3").write_text("noise"), r"does not take \.mp3 as video"),
    ],
    ids=["directory", "empty", "unsupported", "no suffix", "another kind"],
)
def test_a_source_that_is_no_such_file_is_refused(
    mosaic: Emulator, tmp_path: Path, make: Callable[[Path], Any], pattern: str
) -> None:
    make(tmp_path / "film.mp4")
    [source] = tmp_path.iterdir()
    with pytest.raises(AirflowFailException, match=pattern) as failure:
        Life(lambda: MosaicUploadOperator(task_id="up", source=str(source), asset_type="video", **LATE)).execute()
    assert "source=" in str(failure.value)
    assert source.stem in str(failure.value)
    assert nothing_was_done(mosaic)


def test_a_file_over_the_limit_is_refused_before_its_first_byte(mosaic: Emulator, tmp_path: Path) -> None:
    mosaic.configure(max_file_size=10)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"eleven byte")
    with pytest.raises(AirflowFailException, match=r"source=.*film\.mp4.*at most .*10 bytes"):
        Life(lambda: MosaicUploadOperator(task_id="up", source=str(film))).execute()
    assert effects(mosaic) == {}
    assert "POST /mosaic-emulator-uploads/" not in mosaic.counts().requests


def test_a_source_url_that_leads_nowhere_is_refused(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException, match=r"nothing\.mp4.*404"):
        Life(lambda: MosaicUploadOperator(task_id="up", source=f"{mosaic.url}/nothing.mp4?sig=marked-secret")).execute()
    assert effects(mosaic) == {}


def test_a_destination_that_cannot_be_written_is_named(mosaic: Emulator, hook: Any, tmp_path: Path) -> None:
    run_id = hook.run_agent(AGENT)
    until(lambda: mosaic.runs()[0]["status"] == "completed")
    (tmp_path / "file").write_text("in the way")
    fetch = Life(
        lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "file" / "x"))
    )
    with pytest.raises(AirflowFailException, match="destination="):
        fetch.execute()
