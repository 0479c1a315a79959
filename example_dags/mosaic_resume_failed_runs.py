"""
### Resume the runs that failed, and end those that hang

It looks at the runs of an `agent`, whoever started them. Those that failed since `days` ago are resumed: only what is
missing is done again. Those that have been going on for more than `hours` are cancelled. Trigger it when the cause of
the failures is gone, like too few credits. What a resume costs is not documented: expect credits for what is done
again. It uses the connection `mosaic_default`.
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

    end = MosaicCancelRunOperator.partial(task_id="cancel").expand(run_id=hanging())
    # A run that can't be resumed, or fails again, holds up no other. Where none hangs, "cancel" is skipped.
    resume = MosaicResumeRunOperator.partial(
        task_id="resume", deferrable=True, max_active_tis_per_dagrun=10, trigger_rule="none_failed"
    )
    end >> resume.expand(run_id=failed())


mosaic_resume_failed_runs()
