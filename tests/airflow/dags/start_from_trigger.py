"""Sensors that start in the triggerer, also in a mapped task group."""

from __future__ import annotations

from airflow.sdk import TaskGroup, dag, task, task_group

from airflow_provider_mosaic.sensors import MosaicRunSensor


@dag(schedule=None, params={"run_id": ""})
def start_from_trigger():
    """Wait for the runs in the conf and in an XCom."""
    wait = {"poll_interval": 2, "start_from_trigger": True, "timeout": 600}

    @task
    def start(params: dict | None = None) -> str:
        return params["run_id"]

    pulled = MosaicRunSensor(task_id="pulled", run_id="{{ ti.xcom_pull(task_ids='start', map_indexes=-1) }}", **wait)
    MosaicRunSensor(task_id="starts_there", run_id="{{ dag_run.conf['run_id'] }}", **wait)
    start() >> pulled


start_from_trigger()


@dag(schedule=None, default_args={"retries": 1})
def mapped_waits():
    """A task in a mapped group can start in the triggerer. A mapped task cannot."""
    wait = {"poll_interval": 2, "timeout": 600}

    @task
    def runs(dag_run=None) -> list[str]:
        return dag_run.conf["runs"]

    @task
    def orders(dag_run=None) -> list[dict]:
        return [{"run_id": run_id, "start_from_trigger": True} for run_id in dag_run.conf["runs"]]

    @task_group
    def each(item):
        @task
        def start(item) -> str:
            return item

        pulled = "{{ ti.xcom_pull(task_ids='each.start', map_indexes=ti.map_index) }}"
        start(item) >> MosaicRunSensor(task_id="starts_there", run_id=pulled, start_from_trigger=True, **wait)

    each.expand(item=runs())
    # The DAG file does not show that these start in the triggerer.
    MosaicRunSensor.partial(task_id="expanded", **wait).expand(run_id=["a"], start_from_trigger=[True])
    MosaicRunSensor.partial(task_id="ordered", **wait).expand_kwargs(orders())
    with TaskGroup("by_default", default_args={"start_from_trigger": True}):
        MosaicRunSensor.partial(task_id="wait", **wait).expand(run_id=["a"])


mapped_waits()
