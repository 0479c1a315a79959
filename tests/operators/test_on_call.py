"""A failure leaves lines in the log, XComs and one exception for the person on call."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSensorTimeout
from tasks.fakes import Deferred, NativeTaskRunner, StateStore, TaskInstance, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, OTHER_ACCOUNT, START, Clock, InBackground, effects, sent, started, until
from tasks.kills import killed_once, received
from tasks.task_runs import post_task, run_operator, run_task

from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError, MosaicRunFailedError
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.redaction import remember
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCancelRunOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicDownloadOutputsOperator,
    MosaicPostAnalyticsOperator,
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
    MosaicYouTubeTriggerOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor, MosaicSocialPostSensor
from airflow_provider_mosaic.tasks import run_cancels

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> list[str]:
    return [
        each.getMessage()
        for each in caplog.records
        if each.levelno >= level and each.name.startswith("airflow_provider_mosaic")
    ]


def shown(error: BaseException) -> list[BaseException]:
    """Return the exceptions that Airflow shows: it follows causes, and contexts that are not suppressed."""
    found = [error]
    while (link := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        found.append(error := link)
    return found


def fails(act: Callable[[], Any]) -> Exception:
    with pytest.raises((AirflowFailException, MosaicError)) as failure:
        act()
    return failure.value


# Every operator: three lines or more, and one exception

OPERATORS: dict[type[Any], dict[str, Any]] = {
    MosaicApplyAgentOperator: {"definition": {"name": "x", "nodes": {}}},
    MosaicCancelRunOperator: {"run_id": "r"},
    MosaicCreateAvatarProfileOperator: {"name": "Host", "video_url": "https://cdn.example.org/host.mp4"},
    MosaicDownloadOutputsOperator: {"run_id": "r", "destination": "/tmp/mosaic-nothing"},
    MosaicPostAnalyticsOperator: {"post_id": "p"},
    MosaicResumeRunOperator: {"run_id": "r"},
    MosaicRunAgentOperator: {"agent_id": AGENT},
    MosaicSocialPostOperator: {"text": "Hello", "social_connection_ids": [ACCOUNT]},
    MosaicYouTubeTriggerOperator: {"agent_id": AGENT, "youtube_channels": ["@demo"]},
    MosaicRunSensor: {"run_id": "r"},
    MosaicSocialPostSensor: {"post_id": "p"},
}


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.__name__)
@WAITS
def test_non_retryable_error_is_logged_in_lines_and_shown_once(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture, kind: type[Any], deferrable: bool
) -> None:
    mosaic.inject("unauthorized", times=None)
    waits = {"deferrable": deferrable} if "deferrable" in kind.__init__.__code__.co_varnames else {}
    task = TaskRunner(lambda: kind(task_id="task", **OPERATORS[kind], **waits), store=StateStore())
    error = fails(task.execute)
    what, *_, means, to_do = logged = lines(caplog)
    assert 3 <= len(logged) <= 6
    assert "returned 401" in what
    assert means
    assert all(len(line) < 300 for line in logged)
    assert "lear this task" in to_do
    assert isinstance(error, AirflowFailException)
    assert len(shown(error)) == 1
    assert str(error).startswith(f"MosaicAuthenticationError: {what}")
    for line in logged:
        assert str(error).count(line) == 1


def test_failed_upload_has_no_asset(mosaic: Emulator, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    error = fails(TaskRunner(lambda: MosaicUploadOperator(task_id="up", source=str(tmp_path / "no.mp4"))).execute)
    assert any("There is no asset" in line for line in lines(caplog))
    assert len(shown(error)) == 1


# What a retry does, and what a user can do


@WAITS
def test_error_of_an_attempt_names_the_retry_and_the_last_one_the_choices(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture, deferrable: bool
) -> None:
    mosaic.configure(failing_nodes={"Video Generation": "The model is away"})
    task = run_task(StateStore(), deferrable=deferrable)
    for number in (1, 2, 3):
        caplog.clear()
        error = fails(task.run_to_end)
        assert isinstance(error, MosaicRunFailedError)
        assert len(shown(error)) == 1
        run_id = mosaic.runs()[0]["run_id"]
        logged = "\n".join(lines(caplog))
        retried = f"Airflow tries the task again (try {number + 1} of 3), which resumes run '{run_id}'"
        assert (retried in logged) is (number < 3)
        assert ("clear this task" in logged.lower()) is (number == 3)
        assert ("paid from the beginning" in logged) is (number == 3)
        assert all(line in str(error) for line in lines(caplog))


@pytest.mark.parametrize(
    ("on_retry", "effect"),
    [
        ("resume", "resumes run {id!r}: only what is missing is done again"),
        ("new", "starts a new run, which is paid from the beginning"),
        ("fail", "fails, because on_retry='fail'"),
    ],
)
@WAITS
def test_error_of_execution_timeout_names_what_the_retry_pays(
    mosaic: Emulator, clock: Clock, on_retry: str, effect: str, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    limit = timedelta(seconds=0.3)
    error = fails(run_task(StateStore(), on_retry=on_retry, execution_timeout=limit, deferrable=deferrable).run_to_end)
    assert f"(try 2 of 3), which {effect.format(id=started(mosaic))}." in str(error)


#: Whether there is a store, whether the task is durable, and what its retry does.
RETRIES = pytest.mark.parametrize(
    ("has_store", "durable", "effect"),
    [
        (True, True, "continues with"),
        (False, True, "searches for what this attempt started, and fails if it finds anything"),
        (True, False, "starts a second run and pays for it, because durable=False"),
    ],
)


@RETRIES
def test_kill_in_an_outage_promises_only_what_the_retry_does(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, has_store: bool, durable: bool, effect: str
) -> None:
    monkeypatch.setattr(run_cancels, "api_server_is_unreachable", lambda timeout: True)
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore() if has_store else None, durable=durable)
    with killed_once(received(mosaic, "GET", "/agent_run/{run_id}"), task):
        message = str(fails(task.execute))
    assert "A retry continues with it" not in message
    assert f"which {effect}" in message


@RETRIES
def test_run_id_that_cannot_be_read_promises_only_what_the_retry_does(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, has_store: bool, durable: bool, effect: str
) -> None:
    def unavailable(*args: Any, **kwargs: Any) -> None:
        raise OSError("the bucket is unavailable")

    mosaic.configure(hold_runs=True)
    task = run_task(StateStore() if has_store else None, durable=durable, deferrable=True)
    task.execute()
    monkeypatch.setattr(TaskInstance, "xcom_pull", unavailable)
    if task.store is not None:
        task.store.broken_gets = 1
    message = str(fails(task.on_timeout))
    assert "A retry continues with it" not in message
    assert f"which {effect}" in message
    task.try_number = 3
    if task.store is not None:
        task.store.broken_gets = 1
    message = str(fails(task.on_timeout))
    assert "runs adopt dag run manual__2026-01-01 '<its id>'" in message
    assert "Clear this task to start a run." not in message


def test_post_id_that_cannot_be_read_suggests_no_second_post(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*args: Any, **kwargs: Any) -> None:
        raise OSError("the bucket is unavailable")

    mosaic.configure(hold_posts=True)
    task = post_task(None, durable=False, deferrable=True, wait_for_completion=True)
    task.execute()
    monkeypatch.setattr(TaskInstance, "xcom_pull", unavailable)
    assert "which publishes a second post, because durable=False" in str(fails(task.on_timeout))
    task.try_number = 3
    assert "Clear this task to publish the post." not in str(fails(task.on_timeout))


def test_rejected_start_costs_nothing(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.inject("not_found", method="POST", path=START)
    fails(run_task(StateStore()).execute)
    assert "This attempt started no run and paid nothing." in lines(caplog)


def test_candidates_and_choices_are_one_per_line(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("response_lost", method="POST", path=START)
    error = fails(run_task(StateStore(), on_ambiguous="fail").execute)
    run_id = mosaic.runs()[0]["run_id"]
    logged = lines(caplog)
    heading = logged.index("Candidates:")
    assert logged[heading + 1].startswith(f"  {run_id} (running, since ")
    value = f'{{"manual__2026-01-01": "{run_id}"}}'
    assert any(f"set the Airflow Variable 'mosaic_adopt.dag.run' to {value} and clear" in line for line in logged)
    assert logged[-1].startswith("If none is this task's, clear this task")
    assert "Nothing was sent again, so nothing was paid or published twice." in logged
    assert not any("keep running" in line for line in logged)
    assert len(shown(error)) == 1


def test_soft_failing_sensor_warns(mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    with caplog.at_level(logging.INFO), pytest.raises(Exception, match=r"(?i)skip"):
        TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, soft_fail=True)).execute()
    assert lines(caplog) == []
    assert any(line.startswith(f"Run '{run_id}' of agent") for line in lines(caplog, logging.WARNING))


def test_sensor_timeout_cancels_nothing(mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    task = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, timeout=0.1, poke_interval=0.2))
    with pytest.raises(AirflowSensorTimeout):
        task.execute()
    assert lines(caplog)[0].startswith(f"Run '{run_id}' has not ended within timeout=0:00:00.1")
    assert "not cancelled" in lines(caplog)[1]


# No line is repeated or contradicted


@pytest.mark.parametrize("kind", ["operator", "sensor"])
def test_worker_does_not_repeat_the_triggerers_log(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    mosaic.configure(hold_runs=True)
    if kind == "operator":
        task = run_task(StateStore(), deferrable=True)
    else:
        watched = hook.run_agent(AGENT)
        task = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=watched, deferrable=True, poll_interval=0.05))
    with caplog.at_level(logging.INFO):
        deferred = task.execute()
        assert isinstance(deferred, Deferred)
        mosaic.finish_run(started(mosaic))
        task.resume(deferred, deferred.wait())
    logged = lines(caplog, logging.INFO)
    assert len(logged) == len(set(logged)) <= 5
    assert sum("is completed:" in line for line in logged) == 1
    assert any("is completed with 1 output(s)" in line for line in logged)


def test_sensor_on_a_worker_logs_changes_only(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)

    def many_polls() -> None:
        until(lambda: sent(mosaic, "GET /agent_run/{run_id}") > 10)
        mosaic.finish_run(run_id)

    task = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, poll_interval=0.01))
    with caplog.at_level(logging.INFO), InBackground(many_polls):
        task.execute()
    logged = lines(caplog, logging.INFO)
    assert len(logged) == len(set(logged)) <= 5


def test_adopted_run_is_not_contradicted(
    mosaic: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=0.2)
    fails(task.execute)
    run_id = mosaic.runs()[0]["run_id"]
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.RUN", f'{{"manual__2026-01-01": "{run_id}"}}')
    task.clear()
    task.make = run_operator(timeout=60)
    mosaic.configure(hold_runs=False)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert task.run_to_end() == run_id
    logged = "\n".join(lines(caplog, logging.INFO))
    assert "The task continues with it" in logged
    assert "starts over" not in logged
    assert "does not continue" not in logged


# Partial runs


@pytest.mark.parametrize("way", ["operator", "resume", "sensor"])
@WAITS
def test_partial_run_fails_by_default_and_pushes_its_outputs(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, way: str, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    if way == "operator":
        task = run_task(StateStore(), deferrable=deferrable)
    else:
        run_id = hook.run_agent(AGENT)
        kind = MosaicRunSensor if way == "sensor" else MosaicResumeRunOperator
        task = TaskRunner(
            lambda: kind(task_id="run", run_id=run_id, deferrable=deferrable, poll_interval=0.05), store=StateStore()
        )
    with InBackground(lambda: mosaic.finish_run(started(mosaic), "partial_complete")):
        error = fails(task.run_to_end)
    run = mosaic.runs()[0]
    assert "MosaicRunPartialError" in str(error)
    assert task.xcom("status") == "partial_complete"
    assert task.xcom("output_ids") == run["output_ids"]
    # Downstream tasks find the run if a user marks the task as success.
    assert task.xcom("return_value") == run["run_id"]
    assert any("rendered" in line for line in lines(caplog))
    assert effects(mosaic) == {"runs_started": 1}


# XCom of ended runs


@WAITS
@pytest.mark.parametrize("clock_of", ["timeout", "execution_timeout"])
def test_status_and_outputs_are_pushed_after_a_timeout(mosaic: Emulator, deferrable: bool, clock_of: str) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=deferrable, **{clock_of: timedelta(seconds=0.3)})
    fails(task.run_to_end)
    assert task.xcom("status") == "cancelled"
    assert task.xcom("output_ids") == []


def test_status_is_pushed_when_a_retry_finds_the_end(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), on_retry="fail", wait_for_completion=False)
    task.execute()
    mosaic.finish_run(mosaic.runs()[0]["run_id"], "failed")
    fails(task.execute)
    assert task.xcom("status") == "failed"


def test_ambiguous_start_pushes_no_url(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(StateStore(), on_ambiguous="fail")
    fails(task.execute)
    assert not [key for key in task.dag_run.xcoms if "url" in key[2] or "link" in key[2]]


@pytest.mark.usefixtures("as_production_api")
def test_every_task_with_an_agent_pushes_its_url(mosaic: Emulator, hook: MosaicHook, tmp_path: Any) -> None:
    run_id = hook.run_agent(AGENT)
    until(lambda: hook.get_run(run_id).status == "completed")
    page = f"https://edit.mosaic.so/agents/{AGENT}"
    for make in (
        lambda: MosaicRunSensor(task_id="task", run_id=run_id),
        lambda: MosaicDownloadOutputsOperator(task_id="task", run_id=run_id, destination=str(tmp_path)),
        lambda: MosaicApplyAgentOperator(task_id="task", agent_id=AGENT, definition={"nodes": {}}, dry_run=True),
        lambda: MosaicYouTubeTriggerOperator(task_id="task", agent_id=AGENT, youtube_channels=["@demo"]),
    ):
        task = TaskRunner(make)
        task.run_to_end()
        assert task.xcom("mosaic_agent_url") == page
        assert task.xcom("_link_MosaicAgentLink") == page
        assert [link.xcom_key for link in task.operator.operator_extra_links] == ["_link_MosaicAgentLink"]


# URLs of posts


@pytest.mark.parametrize("outcomes", ["destinations", "results"])
@pytest.mark.parametrize("way", ["operator", "sensor"])
@WAITS
def test_post_pushes_its_urls(
    mosaic: Emulator,
    hook: MosaicHook,
    caplog: pytest.LogCaptureFixture,
    outcomes: str,
    way: str,
    deferrable: bool,
) -> None:
    mosaic.configure(post_outcomes=outcomes)
    if way == "operator":
        task = post_task(
            StateStore(),
            social_connection_ids=[ACCOUNT, OTHER_ACCOUNT],
            wait_for_completion=True,
            deferrable=deferrable,
        )
    else:
        post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT, OTHER_ACCOUNT]).post_id
        task = TaskRunner(
            lambda: MosaicSocialPostSensor(task_id="post", post_id=post_id, deferrable=deferrable, poll_interval=0.05)
        )
    with caplog.at_level(logging.INFO):
        task.run_to_end()
    rows = task.xcom("post_urls")
    assert len(rows) == 2
    for row in rows:
        assert row["url"].startswith(f"https://{row['platform']}.example/")
        assert any(row["url"] in line and row["platform"] in line for line in lines(caplog, logging.INFO))
    assert task.xcom("_link_MosaicPostLink") == rows[0]["url"]


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", True),
        ("https://www.facebook.com/permalink.php?story_fbid=pfbid0abc123&id=1", True),
        ("https://storage.example.org/a.mp4?X-Goog-Signature=hush", False),
        ("https://cdn.example.org/a.mp4?Expires=1&Signature=hush", False),
        ("https://user:hush@x.example/1", False),
        ("https://x.example/plain%2fkey77c1e0", False),
        ("javascript:alert(1)", False),
        ("https://x.example/1\n2", False),
        ("https://x.example/" + "1" * 3000, False),
        pytest.param(f"https://{'é' * 254}/1", False, id="long host"),
        ("", False),
    ],
)
def test_only_public_urls_are_shown(url: str, is_shown: bool) -> None:
    remember("plain/key77c1e0")
    places = [{"platform": "youtube", "post_url": url}]
    for field in ("destinations", "results", "links"):
        for whole in ({}, {"post_url": url}):
            found = public_urls(Post.model_validate({"post_id": "p", field: places, **whole}))
            assert [place.url for place in found] == ([url] if is_shown else [])
    assert [place.url for place in public_urls(Post(post_id="p", post_url=url))] == ([url] if is_shown else [])


# Native rendering


@pytest.mark.parametrize(("written", "rendered"), [("1_000", 1000), ("True", True), ("None", None), ("[1]", [1])])
def test_text_of_the_dag_file_stays_text_under_native_rendering(written: str, rendered: Any) -> None:
    from airflow.sdk import DAG

    from airflow_provider_mosaic.base import keep_constants, template_markers

    markers = template_markers(DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}))

    assert keep_constants(written, rendered, markers) == written
    assert keep_constants({"a": [written, "{{ x }}"]}, {"a": [rendered, 7]}, markers) == {"a": [written, 7]}
    for template in ("{{ title }}", "<< title >>"):
        assert keep_constants(template, rendered, markers) == rendered


def test_text_of_the_dag_file_stays_text_after_a_deferral(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_48211", os.environ["AIRFLOW_CONN_MOSAIC_DEFAULT"])
    mosaic.configure(hold_runs=True)
    task = NativeTaskRunner(run_task(mosaic_conn_id="48211", deferrable=True).make)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.resume(deferred, deferred.wait()) == started(mosaic)


@WAITS
def test_text_of_the_dag_file_stays_text_in_sensors(mosaic: Emulator, clock: Clock, deferrable: bool) -> None:
    task = NativeTaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id="48211", deferrable=deferrable))
    event = {"outcome": "ended", "id": "48211"}
    resumed = Deferred("", {}, "execute_complete", {}, None)
    for act in (task.execute, lambda: task.resume(resumed, event), task.on_timeout):
        assert type(fails(act).error) is MosaicNotFoundError  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [1000, True, 1.5, ["a"]])
def test_rendered_value_of_another_type_names_native_rendering(mosaic: Emulator, value: Any) -> None:
    for kind, arguments in (
        (MosaicSocialPostOperator, {"text": value, "social_connection_ids": [ACCOUNT]}),
        (MosaicRunAgentOperator, {"agent_id": value}),
        (MosaicRunSensor, {"run_id": value}),
        (MosaicUploadOperator, {"source": value}),
        (MosaicCreateAvatarProfileOperator, {"name": value, "video_url": "https://cdn.example.org/host.mp4"}),
    ):
        error = fails(TaskRunner(lambda kind=kind, arguments=arguments: kind(task_id="task", **arguments)).execute)  # type: ignore[misc]
        assert "render_template_as_native_obj=True" in str(error)
        assert "pass the reference itself" in str(error)
    assert effects(mosaic) == {}


def test_id_that_is_none_names_the_argument_and_the_cause(mosaic: Emulator) -> None:
    error = fails(TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=None)).execute)  # type: ignore[arg-type]
    assert "run_id=None" in str(error)
    assert "An upstream task that was skipped" in str(error)
    assert "NoneType" not in str(error)
