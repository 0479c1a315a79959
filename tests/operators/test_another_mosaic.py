"""The promises hold for every reading of the API: a server that differs where the documentation leaves room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import Clock
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api.endpoints.runs import cancel_run
from airflow_provider_mosaic.api.errors import MosaicPostFailedError, MosaicRunFailedError
from airflow_provider_mosaic.durable import reads
from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor
from airflow_provider_mosaic.tasks import run_cancels, runs

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherMosaic]:
    with serving(OtherMosaic()) as other:
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield other


def task_runner(**options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": "an-agent", "video_ids": ["v"], "poll_interval": 0.02, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=StateStore())


@WAITS
def test_run_is_started_and_waited_for(other: OtherMosaic, deferrable: bool) -> None:
    task = task_runner(deferrable=deferrable)
    assert task.run_to_end() == "started-0"
    assert task.xcom("output_ids") == ["out-1"]
    assert other.started_by_api() == ["started-0"]


@WAITS
def test_outputs_that_appear_after_the_end_are_read(
    other: OtherMosaic, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_PAUSES", (0.01,) * 9)
    other.looks_without_outputs, other.looks_without_links = 4, 1
    task = task_runner(deferrable=deferrable)
    task.run_to_end()
    assert task.xcom("output_ids") == ["out-1"]
    assert (other.looks_without_outputs, other.looks_without_links) == (0, 0)


def test_download_without_any_link_fails(other: OtherMosaic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_PAUSES", (0.01,) * 4)
    run_id = other.add("ended", status="completed")["run_id"]
    other.looks_without_links = 9
    task = TaskRunner(
        lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path)), store=None
    )
    with pytest.raises(MosaicRunFailedError, match="none has a link"):
        task.execute()


@pytest.mark.parametrize(
    "triggered_by", [{"type": "youtube", "channel": "x"}, {"type": "manual", "source": "ui", "user_id": "u"}], ids=str
)
def test_runs_of_triggers_and_of_the_editor_are_no_candidates(
    other: OtherMosaic, clock: Clock, triggered_by: dict[str, Any]
) -> None:
    other.lose_responses, other.triggered_meanwhile = 1, [triggered_by] * 3
    assert task_runner().run_to_end() == "started-0"
    assert other.started_by_api() == ["started-0"]


@pytest.mark.parametrize("there_before", [1, 99, 100, 101, 250])
def test_existing_runs_are_no_candidates_though_the_list_is_not_filtered(
    other: OtherMosaic, clock: Clock, there_before: int
) -> None:
    long_ago = (datetime.now(timezone.utc) - timedelta(days=3)).isoformat()
    for number in range(there_before):
        other.add(f"old-{number}", status="completed", started_at=long_ago)
    other.lose_responses = 1
    assert task_runner().run_to_end() == f"started-{there_before}"
    assert len(other.started_by_api()) == 1


@pytest.mark.parametrize("odd", [{"status": None}, {"outputs": ["https://cdn.example.org/a.mp4"]}], ids=str)
def test_odd_row_does_not_hide_a_lost_run(other: OtherMosaic, clock: Clock, odd: dict[str, Any]) -> None:
    long_ago = (datetime.now(timezone.utc) - timedelta(days=3)).isoformat()
    other.add("odd", **{"status": "completed", "started_at": long_ago, **odd})
    other.lose_answers = 1
    assert task_runner().run_to_end() == "started-1"
    assert other.started_by_api() == ["started-1"]


def test_too_many_existing_runs_need_manual_review(
    other: OtherMosaic, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_MAX_EXISTING", 100)
    for number in range(101):
        other.add(f"old-{number}", status="completed")
    other.lose_responses = 1
    with pytest.raises(AirflowFailException, match="MosaicAmbiguousOutcomeError"):
        task_runner().run_to_end()
    assert len(other.started_by_api()) == 1


def test_too_many_existing_runs_do_not_prevent_a_start(other: OtherMosaic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_MAX_EXISTING", 100)
    for number in range(101):
        other.add(f"old-{number}", status="completed")
    assert task_runner().run_to_end() == "started-101"


def test_cancel_with_an_empty_response(other: OtherMosaic) -> None:
    other.looks_until_end = 10**6
    with pytest.raises(AirflowFailException, match="is cancelled"):
        task_runner(timeout=0.2).execute()
    assert other.runs[0]["status"] == "cancelled"


def test_cancel_of_an_ended_run_that_is_rejected_with_400(other: OtherMosaic, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_runner(timeout=60, deferrable=True)
    other.looks_until_end = 10**6
    deferred = task.execute()

    def cancel_too_late(run_id: str) -> Any:
        other.runs[0]["status"] = "completed"
        return cancel_run(run_id)

    monkeypatch.setattr(run_cancels, "cancel_run", cancel_too_late)
    with pytest.raises(AirflowFailException, match="had ended already"):
        task.resume(deferred, {"outcome": "timeout", "id": "started-0"})


@WAITS
@pytest.mark.parametrize("status", ["Completed", "SUCCESS", "done"])
def test_successful_end_in_other_spellings(other: OtherMosaic, deferrable: bool, status: str) -> None:
    other.ends_as = status
    task = task_runner(deferrable=deferrable)
    assert task.run_to_end() == "started-0"
    assert task.xcom("status") == "completed"


@WAITS
@pytest.mark.parametrize("status", ["timed_out", "Error", "FAILED"])
def test_failed_end_in_other_spellings_is_resumed_once(
    other: OtherMosaic, clock: Clock, deferrable: bool, status: str
) -> None:
    other.ends_as = status
    task = task_runner(deferrable=deferrable)
    with pytest.raises(MosaicRunFailedError, match=status):
        task.run_to_end()
    assert task.run_to_end() == "started-0"
    assert other.requests.count("POST /agent_run/started-0/resume") == 1


@WAITS
@pytest.mark.parametrize("status", ["canceled", "Cancelled"])
def test_cancel_outside_airflow_in_other_spellings(other: OtherMosaic, deferrable: bool, status: str) -> None:
    other.ends_as = status
    with pytest.raises(AirflowFailException, match="No cancel by this task is known"):
        task_runner(deferrable=deferrable).run_to_end()


@pytest.mark.parametrize("status", ["Completed", "success"])
def test_sensor_knows_an_end_in_other_spellings(other: OtherMosaic, status: str) -> None:
    run_id = other.add("ended", status=status)["run_id"]
    other.looks_until_end = 0
    sensor = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, deferrable=False), store=None)
    assert sensor.execute() == run_id


@WAITS
def test_resume_with_an_empty_response(other: OtherMosaic, clock: Clock, deferrable: bool) -> None:
    other.ends_as = "failed"
    task = task_runner(deferrable=deferrable)
    with pytest.raises(MosaicRunFailedError):
        task.run_to_end()
    assert task.run_to_end() == "started-0"
    assert other.requests.count("POST /agent_run/started-0/resume") == 1
    assert other.started_by_api() == ["started-0"]


def test_retry_finds_the_run_of_a_killed_attempt(other: OtherMosaic, clock: Clock) -> None:
    for number in range(150):
        other.add(f"old-{number}", status="completed")
    task = task_runner()
    assert task.store is not None
    task.store.killing_at("intent")
    with pytest.raises(Killed):
        task.execute()
    other.add("started-by-the-killed-attempt")
    assert task.run_to_end() == "started-by-the-killed-attempt"
    assert other.started_by_api() == ["started-by-the-killed-attempt"]


def test_a_cancel_that_finds_no_run_does_not_hide_a_running_run(other: OtherMosaic, clock: Clock) -> None:
    other.cancel_not_found, other.looks_until_end = True, 10**6
    with pytest.raises(AirflowFailException, match=r"may keep running: cancel it.*404") as failure:
        task_runner(timeout=0.2).execute()
    assert "The last poll returned: running" in str(failure.value)
    assert "does not exist" not in str(failure.value)


def post_runner(**options: Any) -> TaskRunner:
    arguments = {"task_id": "post", "text": "Hello", "platforms": ["x"], "poll_interval": 0.02, **options}
    return TaskRunner(lambda: MosaicSocialPostOperator(wait_for_completion=True, **arguments), store=StateStore())


@pytest.mark.parametrize(
    "shown",
    [
        {"destinations": [{"platform": "x", "status": "live", "post_url": "https://x.com/1"}]},
        {"destinations": [{"platform": "x", "status": "failed", "post_url": "https://x.com/1"}]},
        {"destinations": [{"platform": "x", "status": "processing"}]},
        {
            "destinations": [{"platform": "x", "message": "Late"}],
            "links": [{"platform": "x", "post_url": "https://x/1"}],
        },
        {"destinations": [{"platform": "x", "status": "failed"}], "results": [{"platform": "x", "status": "success"}]},
        # An id of the post on the platform means that it may be there.
        {"destinations": [{"platform": "x", "status": "failed", "platform_post_id": "187"}]},
        {"destinations": [], "results": [{"platform": "x", "status": "failed", "post_id": "187"}]},
        {"destinations": [{"platform": "x", "status": "failed"}], "platform_post_id": "187"},
        {"destinations": [{"platform": "x", "status": "failed"}], "post_url": "https://x.com/1"},
        # Names that Mosaic does not document.
        {"destinations": [{"platform": "x", "url": "https://x.com/1"}, {"platform": "linkedin", "error": "Late"}]},
    ],
    ids=str,
)
@WAITS
def test_failed_post_that_may_be_published_is_not_created_again(
    other: OtherMosaic, deferrable: bool, shown: dict[str, Any]
) -> None:
    other.post_fields = {"status": "failed", **shown}
    with pytest.raises(AirflowFailException, match="MosaicPostFailedError") as failure:
        post_runner(deferrable=deferrable).run_to_end()
    assert ("It was published on x" in str(failure.value)) == ("post_url" in str(shown["destinations"]))
    assert "Nothing was published" not in str(failure.value)
    assert len(other.posts) == 1


def test_failed_destination_with_an_id_on_the_platform_is_named_with_its_error(other: OtherMosaic) -> None:
    place = {"platform": "x", "status": "failed", "message": "Media was rejected", "platform_post_id": "187"}
    other.post_fields = {"status": "failed", "destinations": [place]}
    with pytest.raises(AirflowFailException, match=r"may be published .* It failed on x: Media was rejected"):
        post_runner().run_to_end()


@pytest.mark.parametrize(
    "shown", [{"destinations": [{"platform": "x", "post_id": "post-0"}]}, {"post_url": ""}], ids=str
)
def test_failed_post_without_an_id_on_the_platform_can_be_created_again(
    other: OtherMosaic, shown: dict[str, Any]
) -> None:
    other.post_fields = {"status": "failed", "platform_post_id": None, **shown}
    with pytest.raises(MosaicPostFailedError, match="Nothing was published"):
        post_runner().run_to_end()


def test_address_beside_the_destinations_is_pushed_once(other: OtherMosaic) -> None:
    url = "https://x.com/1"
    task = post_runner()
    other.post_fields = {"status": "posted", "platforms": ["x"], "destinations": [{"platform": "x"}], "post_url": url}
    task.run_to_end()
    assert task.xcom("post_urls") == [{"platform": "x", "account": None, "url": url}]
    assert task.xcom("_link_MosaicPostLink") == url


@WAITS
def test_timeout_of_a_post_names_its_last_status(other: OtherMosaic, deferrable: bool) -> None:
    other.post_fields = {"status": "pending_approval"}
    with pytest.raises(AirflowFailException, match="The last poll returned: pending_approval"):
        post_runner(deferrable=deferrable, timeout=0.5).run_to_end()


@WAITS
@pytest.mark.parametrize(
    "error",
    [{"message": "The key of x has expired"}, [{"platform": "x", "message": "The key of x has expired"}]],
    ids=["object", "list"],
)
def test_failed_post_quotes_its_error(other: OtherMosaic, deferrable: bool, error: Any) -> None:
    other.post_fields = {"status": "failed", "error": error, "destinations": [{"platform": "x", "error": error}]}
    with pytest.raises(MosaicPostFailedError) as failure:
        post_runner(deferrable=deferrable).run_to_end()
    assert "ended as failed: The key of x has expired. Nothing was published." in str(failure.value)
    assert "It failed on x: The key of x has expired." in str(failure.value)


def test_published_post_with_a_failed_destination_is_logged(
    other: OtherMosaic, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"platform": "x", "status": "error"}, {"platform": "tiktok"}, {"platform": "youtube", "status": "success"}]
    other.post_fields = {"status": "posted", "destinations": rows}
    assert post_runner().run_to_end() == "post-0"
    assert "Post 'post-0' is posted, but failed on: x. Check it there." in caplog.messages


def test_a_start_that_the_lists_show_too_late_is_reported(
    other: OtherMosaic, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    other.lose_responses, other.empty_lists = 1, 100
    assert task_runner().run_to_end() == "started-1"
    assert "a second one exists besides 'started-1', and is paid or published too" in caplog.text
