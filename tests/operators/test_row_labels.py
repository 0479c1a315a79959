"""Labels of the rows of mapped tasks, unless the user sets a template."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, ObjectStoragePath, TaskGroup, task_group

from airflow_provider_mosaic.base import LABEL_TEMPLATE
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor

ROW = SimpleNamespace(map_index=3)


def post_of_group(**mapped: Any) -> Any:
    """Return a mapped post in a group with default platforms."""
    with TaskGroup("group", default_args={"platforms": ["x"]}):
        return MosaicSocialPostOperator.partial(task_id="t").expand(**mapped)


#: A mapped task, the arguments of a row, and the label of that row.
ROWS: list[tuple[Callable[[], Any], dict[str, Any], str]] = [
    (
        lambda: MosaicUploadOperator.partial(task_id="t").expand(source=["/in/talk one.mp4"]),
        {"source": "/in/talk one.mp4"},
        "talk one.mp4",
    ),
    (
        lambda: MosaicUploadOperator.partial(task_id="t").expand(source=["https://a/b.mp4?sig=hush"]),
        {"source": "https://a/b.mp4?sig=hush#hush"},
        "b.mp4",
    ),
    (
        lambda: MosaicUploadOperator.partial(task_id="t").expand(source=[ObjectStoragePath("file:///in/b.mp4")]),
        {"source": ObjectStoragePath("file:///in/b.mp4")},
        "b.mp4",
    ),
    (
        lambda: MosaicRunAgentOperator.partial(task_id="t", agent_id="a").expand(video_ids=[["v", "w"]]),
        {"video_ids": ["v", "w"]},
        "v +1",
    ),
    (
        lambda: MosaicRunAgentOperator.partial(task_id="t", video_ids=["v"]).expand(agent_id=["a"]),
        {"agent_id": "a"},
        "a",
    ),
    (
        lambda: MosaicDownloadOutputsOperator.partial(task_id="t", destination="/out").expand(run_id=["r"]),
        {"run_id": "r"},
        "r",
    ),
    (
        lambda: MosaicDownloadOutputsOperator.partial(task_id="t").expand_kwargs(
            [{"run_id": "r", "destination": "/o/a"}]
        ),
        {"run_id": "r", "destination": "/o/a"},
        "a",
    ),
    (
        lambda: MosaicSocialPostOperator.partial(task_id="t", platforms=["x"]).expand(text=["words " * 99]),
        {"text": "words " * 99},
        f"{('words ' * 99)[:99]}…",
    ),
    (lambda: post_of_group(text=["words"]), {"text": "words"}, "words"),
    (lambda: post_of_group(platforms=[["tiktok"]]), {"text": "words", "platforms": ["tiktok"]}, "tiktok"),
    (
        lambda: MosaicApplyAgentOperator.partial(task_id="t").expand(definition=[{"name": "Nightly", "nodes": {}}]),
        {"definition": {"name": "Nightly", "nodes": {}}},
        "Nightly",
    ),
    (lambda: MosaicRunSensor.partial(task_id="t").expand(run_id=["r"]), {"run_id": "r"}, "r"),
    (
        lambda: MosaicRunAgentOperator.partial(task_id="t", agent_id="a").expand(video_urls=["u"]),
        {"video_urls": "https://www.youtube.com/watch?list=PL1&v=dQw4w9WgXcQ&t=7"},
        "dQw4w9WgXcQ",
    ),
    (
        lambda: MosaicRunAgentOperator.partial(task_id="t", agent_id="a").expand(video_urls=["u"]),
        {"video_urls": "['https://www.youtube.com/watch?v=dQw4w9WgXcQ']"},
        "dQw4w9WgXcQ",
    ),
    (
        lambda: MosaicUploadOperator.partial(task_id="t").expand(source=["u"]),
        {"source": "https://cdn.example.org/watch?v=hush"},
        "watch",
    ),
    # No label: the number stays.
    (
        lambda: MosaicRunAgentOperator.partial(task_id="t", agent_id="a").expand(video_urls=["u"]),
        {"video_urls": ["https://m.youtube.com/watch?list=PL1", "https://youtu.be/dQw4w9WgXcQ"]},
        "3",
    ),
    (lambda: MosaicUploadOperator.partial(task_id="t").expand(source=[None]), {"source": None}, "3"),
    (lambda: MosaicRunAgentOperator.partial(task_id="t", agent_id="a").expand(durable=[True]), {"durable": True}, "3"),
]


@pytest.mark.parametrize(
    ("make", "row", "label"), ROWS, ids=lambda value: "task" if callable(value) else str(value)[:40]
)
def test_row_is_labelled_with_its_mapped_value(make: Callable[[], Any], row: dict[str, Any], label: str) -> None:
    with DAG("dag", schedule=None) as dag:
        mapped = make()
    item = mapped.unmap(row)
    rendered = dag.get_template_env().from_string(mapped.map_index_template).render(task=item, ti=ROW)
    assert rendered == label


@pytest.mark.parametrize(("text", "label"), [("1_000", "#1_000"), ("None", "#None"), ("a.b", "a.b"), (None, "#3")])
def test_label_is_text_under_native_rendering(text: str | None, label: str) -> None:
    """Airflow fails a task if its label is a number, after the task has started its run."""
    with DAG("dag", schedule=None, render_template_as_native_obj=True) as dag:
        mapped = MosaicSocialPostOperator.partial(task_id="t", platforms=["x"]).expand(text=[text])
    item = mapped.unmap({"text": text})
    assert dag.get_template_env().from_string(mapped.map_index_template).render(task=item, ti=ROW) == label


def test_tasks_of_a_mapped_group_are_labelled_with_the_difference() -> None:
    @task_group
    def each(source: Any) -> None:
        video = MosaicUploadOperator(task_id="upload", source=source)
        MosaicRunAgentOperator(task_id="edit", agent_id="a", video_ids=[video.output])

    with DAG("dag", schedule=None) as dag:
        each.expand(source=["/in/a.mp4", "/in/b.mp4"])
    upload = dag.task_dict["each.upload"].prepare_for_execution()
    edit = dag.task_dict["each.edit"].prepare_for_execution()
    assert upload.map_index_template == edit.map_index_template == LABEL_TEMPLATE
    upload.source = "/in/b.mp4"
    edit.video_ids = ["v"]
    assert (upload.row_label(ROW), edit.row_label(ROW)) == ("b.mp4", "v")


def test_template_of_the_user_is_kept() -> None:
    own = "{{ task.source }}"

    @task_group(default_args={"map_index_template": own})
    def each(source: Any) -> None:
        MosaicUploadOperator(task_id="upload", source=source)

    with DAG("dag", schedule=None) as dag:
        each.expand(source=["/a.mp4"])
        given = MosaicUploadOperator.partial(task_id="given", map_index_template=own).expand(source=["/a.mp4"])
        none = MosaicUploadOperator.partial(task_id="none", map_index_template=None).expand(source=["/a.mp4"])
    with DAG("other", schedule=None, default_args={"map_index_template": own}):
        shared = MosaicRunSensor.partial(task_id="shared").expand(run_id=["r"])
    assert dag.task_dict["each.upload"].map_index_template == own
    assert (given.map_index_template, none.map_index_template, shared.map_index_template) == (own, None, own)


def test_task_that_is_not_mapped_has_no_label() -> None:
    with DAG("dag", schedule=None):
        assert MosaicUploadOperator(task_id="upload", source="/a.mp4").map_index_template is None


def test_label_never_fails_a_task() -> None:
    with DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "[["}):
        # Its markers would make a text of the default template.
        mapped = MosaicUploadOperator.partial(task_id="odd").expand(source=["/a.mp4"])
    assert mapped.map_index_template is None
    with DAG("dag", schedule=None) as dag:
        mapped = MosaicUploadOperator.partial(task_id="upload").expand(source=["/a.mp4"])
    item = mapped.unmap({"source": "/a.mp4"})
    del item.source
    environment = dag.get_template_env()
    assert environment.from_string(LABEL_TEMPLATE).render(task=item, ti=ROW) == "3"
