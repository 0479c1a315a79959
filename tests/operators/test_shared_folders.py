"""Downloads of several tasks to one folder, with the same file names."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
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

    def run(connection: socket.socket) -> bool:
        outputs = [{"id": "a", "video_url": f"{host.url}/a.mp4"}]
        return answer(200, {"status": "completed", "outputs": outputs})(connection)

    with HostileServer(run, video, writing(path, written, then=video)) as host:
        connection = {"conn_type": "mosaic", "host": host.url, "password": "mk_x"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        files: list[str] = TaskRunner(
            lambda: MosaicDownloadOutputsOperator(
                task_id="fetch", run_id="r", destination=str(folder), filename="{index}{suffix}", overwrite=overwrite
            )
        ).execute()
    assert files == [str(path)]
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
