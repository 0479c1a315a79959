"""Every argument, wrongly given: the failure names it, its value and the cure, and nothing with effects was sent."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fixtures import ACCOUNT, AGENT, effects
from tasks.standins import Life, StateStore

from airflow_provider_mosaic import operators, sensors
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.emulator.media import SAMPLE_VIDEO
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

BAD_IDS: list[Any] = [None, 5, "", "  ", "None", "{{ ti.xcom_pull() }}", "two words", ["a"]]
BAD_ID_LISTS: list[Any] = [[], 7, {"a": "b"}]
BAD_FLAGS: list[Any] = ["False", 1, None]
BAD_SECONDS: list[Any] = [0, -1, "30", math.nan, True, timedelta(0)]
BAD_CONNECTIONS: list[Any] = [None, 5, "", "nowhere"]
BAD_OPTIONAL_IDS: list[Any] = [each for each in BAD_IDS if each is not None]
BAD_CREDITS: list[Any] = [-1, "many", math.nan, math.inf, True, [5]]
NODE = "b0000004-0000-4000-8000-000000000002"

#: Operator, its good arguments, and for each argument the values that are wrong.
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
            "destination": [None, "", "None", 5, "https://example.com/out", "nosuch://bucket/out"],
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
            "end_from_trigger": BAD_FLAGS,
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
#: Every class, with good arguments.
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


def failure_of(act: Callable[[], Any]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        act()
    assert type(failure.value.__cause__) is MosaicValidationError
    message = str(failure.value)
    assert message.startswith("MosaicValidationError: ")
    return message


def nothing_was_done(mosaic: Emulator) -> bool:
    return effects(mosaic) == {} and all(request["method"] == "GET" for request in mosaic.requests())


@pytest.mark.parametrize(("kind", "arguments", "name", "value"), CASES)
def test_a_wrong_argument_is_named_with_its_value_before_anything_is_sent(
    mosaic: Emulator, evidence: Counter[str], kind: type[Any], arguments: dict[str, Any], name: str, value: Any
) -> None:
    evidence["wrong values of arguments of operators and sensors"] += 1
    message = failure_of(Life(lambda: kind(task_id="task", **arguments), store=StateStore()).execute)
    assert name in message
    shown = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, dict):
        shown = next(iter(value))
    assert str(shown)[:40] in message or repr(shown) in message
    assert mosaic.api_key not in message
    assert nothing_was_done(mosaic)


COMBINED: list[tuple[dict[str, Any], str]] = [
    ({"video_ids": [""]}, r"video_ids\[0\]=''"),
    ({"video_ids": ["a", 5]}, r"video_ids\[1\]=5"),
    ({"video_ids": "[]"}, "video_ids=\\[\\]: it is empty"),
    ({"mimir_assets": [{}]}, r"mimir_assets\[0\].id=None"),
    ({"video_inputs": [{"video_ids": ["v"]}]}, r"video_inputs\[0\].*no agent_node_id"),
    ({"video_inputs": [{"agent_node_id": NODE}]}, r"video_inputs\[0\].*no source"),
    ({"video_inputs": [{"agent_node_id": NODE, "video_ids": [5]}]}, r"video_inputs\[0\].video_ids\[0\]=5"),
    ({"video_inputs": [{"agent_node_id": NODE, "video_ids": ["v"]}], "video_ids": ["v"]}, "it excludes video_ids"),
    *[
        ({"video_inputs": [{"agent_node_id": NODE, "video_ids": ["v"], "input_clip_start_ms": bound}]}, pattern)
        for bound, pattern in [
            ("1000", "input_clip_start_ms='1000': it must be a whole number"),
            (1.5, "input_clip_start_ms=1.5"),
            (True, "input_clip_start_ms=True"),
            (-1, "input_clip_start_ms=-1"),
        ]
    ],
    (
        {
            "video_inputs": [
                {
                    "agent_node_id": NODE,
                    "video_ids": ["v"],
                    "input_clip_start_ms": 2000,
                    "input_clip_end_ms": 1000,
                }
            ]
        },
        "ends before it begins",
    ),
]


@pytest.mark.parametrize(("arguments", "pattern"), COMBINED, ids=lambda value: str(value)[:60])
def test_a_wrong_input_of_a_run_is_named_down_to_its_entry(
    mosaic: Emulator, arguments: dict[str, Any], pattern: str
) -> None:
    run = Life(lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, **arguments), store=StateStore())
    with pytest.raises(AirflowFailException, match=pattern):
        run.execute()
    assert nothing_was_done(mosaic)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"text": "Hello"}, "no destination"),
        ({"text": "Hello", "social_connection_ids": [ACCOUNT], "platforms": ["x"]}, "not both"),
        ({"text": " ", "platforms": ["x"]}, "neither text nor media"),
        ({"text": "Hello", "platforms": [5]}, r"platforms\[0\]=5"),
        ({"text": "Hello", "platforms": []}, "platforms=\\[\\]"),
        ({"text": "Hello", "platforms": ["x"], "run_id": "r", "media_urls": ["https://a/b"]}, "give it or run_id"),
        ({"text": "Hello", "platforms": ["x"], "run_id": "r", "output_ids": [""]}, r"output_ids\[0\]=''"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_combinations_for_a_post_are_refused(mosaic: Emulator, arguments: dict[str, Any], pattern: str) -> None:
    with pytest.raises(AirflowFailException, match=pattern):
        Life(lambda: MosaicSocialPostOperator(task_id="post", **arguments), store=StateStore()).execute()
    assert nothing_was_done(mosaic)


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
        Life(lambda: MosaicUploadOperator(task_id="up", source=str(source), asset_type="video")).execute()
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
    from tasks.fixtures import until

    run_id = hook.run_agent(AGENT)
    until(lambda: mosaic.runs()[0]["status"] == "completed")
    (tmp_path / "file").write_text("in the way")
    fetch = Life(
        lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id=run_id, destination=str(tmp_path / "file" / "x"))
    )
    with pytest.raises(AirflowFailException, match="destination="):
        fetch.execute()


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
def test_a_wrong_connection_burns_no_retries_in_any_operator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connection: str, pattern: str, kind: type[Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", connection)
    good = CLASSES[kind]
    if kind is MosaicUploadOperator:
        (tmp_path / "a.mp4").write_bytes(b"bytes")
        good = {"source": str(tmp_path / "a.mp4")}
    with pytest.raises(AirflowFailException, match=pattern) as failure:
        Life(lambda: kind(task_id="task", **good), store=StateStore()).execute()
    assert "mosaic_default" in str(failure.value)


@pytest.mark.parametrize(
    "kind", [MosaicRunSensor, MosaicSocialPostSensor, MosaicAvatarProfileSensor, MosaicCreditsSensor]
)
@pytest.mark.parametrize("value", [-1, "30", None, timedelta(seconds=-1)])
def test_a_poll_interval_that_is_none_fails_the_sensor_where_its_dag_is_read(
    evidence: Counter[str], kind: type[Any], value: Any
) -> None:
    evidence["wrong values of arguments of operators and sensors"] += 1
    with pytest.raises(Exception, match="poke_interval"):
        kind(task_id="wait", **CLASSES[kind], poll_interval=value)


# Which errors burn retries


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        ("unauthorized", {}, "MosaicAuthenticationError"),
        ("forbidden", {}, "MosaicPermissionError"),
        ("not_found", {}, "MosaicNotFoundError"),
        ("rate_limit", {"times": 6}, None),
        ("server_error", {"status": 503, "retry_after": 1, "times": 6}, None),
        ("redirect", {"location": "https://elsewhere.example/"}, None),
    ],
)
def test_what_a_retry_cannot_cure_burns_none(
    mosaic: Emulator, clock: Any, fault: str, options: dict[str, Any], expected: str | None
) -> None:
    mosaic.inject(fault, method="POST", path="/agent/{agent_id}/run", **options)
    run = Life(lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT), store=StateStore())
    with pytest.raises(Exception, match=r"(?s).") as failure:
        run.execute()
    if expected:
        assert type(failure.value) is AirflowFailException
        assert str(failure.value).startswith(f"{expected}: ")
        assert type(failure.value.__cause__).__name__ == expected
    else:
        assert type(failure.value) is not AirflowFailException
    assert effects(mosaic) == {}
