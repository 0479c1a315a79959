"""What the log says of a task's life: a line when something changes, and never a secret, at any level."""

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
from tasks.fixtures import ACCOUNT, AGENT, START, Clock, Meanwhile, sent, started, until

SHORTS = "a0000000-0000-4000-8000-000000000001"


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_mosaic")]


def test_a_whole_life_takes_about_ten_lines(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.configure(hold_runs=True)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )

    def many_polls() -> None:
        run_id = started(mosaic)
        until(lambda: sent(mosaic, "GET /agent_run/{run_id}") > 30)
        mosaic.finish_run(run_id)

    with caplog.at_level(logging.INFO), Meanwhile(many_polls):
        run.execute()
    lines = ours(caplog)
    assert 3 <= len(lines) <= 10
    assert len(set(lines)) == len(lines)
    assert any("Started run" in line for line in lines)
    assert any("is running" in line for line in lines)
    assert any("is completed with 1 output(s)" in line for line in lines)


def test_a_time_of_faults_takes_two_lines(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}", times=15, status=502)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run.execute()
    assert sum("could not be read. The wait continues" in line for line in ours(caplog)) == 1
    assert sum("can be read again" in line for line in ours(caplog)) == 1
    assert len(ours(caplog)) <= 10


def test_an_unknown_status_is_noted_once(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", times=5, status="quality_check")
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.01), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run.execute()
    assert sum("unknown status 'quality_check'" in line for line in ours(caplog)) == 1


def test_a_lookup_says_what_was_lost_and_what_was_found(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(list_lag=0.1)
    mosaic.inject("answer_lost", method="POST", path=START)
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, poll_interval=0.05), store=StateStore()
    )
    with caplog.at_level(logging.INFO):
        run_id = run.execute()
    text = "\n".join(ours(caplog))
    assert "is unknown" in text
    assert "Looking for it" in text
    assert f"Found a run of agent '{AGENT}': {run_id}" in text
    assert len([line for line in ours(caplog) if "Still looking" not in line]) <= 10


def test_a_search_says_every_quarter_of_a_minute_that_it_goes_on(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.inject("server_error", method="POST", path=START, times=None, status=502)
    run = TaskRunner(lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT), store=StateStore())
    with caplog.at_level(logging.INFO), pytest.raises(MosaicServerError, match="502"):
        run.execute()
    still = [line for line in ours(caplog) if line.startswith("Still looking")]
    # Two searches of two minutes, since the request goes out twice.
    assert len(still) == 16
    assert [line.rpartition("(")[2] for line in still[:4]] == ["15 s)", "30 s)", "45 s)", "60 s)"]
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
    # The form of an upload is a credential too; what it held is read off the wire.
    forms: list[str] = []
    from airflow_provider_mosaic.api.endpoints.assets import UploadForm

    def note(form: UploadForm) -> None:
        forms.extend(value for name, value in form.upload_fields.items() if name != "key" and len(value) > 20)

    from airflow_provider_mosaic.clients import upload as uploading

    real = uploading.check_size
    monkeypatch.setattr(uploading, "check_size", lambda form, source: (note(form), real(form, source))[1])

    mosaic.configure(signature_mark=SIGNATURE)
    film = tmp_path / "film.mp4"
    film.write_bytes(SAMPLE_VIDEO.read_bytes())
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "httpx", "httpcore", "requests", "asyncio", "airflow_provider_mosaic"):
        caplog.set_level(logging.DEBUG, logger=name)
    mosaic.inject("expired_link", path="/mosaic-emulator-media/{name}", skip=1, times=1)
    mosaic.inject("cut_body", path="/mosaic-emulator-media/{name}", skip=2, times=1)
    held: list[Any] = []

    def life(make: Any) -> Any:
        task = TaskRunner(make, store=StateStore())
        held.append(task)
        return task.run_to_end()

    asset_id = life(lambda: MosaicUploadOperator(task_id="up", source=str(film)))
    run_id = life(
        lambda: MosaicRunAgentOperator(
            task_id="run", agent_id=SHORTS, video_ids=[asset_id], poll_interval=0.05, deferrable=True
        )
    )
    life(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, poll_interval=0.05, deferrable=True))
    life(lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "out")))
    life(
        lambda: MosaicSocialPostOperator(
            task_id="post", text="Hello", social_connection_ids=[ACCOUNT], run_id=run_id, wait_for_completion=True,
            deferrable=True, poll_interval=0.05,
        )
    )  # fmt: skip
    mosaic.inject("expired_link", path="/mosaic-emulator-media/{name}", times=None)
    with pytest.raises(AirflowFailException):
        life(lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "two")))

    secrets = {mosaic.api_key, SIGNATURE, *forms}
    assert signed_downloads(mosaic) >= 3
    assert len(forms) >= 2
    out, err = capfd.readouterr()
    logged = "\n".join([*(record.getMessage() for record in caplog.records), caplog.text, out, err])
    kept = json.dumps([[task.dag_run.xcoms.get(key) for key in task.dag_run.xcoms] for task in held])
    stored = json.dumps([task.store.history for task in held])
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    for secret in secrets:
        assert secret not in logged
        assert secret not in kept
        assert secret not in stored


def test_no_secret_is_in_what_the_triggerer_keeps(mosaic: Emulator) -> None:
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
