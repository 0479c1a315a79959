"""Downloads of several tasks to one folder, with the same file names."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from clients.buckets import (  # noqa: F401 - fixtures
    BUCKET,
    FrontOfS3,
    bucket_behind_front,
    bucket_in_s3,
    client_of_s3,
    connected_front,
    running_s3_server,
    server_in_front_of_s3,
)
from clients.servers import HostileServer, Reply, answer
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import TaskRunner

from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator

RENDER = b"the render of this run"
OTHER = b"the longer render of another run"


def writing(path: Path, content: bytes, *, then: Reply) -> Reply:
    """Write a file, as another task would, before the reply is sent."""

    def reply(connection: socket.socket) -> bool:
        path.write_bytes(content)
        return then(connection)

    return reply


def download(folder: Path, monkeypatch: pytest.MonkeyPatch, *, written: bytes, overwrite: bool = False) -> list[str]:
    """Download the output of a run while another task writes a file of its name."""
    path = folder / "0.mp4"
    video = answer(200, RENDER, Content_Type="video/mp4")
    files = download_after(video, writing(path, written, then=video), str(folder), monkeypatch, overwrite=overwrite)
    assert files == [str(path)]
    return files


def download_after(
    info: Reply, video: Reply, destination: Any, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> list[str]:
    """Download the output of a run, with these replies for its headers and its content."""

    def run(connection: socket.socket) -> bool:
        outputs = [{"id": "a", "video_url": f"{host.url}/a.mp4"}]
        return answer(200, {"status": "completed", "outputs": outputs})(connection)

    with HostileServer(run, run, info, video) as host:
        connection = {"conn_type": "mosaic", "host": host.url, "password": "mk_x"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        files: list[str] = TaskRunner(
            lambda: MosaicDownloadOutputsOperator(
                task_id="fetch", run_id="r", destination=destination, filename="{index}{suffix}", overwrite=overwrite
            )
        ).execute()
    return files


def test_file_of_another_task_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowFailException, match="another file exists there"):
        download(tmp_path, monkeypatch, written=OTHER)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [OTHER]


@pytest.mark.parametrize(("written", "overwrite"), [(RENDER, False), (OTHER, True)])
def test_file_that_may_be_replaced_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes, overwrite: bool
) -> None:
    download(tmp_path, monkeypatch, written=written, overwrite=overwrite)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [RENDER]


def test_overwrite_needs_no_permission_to_list_or_read(
    s3_behind_front: Any, s3: Any, front: FrontOfS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.denied = frozenset({"HEAD", "GET"})
    video = answer(200, RENDER, Content_Type="video/mp4")
    files = download_after(video, video, s3_behind_front, monkeypatch, overwrite=True)
    assert files == [str(s3_behind_front / "0.mp4")]
    assert s3.fs.cat_file(f"{BUCKET}/0.mp4") == RENDER
