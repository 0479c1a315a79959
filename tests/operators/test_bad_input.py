"""For every wrong argument the error has its name, its value and what to do, and nothing with effects is sent."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, nothing_was_done
from tasks.task_runs import LATE, fails_with

from airflow_provider_mosaic import operators, sensors
from airflow_provider_mosaic.api.errors import MosaicValidationError
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
from airflow_provider_mosaic.sensors import (
    MosaicAvatarProfileSensor,
    MosaicCreditsSensor,
    MosaicRunSensor,
    MosaicSocialPostSensor,
)

BAD_IDS: list[Any] = [None, 5, "", "  ", "None", "{{ ti.xcom_pull() }}", "two words", ["a"], "a/b", "\ud800"]
BAD_ID_LISTS: list[Any] = [[], 7, {"a": "b"}]
BAD_FLAGS: list[Any] = ["False", 1, None]
BAD_SECONDS: list[Any] = [0, -1, "30", math.nan, True, timedelta(0)]
# A connection that Airflow does not find is retried: a failed lookup looks the same.
BAD_CONNECTIONS: list[Any] = [None, 5, ""]
BAD_OPTIONAL_IDS: list[Any] = [each for each in BAD_IDS if each is not None]
BAD_CREDITS: list[Any] = [-1, "many", math.nan, math.inf, True, [5]]
NODE = "b0000004-0000-4000-8000-000000000002"

#: The class, its correct arguments, and the wrong values of each argument.
TABLE: list[tuple[type[Any], dict[str, Any], dict[str, list[Any]]]] = [
    (
        MosaicRunAgentOperator,
        {"agent_id": AGENT},
        {
            "agent_id": BAD_IDS,
            "video_urls": [[], "", "ftp://host/a.mp4", ["film.mp4"], 5, {"a": 1}],
            "video_ids": BAD_ID_LISTS,
            "node_render_ids": BAD_ID_LISTS,
            "mimir_assets": [[], 5],
            "video_inputs": [[], 5],
            "update_params": ["text", [], {"": {}}, {NODE: 5}, {NODE: {"when": datetime(2026, 1, 1)}}, {5: {}}],
            "ignore_nodes": BAD_ID_LISTS,
            "callback_url": ["http://example.com/hook", "hook", 5],
            "wait_for_completion": BAD_FLAGS,
            "deferrable": BAD_FLAGS,
            "poll_interval": [*BAD_SECONDS, None],
            "timeout": BAD_SECONDS,
            "on_partial": ["maybe", None, True],
            "durable": BAD_FLAGS,
            "on_retry": ["again", None],
            "on_ambiguous": ["guess", None],
            "cancel_on_kill": BAD_FLAGS,
            "min_credits": BAD_CREDITS,
            "on_short_of_credits": ["warn", None],
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicSocialPostOperator,
        {"text": "Hello", "social_connection_ids": [ACCOUNT]},
        {
            "text": [None, 5, ["Hello"]],
            "social_connection_ids": BAD_ID_LISTS,
            "platforms": [["x"]],
            "media_urls": [[], ["film.mp4"], 5],
            "run_id": BAD_OPTIONAL_IDS,
            "output_ids": [["an-output"], []],
            "schedule_date": ["tomorrow", "2030-01-01T10:00:00", datetime(2030, 1, 1), 5, "2020-01-01T00:00:00Z"],
            "workspace_id": BAD_OPTIONAL_IDS,
            "provider_options": [5, "title", [], {"scheduleDate": "x"}, {"youTubeOptions": 5}],
            "wait_for_completion": BAD_FLAGS,
            "deferrable": BAD_FLAGS,
            "poll_interval": [*BAD_SECONDS, None],
            "timeout": BAD_SECONDS,
            "on_partial": ["maybe", None],
            "durable": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicUploadOperator,
        {"source": "/nowhere/film.mp4"},
        {
            "source": [None, "", "None", 5, "/nowhere/film.mp4", "nosuch://bucket/film.mp4"],
            "asset_type": ["film", "", 5],
        },
    ),
    (MosaicUploadOperator, {"source": str(SAMPLE_VIDEO)}, {"mosaic_conn_id": BAD_CONNECTIONS}),
    (MosaicSocialPostOperator, {"text": "Hello"}, {"platforms": [[], [5], 7, [""]]}),
    *[
        (sensor, good, {"poll_interval": [0, timedelta(0)]})
        for sensor, good in (
            (MosaicRunSensor, {"run_id": "a-run"}),
            (MosaicSocialPostSensor, {"post_id": "a-post"}),
            (MosaicAvatarProfileSensor, {"avatar_profile_id": "a-profile"}),
            (MosaicCreditsSensor, {"min_credits": 100}),
        )
    ],
    (
        MosaicDownloadOutputsOperator,
        {"run_id": "a-run", "destination": "/nowhere"},
        {
            "run_id": BAD_IDS,
            "destination": [None, "", "None", "null", 5, "https://example.com/out", "nosuch://bucket/out"],
            "include": [[], ["film"], 5, "sound"],
            "filename": ["", "{nothing}", "../{output_id}", "/{output_id}", "{output_id", 5, None, "{output_id.x}"],
            "overwrite": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicRunSensor,
        {"run_id": "a-run"},
        {
            "run_id": BAD_IDS,
            "deferrable": BAD_FLAGS,
            "on_partial": ["maybe", None],
            "mosaic_conn_id": BAD_CONNECTIONS,
            "start_from_trigger": BAD_FLAGS,
        },
    ),
    (
        MosaicResumeRunOperator,
        {"run_id": "a-run"},
        {
            "run_id": BAD_IDS,
            "wait_for_completion": BAD_FLAGS,
            "deferrable": BAD_FLAGS,
            "poll_interval": [*BAD_SECONDS, None],
            "timeout": BAD_SECONDS,
            "on_partial": ["maybe", None],
            "cancel_on_kill": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicCancelRunOperator,
        {"run_id": "a-run"},
        {"run_id": BAD_IDS, "mosaic_conn_id": BAD_CONNECTIONS},
    ),
    (
        MosaicPostAnalyticsOperator,
        {"post_id": "a-post"},
        {"post_id": BAD_IDS, "social_connection_id": BAD_OPTIONAL_IDS, "mosaic_conn_id": BAD_CONNECTIONS},
    ),
    (
        MosaicCreateAvatarProfileOperator,
        {"name": "Host", "video_url": "https://example.com/host.mp4"},
        {
            "name": [None, "", "  ", 5],
            "video_url": ["film.mp4", "ftp://host/a.mp4", 5],
            "image_url": ["host.jpg", 5],
            "audio_url": ["host.mp3", 5],
            "image_id": BAD_OPTIONAL_IDS,
            "audio_id": BAD_OPTIONAL_IDS,
            "durable": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicCreateAvatarProfileOperator,
        {"name": "Host"},
        {"video_id": BAD_OPTIONAL_IDS},
    ),
    (
        MosaicYouTubeTriggerOperator,
        {"agent_id": AGENT, "youtube_channels": ["@demo"]},
        {
            "agent_id": BAD_IDS,
            "youtube_channels": [None, [], 7, {"a": "b"}, [""], [5], "", ["two words"]],
            "filter_options": [5, "text", [], {"title": "News"}],
            "callback_url": ["http://example.com/hook", "hook", 5, ""],
            "exclusive": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicSocialPostSensor,
        {"post_id": "a-post"},
        {
            "post_id": BAD_IDS,
            "deferrable": BAD_FLAGS,
            "on_partial": ["maybe", None],
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicAvatarProfileSensor,
        {"avatar_profile_id": "a-profile"},
        {"avatar_profile_id": BAD_IDS, "deferrable": BAD_FLAGS, "mosaic_conn_id": BAD_CONNECTIONS},
    ),
    (
        MosaicCreditsSensor,
        {"min_credits": 100},
        {
            "min_credits": [*BAD_CREDITS, None, ""],
            "deferrable": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
    (
        MosaicApplyAgentOperator,
        {"definition": {"name": "Nightly", "nodes": {}}},
        {
            "definition": [
                None,
                5,
                "",
                [],
                "captions",
                "/nowhere/agent.yaml",
                "https://example.com/agent.yaml",
                "nosuch://bucket/agent.yaml",
                {"nodez": {}},
                {"name": "", "nodes": {}},
            ],
            "agent_id": BAD_OPTIONAL_IDS,
            "unknown_nodes": ["delete", None, True],
            "dry_run": BAD_FLAGS,
            "durable": BAD_FLAGS,
            "mosaic_conn_id": BAD_CONNECTIONS,
        },
    ),
]
#: The correct arguments of every class.
CLASSES = {kind: good for kind, good, _ in reversed(TABLE)}
CASES = [
    pytest.param(kind, {**good, name: value}, name, value, id=f"{kind.__name__}-{name}-{value!r}"[:90])
    for kind, good, wrong in TABLE
    for name, values in wrong.items()
    for value in values
]


def test_every_public_class_is_in_the_table() -> None:
    assert {kind.__name__ for kind in CLASSES} == {*operators.__all__, *sensors.__all__}


def test_every_argument_of_every_public_class_is_in_the_table() -> None:
    tried = {(kind.__name__, name) for kind, _, wrong in TABLE for name in wrong}
    own = {
        (kind.__name__, parameter.name)
        for kind in CLASSES
        for parameter in inspect.signature(inspect.unwrap(kind.__init__)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert tried == own


@pytest.mark.parametrize(("kind", "arguments", "name", "value"), CASES)
def test_wrong_argument_is_named_with_its_value_before_anything_is_sent(
    mosaic: Emulator, evidence: Counter[str], kind: type[Any], arguments: dict[str, Any], name: str, value: Any
) -> None:
    evidence["wrong values of arguments of operators and sensors"] += 1
    task = TaskRunner(lambda: kind(task_id="task", **LATE, **arguments), store=StateStore())
    message = fails_with(task.execute, MosaicValidationError)
    assert name in message
    shown = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, dict):
        shown = next(iter(value))
    assert str(shown)[:40] in message or repr(shown) in message
    assert mosaic.api_key not in message
    assert nothing_was_done(mosaic)


@pytest.mark.parametrize(
    ("connection", "pattern"),
    [
        ('{"conn_type": "mosaic"}', "no API key"),
        ('{"conn_type": "mosaic", "password": " "}', "no API key"),
        ('{"conn_type": "mosaic", "password": "k", "host": "api.mosaic.so"}', "host='api.mosaic.so': it has no scheme"),
        ('{"conn_type": "mosaic", "password": "k", "host": "https://api.mosaic.so/v1"}', "it has a path"),
        ('{"conn_type": "mosaic", "password": "k", "extra": {"timeout": "long"}}', "timeout='long'"),
    ],
    ids=["no key", "blank key", "no scheme", "path", "timeout"],
)
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_wrong_connection_fails_without_retries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connection: str, pattern: str, kind: type[Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", connection)
    good = CLASSES[kind]
    if kind is MosaicUploadOperator:
        (tmp_path / "a.mp4").write_bytes(b"bytes")
        good = {"source": str(tmp_path / "a.mp4")}
    with pytest.raises(AirflowFailException, match=pattern) as failure:
        TaskRunner(lambda: kind(task_id="task", **good), store=StateStore()).execute()
    assert "mosaic_default" in str(failure.value)


@pytest.mark.parametrize(
    "kind", [MosaicRunSensor, MosaicSocialPostSensor, MosaicAvatarProfileSensor, MosaicCreditsSensor]
)
@pytest.mark.parametrize("value", [-1, "30", None, timedelta(seconds=-1)])
def test_wrong_poll_interval_of_a_sensor_fails_at_parse_time(
    evidence: Counter[str], kind: type[Any], value: Any
) -> None:
    evidence["wrong values of arguments of operators and sensors"] += 1
    with pytest.raises(MosaicValidationError, match=r"^poll_interval="):
        kind(task_id="wait", **CLASSES[kind], poll_interval=value)
