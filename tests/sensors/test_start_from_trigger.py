"""A wait that starts in the triggerer, or a DAG that is rejected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task_group
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, TaskRunner, through_airflow
from tasks.fixtures import AGENT, effects

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.sensors import MosaicRunSensor

PULLED = "{{ ti.xcom_pull(task_ids='start', map_indexes=-1) }}"


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True, render="tiny")
    return hook.run_agent(AGENT)


def sensor(run_id: Any = "r", **options: Any) -> MosaicRunSensor:
    with DAG("dag", schedule=None):
        return MosaicRunSensor(**{"task_id": "wait", "run_id": run_id, "start_from_trigger": True, **options})


def start_trigger(task: MosaicRunSensor) -> Any:
    """Return the trigger as the scheduler creates it and the triggerer renders it."""
    arguments = task.start_trigger_args
    assert arguments is not None
    module, _, name = arguments.trigger_cls.rpartition(".")
    return getattr(import_module(module), name)(**through_airflow(arguments.trigger_kwargs or {}))


def event_of(trigger: Any) -> Any:
    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), 60)

    return asyncio.run(first())


@pytest.mark.parametrize("run_id", ["r-1", "{{ dag_run.conf['run_id'] }}", PULLED])
def test_trigger_arguments(run_id: str) -> None:
    task = sensor(run_id, poll_interval=timedelta(minutes=1), timeout=600)
    assert task.start_from_trigger is True
    assert task.start_trigger_args is not None
    assert task.start_trigger_args.next_method == "execute_complete"
    assert task.start_trigger_args.timeout == timedelta(minutes=10)
    trigger = start_trigger(task)
    assert (trigger.run_id, trigger.mosaic_conn_id, trigger.poll_interval) == (run_id, "mosaic_default", 60.0)
    assert trigger.cancel_on_kill is False


def test_wait_ends_on_a_worker_with_the_run_id(mosaic: Emulator, hook: MosaicHook, run_id: str) -> None:
    mosaic.finish_run(run_id)
    event = event_of(start_trigger(sensor(run_id, poll_interval=0.05))).payload
    runner = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, start_from_trigger=True))
    runner.try_number = 1
    assert runner.resume(Deferred("", {}, "execute_complete", {}, None), event) == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_output_of_another_task_is_rejected_at_parse_time() -> None:
    with DAG("dag", schedule=None):
        first = MosaicRunSensor(task_id="first", run_id="r")
        with pytest.raises(MosaicValidationError, match="does not resolve the output of another task"):
            MosaicRunSensor(task_id="second", run_id=first.output, start_from_trigger=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["run_id", "mosaic_conn_id"])
def test_pull_without_map_indexes_is_rejected_at_parse_time(name: str) -> None:
    with pytest.raises(MosaicValidationError, match=rf"(?s){name}.*map_indexes=-1"):
        sensor(**{name: "{{ ti.xcom_pull(task_ids='start') }}"})


@pytest.mark.parametrize("name", ["run_id", "mosaic_conn_id"])
@pytest.mark.parametrize("value", [None, 5, ["r"]])
def test_value_that_is_not_text_is_rejected_at_parse_time(name: str, value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=f"{name}=.*it must be an id as text"):
        sensor(**{name: value})


# Mapping


def in_mapped_group(make: Callable[[Any], MosaicRunSensor]) -> MosaicRunSensor:
    """Return the sensor of an expanded task group, made from the group's argument."""
    made: list[MosaicRunSensor] = []

    @task_group
    def each(item: Any) -> None:
        made.append(make(item))

    each.expand(item=["a", "b"])
    return made[0]


def test_mapped_start_from_trigger_is_an_import_error(tmp_path: Path) -> None:
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


def test_item_of_a_mapped_task_fails_before_it_polls(mosaic: Emulator) -> None:
    runner = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id="r", start_from_trigger=True), map_index=0)
    with pytest.raises(AirflowFailException, match=r"mapped task.*Leave it out, or set it to False"):
        runner.execute()
    assert mosaic.counts().requests == {}


def test_argument_of_a_mapped_group_is_rejected_at_parse_time() -> None:
    with DAG("dag", schedule=None), pytest.raises(MosaicValidationError, match=r"run_id.*map_indexes=ti\.map_index"):
        in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=item, start_from_trigger=True))


def test_template_in_a_mapped_group_starts_in_the_triggerer() -> None:
    pulled = "{{ ti.xcom_pull(task_ids='each.start', map_indexes=ti.map_index) }}"
    with DAG("dag", schedule=None):
        made = in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=pulled, start_from_trigger=True))
    assert start_trigger(made).run_id == pulled


def test_task_in_a_mapped_group_can_start_on_a_worker(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    runner = TaskRunner(
        lambda: in_mapped_group(lambda item: MosaicRunSensor(task_id="wait", run_id=run_id, start_from_trigger=True)),
        map_index=1,
    )
    assert runner.execute() == run_id


def test_default_is_no_start_trigger() -> None:
    with DAG("dag", schedule=None):
        assert MosaicRunSensor(task_id="wait", run_id="r").start_trigger_args is None
