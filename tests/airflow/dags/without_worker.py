"""Waits that begin in the triggerer; one of them ends there too."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_mosaic.sensors import MosaicRunSensor


@dag(schedule=None, params={"run_id": ""})
def without_worker():
    """By the DAG run's conf, and by what another task has pushed."""
    wait = {"poll_interval": 2, "start_from_trigger": True, "timeout": 600}

    @task
    def begin(params: dict | None = None) -> str:
        return params["run_id"]

    pulled = MosaicRunSensor(task_id="pulled", run_id="{{ ti.xcom_pull(task_ids='begin', map_indexes=-1) }}", **wait)
    MosaicRunSensor(task_id="begins_there", run_id="{{ dag_run.conf['run_id'] }}", **wait)
    MosaicRunSensor(task_id="ends_there", run_id="{{ dag_run.conf['run_id'] }}", end_from_trigger=True, **wait)
    begin() >> pulled


without_worker()
