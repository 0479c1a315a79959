"""
### Resume failed runs, and cancel runs that hang

It lists the runs of an `agent`. It resumes failed runs that were started in the last `days`, so that only what is
missing is done again, and cancels runs that were started more than `hours` ago and are still running. Trigger it when
the cause of the failures is fixed, for example after you bought credits.

What is done again costs credits; Mosaic does not document how many. The DAG uses the connection `mosaic_default`.
"""

from typing import Any

from airflow.sdk import Param, dag, task
from pendulum import now

from airflow_provider_mosaic.hooks import MosaicHook
from airflow_provider_mosaic.operators import MosaicCancelRunOperator, MosaicResumeRunOperator


@dag(
    schedule=None,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={
        "agent": Param(type="string"),
        "days": Param(1, type="number", minimum=0),
        "hours": Param(12, type="number", minimum=0),
    },
)
def mosaic_resume_failed_runs() -> None:
    @task
    def failed(**context: Any) -> list[str]:
        params = context["params"]
        since = now("UTC").subtract(seconds=round(params["days"] * 86400))
        return [run.run_id for run in MosaicHook().list_runs(params["agent"], status="failed", created_from=since)]

    @task
    def hanging(**context: Any) -> list[str]:
        params = context["params"]
        until = now("UTC").subtract(seconds=round(params["hours"] * 3600))
        return [run.run_id for run in MosaicHook().list_runs(params["agent"], status="running", created_to=until)]

    cancel = MosaicCancelRunOperator.partial(task_id="cancel").expand(run_id=hanging())
    # A run that fails again does not block the others. If no run hangs, "cancel" is skipped, and "resume" runs anyway.
    # Ten runs at a time. Airflow 3.1 does not count deferred tasks: there, use a pool with "include deferred" instead.
    resume = MosaicResumeRunOperator.partial(
        task_id="resume", deferrable=True, max_active_tis_per_dagrun=10, trigger_rule="none_failed"
    )
    cancel >> resume.expand(run_id=failed())


mosaic_resume_failed_runs()
