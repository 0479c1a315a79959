"""A wrong constant fails the DAG's import; values that are known only when a task runs do not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from airflow.sdk import DAG, ObjectStoragePath, task_group
from mosaic_emulator import Emulator
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT
from tasks.task_runs import fails_with

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicCreditsSensor, MosaicRunSensor, MosaicSocialPostSensor
from operators.test_bad_input import CASES, CLASSES

#: Wrong only when the task runs: missing files, connections and storages, a time in the past.
LATER: set[tuple[str, str]] = {
    ("source", "/nowhere/film.mp4"),
    ("source", "nosuch://bucket/film.mp4"),
    ("destination", "nosuch://bucket/out"),
    ("schedule_date", "2020-01-01T00:00:00Z"),
    ("mosaic_conn_id", "nowhere"),
    ("definition", "/nowhere/agent.yaml"),
    ("definition", "nosuch://bucket/agent.yaml"),
}
TEMPLATE = "{{ ti.xcom_pull() }}"

#: Wrong constants, and a pattern of the message.
WRONG: list[tuple[type[Any], dict[str, Any], str]] = [
    (
        MosaicRunAgentOperator,
        {"on_partial": "failed"},
        r"^on_partial='failed': .*warn, fail, skip\. Did you mean fail\?",
    ),
    (MosaicRunAgentOperator, {"timeout": "1h"}, "^timeout='1h': it must be a number of seconds or a timedelta"),
    (MosaicRunAgentOperator, {"poll_interval": -1}, "^poll_interval=-1: it must be more than 0 seconds"),
    (MosaicRunAgentOperator, {"poll_interval": True}, "^poll_interval=True"),
    (MosaicRunAgentOperator, {"timeout": math.nan}, "^timeout=nan"),
    (MosaicRunAgentOperator, {"timeout": 1e15}, "^timeout=.*of 100 years at most"),
    (MosaicRunAgentOperator, {"deferrable": 1}, "^deferrable=1: it must be True or False"),
    (MosaicRunAgentOperator, {"agent_id": UUID(int=5)}, "^agent_id=UUID"),
    (MosaicRunAgentOperator, {"video_ids": []}, r"^video_ids=\[\]: it is empty"),
    (MosaicRunAgentOperator, {"video_urls": [TEMPLATE, "ftp://a/b"]}, r"^video_urls\[1\]='ftp://a/b'"),
    (MosaicRunAgentOperator, {"cancel_on_kill": TEMPLATE}, "^cancel_on_kill=.*Airflow renders no templates here"),
    (
        MosaicRunAgentOperator,
        {"video_inputs": TEMPLATE, "video_ids": TEMPLATE},
        "it excludes video_ids",
    ),
    (MosaicRunAgentOperator, {"update_params": {TEMPLATE: {"a": 1}}}, "this template was not rendered"),
    (MosaicDownloadOutputsOperator, {"include": ["vidoe"]}, r"^include\[0\]='vidoe': .*Did you mean video\?"),
    (MosaicDownloadOutputsOperator, {"include": "video,premiere"}, r"^include\[0\]='video,premiere'"),
    (MosaicDownloadOutputsOperator, {"include": [TEMPLATE, "vidoe"]}, r"^include\[1\]='vidoe'"),
    (MosaicUploadOperator, {"asset_type": "movie"}, "^asset_type='movie': it must be one of video, audio, image"),
    (MosaicUploadOperator, {"source": "/a/report.txt"}, r"^source='/a/report.txt': the asset type is unknown"),
    (MosaicSocialPostOperator, {"social_connection_ids": None}, "the post has no destination"),
    (MosaicSocialPostOperator, {"platforms": TEMPLATE}, "give it or social_connection_ids, not both"),
    (MosaicSocialPostOperator, {"text": " "}, "neither text nor media"),
    (MosaicSocialPostOperator, {"output_ids": TEMPLATE}, "it needs run_id"),
    (MosaicSocialPostOperator, {"run_id": TEMPLATE, "media_urls": TEMPLATE}, "give it or run_id, not both"),
    (MosaicSocialPostOperator, {"schedule_date": datetime(2090, 1, 1)}, "^schedule_date=.*it has no time zone"),
    (
        MosaicSocialPostOperator,
        {"social_connection_ids": None, "platforms": ["tiktokk"]},
        r"^platforms\[0\]='tiktokk': .*Did you mean tiktok\?",
    ),
    (MosaicCreateAvatarProfileOperator, {"video_url": None, "image_id": TEMPLATE}, "needs a video, or an image and"),
    (MosaicCreateAvatarProfileOperator, {"video_id": TEMPLATE}, "give it or video_url, not both"),
    (MosaicApplyAgentOperator, {"definition": {"nodes": {}}}, "neither it nor the definition's name"),
    (MosaicRunSensor, {"timeout": "1h"}, "^timeout='1h'"),
    (MosaicRunSensor, {"timeout": True}, "^timeout=True"),
    (MosaicSocialPostSensor, {"on_partial": "skipped"}, r"Did you mean skip\?"),
    (MosaicCreditsSensor, {"min_credits": math.nan}, "^min_credits=nan"),
]

#: Correct arguments, and arguments that are not known yet.
GOOD: list[tuple[type[Any], dict[str, Any]]] = [
    (MosaicRunAgentOperator, {"agent_id": "{% if x %}a{% endif %}", "video_ids": [TEMPLATE], "min_credits": TEMPLATE}),
    (MosaicRunAgentOperator, {"agent_id": f"{AGENT}\n"}),
    (MosaicRunAgentOperator, {"agent_id": lambda context, jinja_env: AGENT}),
    (MosaicRunAgentOperator, {"video_ids": iter(["a"]), "update_params": {"Two words": {"a": TEMPLATE}}}),
    (MosaicRunAgentOperator, {"timeout": None, "poll_interval": timedelta(seconds=5), "callback_url": None}),
    (MosaicRunAgentOperator, {"video_inputs": f"[{TEMPLATE}]"}),
    (MosaicDownloadOutputsOperator, {"destination": ObjectStoragePath("file:///tmp/{{ ds }}"), "include": {"video"}}),
    (MosaicDownloadOutputsOperator, {"destination": Path("/tmp/a"), "filename": "{{ ds }}-{index}"}),
    (MosaicUploadOperator, {"source": Path("/tmp/{{ params.file }}")}),
    (MosaicUploadOperator, {"source": ObjectStoragePath("file:///tmp/{{ params.file }}")}),
    (MosaicApplyAgentOperator, {"definition": Path("/tmp/{{ params.agent }}.yaml")}),
    (MosaicUploadOperator, {"source": "https://example.com/watch?v=1"}),
    (MosaicUploadOperator, {"source": "s3://bucket/{{ ds }}", "asset_type": TEMPLATE}),
    # Mosaic may accept more platforms than it documents.
    (MosaicSocialPostOperator, {"social_connection_ids": None, "platforms": ["threads", "TikTok"]}),
    # A DAG file is parsed for years.
    (MosaicSocialPostOperator, {"schedule_date": "2020-01-01T00:00:00Z"}),
    (MosaicSocialPostOperator, {"text": "", "media_urls": TEMPLATE}),
    (MosaicApplyAgentOperator, {"definition": {"name": TEMPLATE, "nodes": {}}}),
    (MosaicRunSensor, {"timeout": timedelta(hours=1)}),
    (MosaicCreditsSensor, {"min_credits": "300"}),
]


def shown(value: object) -> str:
    """Return the id of a parameter, without memory addresses, which differ between the processes of xdist."""
    return re.sub(r" at 0x\w+", "", str(value))[:60]


@pytest.mark.parametrize(("kind", "arguments", "pattern"), WRONG, ids=shown)
def test_wrong_constant_is_an_import_error(kind: type[Any], arguments: dict[str, Any], pattern: str) -> None:
    with DAG("dag", schedule=None), pytest.raises(MosaicValidationError, match=pattern):
        kind(task_id="task", **{**CLASSES[kind], **arguments})


@pytest.mark.parametrize(("kind", "arguments"), GOOD, ids=shown)
def test_correct_or_unknown_arguments_are_imported(kind: type[Any], arguments: dict[str, Any]) -> None:
    with DAG("dag", schedule=None):
        kind(task_id="task", **{**CLASSES[kind], **arguments})


@pytest.mark.parametrize(("kind", "arguments", "name", "value"), CASES)
def test_constant_that_fails_a_task_fails_the_import(
    kind: type[Any], arguments: dict[str, Any], name: str, value: Any
) -> None:
    if (name, str(value)) in LATER or TEMPLATE in str(value):
        kind(task_id="task", **arguments)
        return
    with pytest.raises(MosaicValidationError) as refused:
        kind(task_id="task", **arguments)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "name", "value"), [case for case in CASES if case.values[2] in ("on_partial", "timeout")]
)
def test_value_of_default_args_is_validated(kind: type[Any], arguments: dict[str, Any], name: str, value: Any) -> None:
    others = {key: given for key, given in arguments.items() if key != name}
    with DAG("dag", schedule=None, default_args={name: value}), pytest.raises(MosaicValidationError, match=f"^{name}="):
        kind(task_id="task", **others)


@pytest.mark.parametrize(
    ("define", "pattern"),
    [
        (lambda: MosaicRunAgentOperator.partial(task_id="t", on_partial="failed"), "^on_partial='failed'"),
        (lambda: MosaicRunAgentOperator.partial(task_id="t", video_ids=[]), r"^video_ids=\[\]"),
        (lambda: MosaicDownloadOutputsOperator.partial(task_id="t", include=["vidoe"]), r"^include\[0\]"),
        (lambda: MosaicRunSensor.partial(task_id="t", poll_interval=-1), "^poll_interval=-1"),
        (lambda: MosaicApplyAgentOperator.partial(task_id="t", dry_run="no"), "^dry_run='no'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Task 't' was never mapped")
def test_shared_constants_of_mapped_items_are_validated(define: Callable[[], Any], pattern: str) -> None:
    with DAG("dag", schedule=None), pytest.raises(MosaicValidationError, match=pattern):
        define()


def test_mapped_values_are_validated_when_an_item_runs(mosaic: Emulator) -> None:
    with DAG("dag", schedule=None, default_args={"on_ambiguous": "guess"}):
        mapped = MosaicRunAgentOperator.partial(task_id="run", agent_id=AGENT).expand(on_partial=["failed"])
    for value, resolved in (("on_ambiguous='guess'", {"on_partial": "warn"}), ("'failed'", {"on_partial": "failed"})):
        item = TaskRunner(lambda resolved=resolved: mapped.unmap(resolved), store=StateStore())  # type: ignore[misc]
        assert value in fails_with(item.execute, MosaicValidationError)
    assert mosaic.runs() == []


def test_wrong_interval_of_a_mapped_sensor_fails_without_retries(mosaic: Emulator) -> None:
    with DAG("dag", schedule=None):
        mapped = MosaicRunSensor.partial(task_id="wait", run_id="r").expand(poll_interval=["5s"])
    item = TaskRunner(lambda: mapped.unmap({"poll_interval": "5s"}), store=StateStore())
    assert "poll_interval='5s'" in fails_with(item.execute, MosaicValidationError)


def test_output_of_another_task_or_mapped_group_is_unknown() -> None:
    @task_group
    def each(source: Any) -> None:
        MosaicUploadOperator(task_id="upload", source=source)

    with DAG("dag", schedule=None) as dag:
        video = MosaicUploadOperator(task_id="first", source="/a.mp4")
        MosaicRunAgentOperator(task_id="run", agent_id=dag.param("agent", AGENT), video_ids=[video.output])
        each.expand(source=["/b.mp4"])
    assert set(dag.task_ids) == {"first", "run", "each.upload"}


@pytest.mark.parametrize(
    ("define", "name"),
    [
        (lambda path: MosaicUploadOperator(task_id="t", source=path), "source"),
        (lambda path: MosaicDownloadOutputsOperator(task_id="t", run_id="r", destination=path), "destination"),
        (lambda path: MosaicApplyAgentOperator(task_id="t", definition=path), "definition"),
        (
            lambda path: MosaicDownloadOutputsOperator.partial(task_id="t", destination=path).expand(run_id=["r"]),
            "destination",
        ),
        (
            lambda path: MosaicDownloadOutputsOperator.partial(task_id="t", run_id="r").expand(destination=[path]),
            "destination",
        ),
    ],
)
@pytest.mark.parametrize("path", [Path("{{ params.folder }}/new.yaml.mp4"), Path("relative.yaml.mp4")], ids=str)
def test_path_is_rendered_and_not_resolved(define: Callable[[Path], Any], name: str, path: Path) -> None:
    # Airflow 3.1 resolves everything with a method "resolve"; newer versions do not render paths.
    if name == "definition":
        path = path.with_suffix("")
    with DAG("dag", schedule=None):
        task = define(path)
    if task.is_mapped:
        task = task.unmap({"run_id": "r", "destination": path})
    task.render_template_fields({"params": {"folder": "/a"}}, jinja_env=task.dag.get_template_env())
    assert getattr(task, name) == str(path).replace("{{ params.folder }}", "/a")


def test_template_markers_of_the_dag() -> None:
    with DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "[["}):
        MosaicRunAgentOperator(task_id="run", agent_id="[[ params.agent ]]")
        MosaicRunAgentOperator.partial(task_id="runs", agent_id="[[ params.agent ]]").expand(video_ids=[["a"]])
        with pytest.raises(MosaicValidationError, match=r"^agent_id="):
            MosaicRunAgentOperator(task_id="wrong", agent_id="(( params.agent ))")


def test_subclass_with_more_template_fields() -> None:
    class Patient(MosaicSocialPostOperator):
        template_fields = (*MosaicSocialPostOperator.template_fields, "timeout")

    Patient(task_id="post", text="Hello", social_connection_ids=[ACCOUNT], timeout="{{ params.patience }}")  # type: ignore[arg-type]
    with pytest.raises(MosaicValidationError, match=r"^timeout='1h'"):
        Patient(task_id="post", text="Hello", social_connection_ids=[ACCOUNT], timeout="1h")  # type: ignore[arg-type]
