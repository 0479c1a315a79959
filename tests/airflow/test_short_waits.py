"""Runs that end as soon as a task is deferred: Airflow takes none of the tasks for failed."""

from __future__ import annotations

import pytest

from airflow_provider_mosaic.emulator import Emulator
from dev.airflow_instance import AirflowInstance

pytestmark = pytest.mark.airflow


def test_a_run_that_ends_at_once_fails_no_task(airflow: AirflowInstance, mosaic: Emulator) -> None:
    # Longer than a worker's look, shorter than the heartbeats by which its supervisor notices the deferral.
    mosaic.configure(speed=1.0, node_seconds=1.0)
    run_id = airflow.trigger("short_waits")
    assert airflow.wait_for_dag_run("short_waits", run_id, timeout=180).state == "success"
    assert mosaic.counts().runs_started == 16
