"""A wait that begins or ends in the triggerer: it does what was asked, or the DAG is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, task_group
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import DagRun, Deferred, TaskRunner, through_airflow
from tasks.fixtures import AGENT, effects

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.sensors import MosaicRunSensor

PULLED = "{{ ti.xcom_pull(task_ids='begin', map_indexes=-1) }}"


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True, render="tiny")
    return hook.run_agent(AGENT)


def sensor(run_id: Any = "r", **options: Any) -> MosaicRunSensor:
    with DAG("dag", schedule=None):
        return MosaicRunSensor(**{"task_id": "wait", "run_id": run_id, "start_from_trigger": True, **options})


def began(task: MosaicRunSensor) -> Any:
    """The trigger as the scheduler makes it and the triggerer renders it."""
    arguments = task.start_trigger_args
    assert arguments is not None
    module, _, name = arguments.trigger_cls.rpartition(".")
    return getattr(import_module(module), name)(**through_airflow(arguments.trigger_kwargs or {}))


def event_of(trigger: Any) -> Any:
    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), 20)

    return asyncio.run(first())


@pytest.mark.parametrize("run_id", ["r-1", "{{ dag_run.conf['run_id'] }}", PULLED])
def test_what_a_triggerer_can_resolve_begins_there(run_id: str) -> None:
    task = sensor(run_id, poll_interval=timedelta(minutes=1), timeout=600)
    assert task.start_from_trigger is True
    assert task.start_trigger_args is not None
    assert task.start_trigger_args.next_method == "execute_complete"
    assert task.start_trigger_args.timeout == timedelta(minutes=10)
    trigger = began(task)
    assert (trigger.run_id, trigger.mosaic_conn_id, trigger.poll_interval) == (run_id, "mosaic_default", 60.0)
    assert trigger.cancel_on_kill is False


def test_a_wait_begun_in_the_triggerer_ends_on_a_worker_with_the_run_id(
    mosaic: Emulator, hook: MosaicHook, run_id: str
) -> None:
    mosaic.finish_run(run_id)
    event = event_of(began(sensor(run_id, poll_interval=0.05))).payload
    life = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, start_from_trigger=True))
    life.try_number = 1
    assert life.resume(Deferred("", {}, "execute_complete", {}, None), event) == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_the_output_of_another_task_is_refused_where_the_dag_is_read() -> None:
    with DAG("dag", schedule=None):
        first = MosaicRunSensor(task_id="first", run_id="r")
        with pytest.raises(MosaicValidationError, match="does not resolve the output of another task"):
            MosaicRunSensor(task_id="second", run_id=first.output, start_from_trigger=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["run_id", "mosaic_conn_id"])
def test_a_pull_without_map_indexes_is_refused_where_the_dag_is_read(name: str) -> None:
    with pytest.raises(MosaicValidationError, match=rf"(?s){name}.*map_indexes=-1"):
        sensor(**{name: "{{ ti.xcom_pull(task_ids='begin') }}"})


@pytest.mark.parametrize("name", ["run_id", "mosaic_conn_id"])
@pytest.mark.parametrize("value", [None, 5, ["r"]])
def test_what_is_no_text_is_refused_where_the_dag_is_read(name: str, value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=f"{name}=.*it must be an id as text"):
        sensor(**{name: value})


# Mapping


def in_mapped_group(make: Callable[[Any], MosaicRunSensor]) -> MosaicRunSensor:
    """The sensor of a task group that is expanded, made from what the group is given."""
    made: list[MosaicRunSensor] = []

    @task_group
    def each(item: Any) -> None:
        made.append(make(item))

    each.expand(item=["a", "b"])
    return made[0]


def test_a_dag_file_that_maps_a_start_from_the_trigger_has_an_import_error(tmp_path: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[attr-defined,no-redef]

    for name, options in {"plain": "", "mapped": "start_from_trigger=True"}.items():
        (tmp_path / f"{name}.py").write_text(
            "from airflow.sdk import DAG\n"
            "from airflow_provider_mosaic.sensors import MosaicRunSensor\n"
            f"with DAG({name!r}, schedule=None):\n"
            f"    MosaicRunSensor.partial(task_id='wait', {options}).expand(run_id=['a', 'b'])\n"
        )
    bag = DagBag(str(tmp_path), safe_mode=False)
    assert set(bag.dags) == {"plain"}
    [(path, error)] = bag.import_errors.items()
    assert path.endswith("mapped.py")
    assert "MosaicValidationError: start_from_trigger=True: " in error
    assert "Leave it out" in error


@pytest.mark.filterwarnings("ignore:Task .* was never mapped")
@pytest.mark.parametrize("given", ["to the task", "in default_args"])
@pytest.mark.parametrize(
    ("name", "value"), [("outlets", [Asset("edited")]), ("on_success_callback", lambda context: None)]
)
def test_a_mapped_task_is_refused_too_what_airflow_leaves_out_at_the_end_in_a_trigger(
    given: str, name: str, value: Any
) -> None:
    own, defaults = ({name: value}, {}) if given == "to the task" else ({}, {name: value})
    with DAG("dag", schedule=None, default_args=defaults):
        MosaicRunSensor.partial(task_id="on_a_worker", **own).expand(run_id=["a", "b"])
        with pytest.raises(MosaicValidationError, match=f"end_from_trigger=True.*{name}"):
            MosaicRunSensor.partial(task_id="wait", end_from_trigger=True, **own)


def test_a_mapped_task_may_end_in_its_trigger() -> None:
    with DAG("dag", schedule=None) as dag:
        MosaicRunSensor.partial(task_id="wait", end_from_trigger=True).expand(run_id=["a", "b"])
    assert dag.task_ids == ["wait"]


def test_an_item_of_a_mapped_task_is_refused_before_it_looks(mosaic: Emulator) -> None:
    life = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id="r", start_from_trigger=True), map_index=0)
    with pytest.raises(AirflowFailException, match=r"mapped task.*Leave it out, or set it to False"):
        life.execute()
    assert mosaic.counts().requests == {}


def test_the_argument_of_a_mapped_group_is_refused_where_the_dag_is_read() -> None:
    with DAG("dag", schedule=None), pytest.raises(MosaicValidationError, match=r"run_id.*map_indexes=ti\.map_index"):
        in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=item, start_from_trigger=True))


def test_a_template_in_a_mapped_group_begins_in_the_triggerer() -> None:
    pulled = "{{ ti.xcom_pull(task_ids='each.begin', map_indexes=ti.map_index) }}"
    with DAG("dag", schedule=None):
        made = in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=pulled, start_from_trigger=True))
    assert began(made).run_id == pulled


def test_in_a_mapped_group_it_also_begins_on_a_worker_where_airflow_has_it_begin_there(
    mosaic: Emulator, run_id: str
) -> None:
    mosaic.finish_run(run_id)
    life = TaskRunner(
        lambda: in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=run_id, start_from_trigger=True)),
        map_index=1,
    )
    assert life.execute() == run_id


# The end in the trigger


@pytest.mark.parametrize(
    ("name", "value"), [("outlets", [Asset("edited")]), ("on_success_callback", lambda context: None)]
)
def test_what_airflow_leaves_out_at_the_end_in_a_trigger_is_refused(name: str, value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=name):
        sensor(end_from_trigger=True, **{name: value})
    # A worker ends it otherwise, and sees to them.
    sensor(**{name: value})


def test_airflow_is_told_that_the_task_ends_in_its_trigger_so_that_it_can_refuse_listeners() -> None:
    assert sensor(end_from_trigger=True).end_from_trigger is True
    assert sensor().end_from_trigger is False


@pytest.mark.parametrize(
    ("status", "options", "end"),
    [
        ("completed", {}, TaskSuccessEvent),
        ("partial_complete", {}, TaskFailedEvent),
        ("partial_complete", {"on_partial": "warn"}, TaskSuccessEvent),
        ("partial_complete", {"on_partial": "fail"}, TaskFailedEvent),
        ("partial_complete", {"on_partial": "skip"}, TaskSkippedEvent),
        ("failed", {}, TaskFailedEvent),
        ("failed", {"soft_fail": True}, TaskSkippedEvent),
        ("cancelled", {}, TaskFailedEvent),
        ("partial_complete", {"on_partial": "fail", "soft_fail": True}, TaskSkippedEvent),
    ],
)
def test_the_task_ends_in_the_trigger_as_it_would_on_a_worker(
    mosaic: Emulator, run_id: str, status: str, options: dict[str, Any], end: type
) -> None:
    mosaic.finish_run(run_id, status)
    event = event_of(began(sensor(run_id, end_from_trigger=True, **options)))
    assert type(event) is end
    assert event.xcoms is None


def test_a_run_that_cannot_be_read_fails_the_task_in_the_trigger(mosaic: Emulator) -> None:
    task = sensor("no-such-run", end_from_trigger=True, poll_interval=0.05)
    assert type(event_of(began(task))) is TaskFailedEvent


def test_a_task_that_begins_on_a_worker_can_end_in_its_trigger(mosaic: Emulator, run_id: str) -> None:
    life = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, end_from_trigger=True), dag_run=DagRun())
    came = life.execute()
    assert isinstance(came, Deferred)
    mosaic.finish_run(run_id)
    assert type(event_of(came.trigger())) is TaskSuccessEvent


def test_a_task_that_neither_begins_nor_ends_in_the_triggerer_has_no_start_arguments() -> None:
    with DAG("dag", schedule=None):
        assert MosaicRunSensor(task_id="wait", run_id="r").start_trigger_args is None
