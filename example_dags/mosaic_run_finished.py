"""
### Download the results of every run of an agent

The DAG starts when a run of the agent ends with outputs, also if it was started in the editor, by a YouTube channel, by
another program, or by another DAG. Nothing has to be reachable from outside: Airflow's triggerer polls the agent's
runs, with two requests a minute. An event contains all runs that ended since the last poll, and a DAG run can get
several events. Each run is downloaded by its own mapped task, which skips files that are complete.

It starts no run; Mosaic documents no cost of reading. Set the agent below. The DAG uses the connection `mosaic_default`
and the variable `mosaic_results`: the folder, or object storage prefix, for the results.
"""

from datetime import datetime
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator

AGENT = "a0000000-0000-4000-8000-000000000004"  # an agent of the emulator
FINISHED = finished_runs(AGENT, status=["completed", "partial_complete"])


@dag(
    schedule=[FINISHED],
    # On Airflow 3.4 and newer, these two deliver events that were saved while the DAG was paused.
    start_date=datetime(2026, 1, 1),
    catchup=True,
    is_paused_upon_creation=True,  # the watcher starts when the DAG is unpaused
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
)
def mosaic_run_finished() -> None:
    @task
    def run_ids(**context: Any) -> list[str]:
        events = context["triggering_asset_events"][FINISHED]
        payloads = [event.extra.get("payload", {}) for event in events]
        return sorted({run["run_id"] for payload in payloads for run in payload.get("runs", [])})

    MosaicDownloadOutputsOperator.partial(
        task_id="download", destination="{{ var.value.mosaic_results }}", filename="{run_id}/{output_id}{suffix}"
    ).expand(run_id=run_ids())


mosaic_run_finished()
