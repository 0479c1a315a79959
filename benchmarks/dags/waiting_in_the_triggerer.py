"""For `benchmarks/waits_triggerer.py`: the wait that the benchmark copies."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_mosaic.sensors import MosaicRunSensor


@dag(schedule=None)
def one_of_many():
    """Wait for one run."""
    MosaicRunSensor(task_id="wait", run_id="{{ dag_run.conf['run_id'] }}", deferrable=True, timeout=7 * 86_400)


one_of_many()
