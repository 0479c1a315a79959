"""Links into the private network of the worker, and links that would block it, are not followed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from clients.servers import HostileServer, answer

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.downloads import DownloadTask

pytestmark = pytest.mark.hostile

PRIVATE = "https://169.254.169.254/latest/meta-data?sig=cafe"
#: urlsplit would sort these combining marks for seconds.
LONG_HOST = "https://" + "\u0301\u0316" * 40_000 + "/x"
each_link = pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param(PRIVATE, "Nothing was sent there", id="private host"),
        pytest.param(LONG_HOST, "its host is invalid", id="long host"),
    ],
)


def hook_for(host: HostileServer, monkeypatch: pytest.MonkeyPatch, **extra: object) -> MosaicHook:
    connection = {"conn_type": "mosaic", "host": host.url, "password": "mk_x", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    return MosaicHook()


@each_link
def test_an_upload_form_with_a_rejected_link_gets_nothing(
    link: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"a film")
    form = {"video_id": "v1", "upload_url": link, "upload_fields": {"key": "k"}}
    with HostileServer(answer(200, form)) as host:
        hook = hook_for(host, monkeypatch)
        with closing(hook), pytest.raises(MosaicResponseError, match=words):
            hook.upload_asset(str(film))
        assert host.count == 1


@each_link
@pytest.mark.parametrize("redirected", [False, True])
def test_an_output_with_a_rejected_link_is_not_downloaded(
    redirected: bool, link: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A longer header is an error.
    with HostileServer(answer(302, Location=link[:20_000])) as storage:
        link = f"{storage.url}/cut.mp4" if redirected else link
        run = {
            "run_id": "r1",
            "agent_id": "a1",
            "status": "completed",
            "outputs": [{"output_id": "o1", "video_url": link}],
        }
        with HostileServer(answer(200, run)) as host:
            hook = hook_for(host, monkeypatch)
            task = DownloadTask(
                hook,
                run_id="r1",
                destination=tmp_path,
                include=["video"],
                filename="{output_id}{suffix}",
                overwrite=False,
            )
            with closing(hook), pytest.raises(MosaicResponseError, match=words):
                task.download({"ti": SimpleNamespace(xcom_push=lambda **_: None)})
    assert list(tmp_path.iterdir()) == []


def test_the_connection_may_allow_private_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answer(200)) as host:
        assert not hook_for(host, monkeypatch).access.link_policy.private
        assert hook_for(host, monkeypatch, allow_private_storage=True).access.link_policy.private
