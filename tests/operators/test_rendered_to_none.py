"""Arguments that rendered to None in Airflow's task runner: nothing is paid or posted without them."""

from __future__ import annotations

import inspect
import os
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.fixtures import AGENT, START, effects, nothing_was_done
from tasks.task_runs import LATE, rendered, run_task

from airflow_provider_mosaic import operators
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook


@pytest.fixture(scope="module")
def dags(dag_test_api: None) -> Iterator[dict[str, Any]]:
    """Return the contents of the DAG file, by name."""
    from airflow.utils.db import initdb

    initdb()
    file = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "rendered_to_none.py"
    file.parent.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "dags" / file.name, file)
    yield runpy.run_path(str(file))
    file.unlink()


def ends(run: Any, cases: dict[str, Any]) -> dict[str, str]:
    """Return how the task ended in each case, a mapped task once."""
    acts = [ti for ti in run.get_task_instances() if ti.task_id.endswith(".act")]
    states = {ti.task_id.partition(".")[0]: str(ti.state) for ti in acts}
    return {name: states[f"case_{number}"] for number, name in enumerate(cases)}


# Airflow runs DAGs with a task or two for each case: some five seconds.
@pytest.mark.parametrize(("dag", "cases"), [("refused", "REFUSED"), ("natively_refused", "NATIVELY_REFUSED")])
def test_none_is_rejected_by_name_and_nothing_is_sent(
    dags: dict[str, Any],
    mosaic: Emulator,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    dag: str,
    cases: str,
) -> None:
    run = dags[dag].test()
    assert ends(run, dags[cases]) == dict.fromkeys(dags[cases], "failed")
    assert nothing_was_done(mosaic)
    assert set(rejections(caplog, capfd)) == {re.sub("_(of|by)_.*", "", name) for name in dags[cases]}


