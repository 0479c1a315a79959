"""For `benchmarks/latency.py`: ways to wait, beside Airflow's own deferrable sensor for a moment in time."""

# The operators' templated arguments take XComArgs and None, which their annotations do not say.
# mypy: ignore-errors

from __future__ import annotations

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import Param, dag, task

from airflow_provider_mosaic.sensors import MosaicRunSensor

POLL_INTERVAL = 10


@dag(schedule=None, max_active_tasks=100, params={"runs": Param([], type="array"), "moments": Param([], type="array")})
def waiting_for_many():
    """Many runs and many moments."""

    @task
    def runs(params: dict | None = None) -> list[str]:
        return params["runs"]

    @task
    def moments(params: dict | None = None) -> list[str]:
        return params["moments"]

    MosaicRunSensor.partial(task_id="run", deferrable=True, poll_interval=POLL_INTERVAL).expand(run_id=runs())
    DateTimeSensorAsync.partial(task_id="moment").expand(target_time=moments())


@dag(schedule=None, params={"run": "", "ended": "", "moment": ""})
def waiting_for_one():
    """One run, in every way to wait."""
    ways = {"run_id": "{{ params.run }}", "poll_interval": POLL_INTERVAL}
    MosaicRunSensor(task_id="poking", deferrable=False, mode="poke", **ways)
    MosaicRunSensor(task_id="rescheduling", deferrable=False, mode="reschedule", **ways)
    MosaicRunSensor(task_id="deferring", deferrable=True, **ways)
    MosaicRunSensor(task_id="already_ended", deferrable=True, **{**ways, "run_id": "{{ params.ended }}"})
    # In the triggerer only what the DAG run was given is known.
    ways["run_id"] = "{{ dag_run.conf['run'] }}"
    MosaicRunSensor(task_id="starting_there", start_from_trigger=True, **ways)
    DateTimeSensorAsync(task_id="airflows_own", target_time="{{ params.moment }}")


waiting_for_many()
waiting_for_one()
