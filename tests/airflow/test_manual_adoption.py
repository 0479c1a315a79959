"""A task whose start is unclear adopts the run that the user names by the command of its log."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest
from airflow.sdk import Context
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

from airflow_provider_mosaic.airflow_compat import has_provider_commands

pytestmark = pytest.mark.airflow

DAG_ID = "left_to_a_person"
REMEMBERS = "task_state_store" in Context.__annotations__
HAS_PROVIDER_COMMANDS = has_provider_commands()


def test_task_adopts_the_run_of_the_variable(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.inject("response_lost", method="POST", path="/agent/{agent_id}/run")
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"
    log = airflow.rest.task_log(DAG_ID, run_id, "edit")
    assert "MosaicAmbiguousOutcomeError" in log
    ours = mosaic.runs()[0]["run_id"]
    said = re.search(r"set the Airflow Variable '([^']+)' to (\{[^}]*\}) and clear this task", log)
    assert said is not None
    assert json.loads(said[2]) == {run_id: ours}

    adopt = re.search(r"  (airflow mosaic|python -m airflow_provider_mosaic)( runs adopt .*)", log)
    assert adopt is not None
    assert (adopt[1] == "airflow mosaic") == HAS_PROVIDER_COMMANDS
    modules = ["airflow", "mosaic"] if HAS_PROVIDER_COMMANDS else ["airflow_provider_mosaic"]
    done = subprocess.run(
        [airflow.python, "-m", *modules, *shlex.split(adopt[2])],
        env=airflow.environment,
        cwd=airflow.home,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"names run '{ours}'" in done.stdout
    airflow.rest.clear(DAG_ID, run_id, ["edit"])
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert airflow.rest.xcom(DAG_ID, run_id, "edit") == ours
    assert mosaic.counts().runs_started == 1

    # The Variable still exists. After an adoption, another clear starts a new run.
    airflow.rest.clear(DAG_ID, run_id, ["edit"])
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert (airflow.rest.xcom(DAG_ID, run_id, "edit") == ours) == (not REMEMBERS)
    assert mosaic.counts().runs_started == (2 if REMEMBERS else 1)
    # Like the UI, through the API.
    airflow.rest.set_variable(said[1], "no JSON at all")
    airflow.rest.clear(DAG_ID, run_id, ["edit"])
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"
    assert mosaic.counts().runs_started == (2 if REMEMBERS else 1)
