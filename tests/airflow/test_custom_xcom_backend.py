"""The link of a task with XComs in object storage. Needs a separate Airflow, which takes 30 s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

pytestmark = pytest.mark.airflow

BACKEND = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
DAG_ID = "edit_on_a_worker"
DAG = """
from airflow.sdk import DAG

from airflow_provider_mosaic.tasks import reporting
from airflow_provider_mosaic.operators import MosaicRunAgentOperator

reporting._API_HOST = "127.0.0.1"  # treat the emulator like Mosaic, whose agents have pages in the editor

with DAG("edit_on_a_worker", schedule=None):
    MosaicRunAgentOperator(
        task_id="edit",
        agent_id="a0000000-0000-4000-8000-000000000004",
        deferrable=False,
        poll_interval=1,
    )
"""


@pytest.fixture(scope="module")
def airflow_with_object_storage(folder: Path, mosaic_process: Emulator) -> Iterator[AirflowInstance]:
    """Run an Airflow whose XCom backend stores all values in object storage."""
    file = folder / "edit_on_a_worker.py"
    file.write_text(DAG)
    instance = AirflowInstance(
        folder / "airflow-elsewhere",
        dags=[file],
        environment={
            "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic_process.airflow_connection(),
            "AIRFLOW__CORE__XCOM_BACKEND": BACKEND,
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{folder}/xcoms",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
        },
    )
    with instance:
        yield instance


def test_link_points_to_the_agent_during_and_after_the_task(
    airflow_with_object_storage: AirflowInstance, mosaic: Emulator, folder: Path
) -> None:
    airflow = airflow_with_object_storage
    mosaic.configure(hold_runs=True)
    run_id = airflow.trigger(DAG_ID)
    poll(lambda: mosaic.runs() or None, timeout=90, what="the run has started")

    def link() -> str | None:
        return airflow.rest.links(DAG_ID, run_id, "edit").get("Mosaic")

    seen = poll(link, timeout=30, what="the link is there")
    assert seen.startswith("https://edit.mosaic.so/agents/")
    assert airflow.rest.task_instance(DAG_ID, run_id, "edit").state == "running"
    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert link() == seen
    # All other XComs are in object storage.
    assert [path for path in (folder / "xcoms").rglob("*") if path.is_file()]