def rejections(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the advice by rejected argument."""
    pattern = r"MosaicValidationError: (\S+?)=\S+ *\S*: it rendered to an empty value\. Nothing was sent\. (.*)"
    return dict(re.findall(pattern, caplog.text + "".join(capfd.readouterr())))


def test_written_none_means_none(dags: dict[str, Any], mosaic: Emulator) -> None:
    run = dags["taken"].test()
    assert ends(run, dags["TAKEN"]) == dict.fromkeys(dags["TAKEN"], "success")
    assert effects(mosaic) == {"runs_started": len(dags["TAKEN"])}


def test_callback_that_rendered_to_none_is_not_removed(
    dags: dict[str, Any], mosaic: Emulator, hook: MosaicHook
) -> None:
    hook.add_youtube_channels(AGENT, ["@demo"], trigger_callback_url="https://example.com/hook")
    dags["callback"].test()
    assert hook.list_triggers(AGENT)[0].callback_url == "https://example.com/hook"


def test_null_of_a_definition_is_a_value(dags: dict[str, Any], mosaic: Emulator) -> None:
    run = dags["null_of_a_definition"].test()
    assert {str(ti.state) for ti in run.get_task_instances()} == {"success"}


def test_reference_keeps_its_text_under_native_rendering(dags: dict[str, Any], mosaic: Emulator) -> None:
    dags["texts"].test()
    bodies = [request["body"] for request in mosaic.requests() if request["template"] == "/social/post"]
    assert sorted(body["post"] for body in bodies) == sorted(dags["TEXTS"])


# The optional arguments


# Two DAGs with a task or two for each case: some five seconds each.
@pytest.mark.parametrize("dag", ["optional", "natively_optional"])
def test_optional_argument_is_left_out(dags: dict[str, Any], mosaic: Emulator, dag: str) -> None:
    run = dags[dag].test()
    assert ends(run, dags["OPTIONAL"]) == dict.fromkeys(dags["OPTIONAL"], "success")
    bodies = [request["body"] or {} for request in mosaic.requests() if request["template"] == START]
    assert len(bodies) == len(dags["OPTIONAL"])
    for body in bodies:
        assert body.keys() <= {"update_params"}
        assert body.get("update_params", {dags["NODE"]: {"number": 1}}) == {dags["NODE"]: {"number": 1}}


def test_argument_that_is_not_optional_is_rejected(
    dags: dict[str, Any], mosaic: Emulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    run = dags["not_optional"].test()
    assert ends(run, dags["NOT_OPTIONAL"]) == dict.fromkeys(dags["NOT_OPTIONAL"], "failed")
    assert nothing_was_done(mosaic)
    rejected = rejections(caplog, capfd)
    assert rejected.keys() == dags["NOT_OPTIONAL"].keys()
    for place, advice in rejected.items():
        assert f"optional=[{place!r}]" in advice
        assert "an empty parameter of the DAG run" in advice


@pytest.mark.parametrize("rendered", [None, "None", ""])
def test_optional_argument_is_left_out_after_a_deferral(mosaic: Emulator, rendered: str | None) -> None:
    # Airflow renders the templates again in each process.
    options = {"min_credits": rendered, "callback_url": rendered, "optional": ["callback_url", "min_credits"], **LATE}
    task = run_task(StateStore(), deferrable=True, **options)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    mosaic.configure(hold_runs=True)
    held = run_task(StateStore(), deferrable=True, **options)
    held.execute()
    with pytest.raises(Exception, match="time"):
        held.on_timeout()
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}


def test_optional_callback_is_kept(dags: dict[str, Any], mosaic: Emulator, hook: MosaicHook) -> None:
    hook.add_youtube_channels(AGENT, ["@demo"], trigger_callback_url="https://example.com/hook")
    assert [str(ti.state) for ti in dags["left"].test().get_task_instances()] == ["success"]
    assert hook.list_triggers(AGENT)[0].callback_url == "https://example.com/hook"


def test_post_with_an_empty_optional_schedule_is_published_now(dags: dict[str, Any], mosaic: Emulator) -> None:
    dags["post_of_now"].test()
    [body] = [request["body"] for request in mosaic.requests() if request["template"] == "/social/post"]
    assert body == {"post": "New episode", "platforms": ["youtube"]}


def test_default_filenames_for_an_empty_optional_template(
    dags: dict[str, Any], mosaic: Emulator, hook: MosaicHook, tmp_path: Path
) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    dags["files"].test(run_conf={"run": run_id, "folder": str(tmp_path)})
    assert {path.name for path in tmp_path.iterdir()} >= {f"{output_ids[0]}.mp4"}


# Parsing the DAG

OPERATORS = [getattr(operators, name) for name in operators.__all__]
#: The arguments that decide what is paid or published.
REQUIRED = {
    "agent_id", "run_id", "post_id", "video_urls", "video_ids", "node_render_ids", "mimir_assets", "video_inputs",
    "text", "social_connection_ids", "platforms", "media_urls", "source", "destination", "definition", "name",
    "video_url", "image_url", "audio_url", "video_id", "image_id", "audio_id", "youtube_channels", "filter_options",
    "mosaic_conn_id",
}  # fmt: skip


@pytest.mark.parametrize("kind", OPERATORS)
def test_every_templated_argument_is_optional_or_required(kind: Any) -> None:
    may = {name for name in kind.template_fields if name not in REQUIRED}
    parameters = inspect.signature(inspect.unwrap(kind.__init__)).parameters
    assert dict(kind._may_be_empty) == {name: parameters[name].default for name in may}


@pytest.mark.parametrize("kind", OPERATORS)
def test_required_arguments_cannot_be_optional(kind: Any) -> None:
    for name in {*kind.template_fields, "nonsense", "durable"} - set(kind._may_be_empty):
        for place in (name, f"{name}['x']", [name], [5], 5):
            with pytest.raises(MosaicValidationError, match="optional="):
                kind.partial(task_id="task", optional=place)
    needed = LATE | {
        parameter.name: "x"
        for parameter in inspect.signature(inspect.unwrap(kind.__init__)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    with pytest.raises(MosaicValidationError, match=r"optional='mosaic_conn_id'.*These can be optional: "):
        kind(task_id="task", **needed, optional=["mosaic_conn_id"])
    assert kind(task_id="task", **needed, optional=list(kind._may_be_empty)).optional == tuple(kind._may_be_empty)
