"""The log of a task: one line per change, and no secret at any level."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO

from airflow_provider_mosaic.api.errors import MosaicServerError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, START, Clock, InBackground, sent, started, until

SHORTS = "a0000000-0000-4000-8000-000000000001"


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_mosaic")]


def test_a_run_takes_about_ten_lines(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.configure(hold_runs=True)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )

    def many_polls() -> None:
        run_id = started(mosaic)
        until(lambda: sent(mosaic, "GET /agent_run/{run_id}") > 30)
        mosaic.finish_run(run_id)

    with caplog.at_level(logging.INFO), InBackground(many_polls):
        run.execute()
    lines = ours(caplog)
    assert 3 <= len(lines) <= 10
    assert len(set(lines)) == len(lines)
    assert any("Started run" in line for line in lines)
    assert any("is running" in line for line in lines)
    assert any("is completed with 1 output(s)" in line for line in lines)


def test_a_series_of_errors_takes_two_lines(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}", times=15, status=502)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run.execute()
    assert sum("could not be read. The wait continues" in line for line in ours(caplog)) == 1
    assert sum("can be read again" in line for line in ours(caplog)) == 1
    assert len(ours(caplog)) <= 10


def test_an_unknown_status_is_logged_once(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", times=5, status="quality_check")
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run.execute()
    assert sum("unknown status 'quality_check'" in line for line in ours(caplog)) == 1


def test_a_search_logs_what_was_lost_and_found(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(list_lag=0.1)
    mosaic.inject("response_lost", method="POST", path=START)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.05), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run_id = run.execute()
    text = "\n".join(ours(caplog))
    assert "is unknown" in text
    assert "Searching for it" in text
    assert f"Found a run of agent '{AGENT}': {run_id}" in text
    assert len([line for line in ours(caplog) if "Still searching" not in line]) <= 10


def test_a_search_logs_its_progress_every_15_seconds(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.inject("server_error", method="POST", path=START, times=None, status=502)
    run = TaskRunner(lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT), store=StateStore())
    with caplog.at_level(logging.INFO), pytest.raises(MosaicServerError, match="502"):
        run.execute()
    still = [line for line in ours(caplog) if line.startswith("Still searching")]
    # Two searches of two minutes, because the request is sent twice. Slow requests can move the last line of a search
    # behind its end.
    assert 14 <= len(still) <= 16
    seconds = [int(line.rpartition("(")[2].removesuffix(" s)")) for line in still[:4]]
    assert [each // 15 for each in seconds] == [1, 2, 3, 4]
    assert not any(pause > 15 for pause in clock.pauses)


SIGNATURE = "signmark5c77de"


def signed_downloads(mosaic: Emulator) -> int:
    """Return the number of requests with a signed link. The emulator's request log masks their signatures."""
    return sum("X-Goog-Signature" in request["query"] for request in mosaic.requests())


def test_no_secret_is_in_any_log_line_at_debug(
    mosaic: Emulator,
    hook: MosaicHook,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The form of an upload is a credential too.
    forms: list[str] = []
    from airflow_provider_mosaic.api.endpoints.assets import UploadForm

    def record(form: UploadForm) -> None:
        forms.extend(value for name, value in form.upload_fields.items() if name != "key" and len(value) > 20)

    from airflow_provider_mosaic.clients import upload as uploading

    real = uploading.check_size
    monkeypatch.setattr(uploading, "check_size", lambda form, source: (record(form), real(form, source))[1])

    mosaic.configure(signature_mark=SIGNATURE)
    film = tmp_path / "film.mp4"
    film.write_bytes(SAMPLE_VIDEO.read_bytes())
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "httpx", "httpcore", "requests", "asyncio", "airflow_provider_mosaic"):
        caplog.set_level(logging.DEBUG, logger=name)
    mosaic.inject("expired_link", path="/mosaic-emulator-media/{name}", skip=1, times=1)
    mosaic.inject("cut_body", path="/mosaic-emulator-media/{name}", skip=2, times=1)
    tasks: list[Any] = []

    def run(make: Any) -> Any:
        task = TaskRunner(make, store=StateStore())
        tasks.append(task)
        return task.run_to_end()

    asset_id = run(lambda: MosaicUploadOperator(task_id="up", source=str(film)))
    run_id = run(
        lambda: MosaicRunAgentOperator(
            task_id="run", agent_id=SHORTS, video_ids=[asset_id], poll_interval=0.05, deferrable=True
        )
    )
    run(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, poll_interval=0.05, deferrable=True))
    run(lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "out")))
    run(
        lambda: MosaicSocialPostOperator(
            task_id="post", text="Hello", social_connection_ids=[ACCOUNT], run_id=run_id, wait_for_completion=True,
            deferrable=True, poll_interval=0.05,
        )
    )  # fmt: skip
    mosaic.inject("expired_link", path="/mosaic-emulator-media/{name}", times=None)
    with pytest.raises(AirflowFailException):
        run(lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "two")))

    secrets = {mosaic.api_key, SIGNATURE, *forms}
    assert signed_downloads(mosaic) >= 3
    assert len(forms) >= 2
    out, err = capfd.readouterr()
    logged = "\n".join([*(record.getMessage() for record in caplog.records), caplog.text, out, err])
    xcoms = json.dumps([[task.dag_run.xcoms.get(key) for key in task.dag_run.xcoms] for task in tasks])
    stored = json.dumps([task.store.history for task in tasks])
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    for secret in secrets:
        assert secret not in logged
        assert secret not in xcoms
        assert secret not in stored


def test_no_secret_is_in_a_deferral(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    deferred = TaskRunner(
        lambda: MosaicRunAgentOperator(
            task_id="run", agent_id=AGENT, callback_url="http://127.0.0.1:9/?sig=marked-secret", deferrable=True
        )
    ).execute()
    assert isinstance(deferred, Deferred)
    for kept in (deferred.trigger_kwargs, deferred.kwargs):
        assert "marked-secret" not in json.dumps(kept)
        assert mosaic.api_key not in json.dumps(kept)
