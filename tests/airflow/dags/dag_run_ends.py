"""DAG runs that end while a task waits for a run."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Variable, task

from airflow_provider_mosaic.operators import MosaicRunAgentOperator


@task
def fail_when_told() -> None:
    while Variable.get("dag_run_ends_fail_now", default=None) != "yes":
        time.sleep(0.5)
    raise RuntimeError("told to fail")


ENDS: dict[str, dict[str, Any]] = {
    # Long enough for all of these tasks to wait by then.
    "timed_out": {"dagrun_timeout": timedelta(seconds=60)},
    "failed_fast": {"fail_fast": True},
}
for name, options in ENDS.items():
    for way, deferrable in {"worker": False, "deferred": True}.items():
        with DAG(f"{name}_{way}", schedule=None, **options) as made:
            MosaicRunAgentOperator(
                task_id="edit",
                agent_id="a0000000-0000-4000-8000-000000000004",
                poll_interval=1,
                deferrable=deferrable,
                retries=2,
            )
            if name == "failed_fast":
                fail_when_told()
        globals()[f"{name}_{way}"] = made
