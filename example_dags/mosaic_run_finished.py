"""
### Fetch the results of every run of an agent, whoever started it

It starts by itself when a run of the agent ends well that a person started in the editor, a YouTube channel, another
program, or another DAG. Nothing has to be reachable from outside: Airflow's triggerer looks at the agent's runs, with
two requests a minute. An event holds all runs that ended since the last poll, and a DAG run may get several events;
each run is fetched by a task of its own, and what was fetched already is not fetched again.

It starts no run; Mosaic documents no cost of reading. Set the agent below; it uses the connection `mosaic_default` and
the variable `mosaic_results`: the folder, or object storage prefix, for the results.
"""

from datetime import datetime
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator

AGENT = "a0000000-0000-4000-8000-000000000004"  # of the local Mosaic: yours is in the address of the editor
ENDED_WELL = finished_runs(AGENT, status=["completed", "partial_complete"])


@dag(
    schedule=[ENDED_WELL],
    # What was told while the DAG was off comes with the next event, also from Airflow 3.4 on.
    start_date=datetime(2026, 1, 1),
    catchup=True,
    is_paused_upon_creation=True,  # it begins to watch when it is turned on
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
)
def mosaic_run_finished() -> None:
    @task
    def ended(**context: Any) -> list[str]:
        events = context["triggering_asset_events"][ENDED_WELL]
        payloads = [event.extra.get("payload", {}) for event in events]
        return sorted({run["run_id"] for payload in payloads for run in payload.get("runs", [])})

    MosaicDownloadOutputsOperator.partial(
        task_id="download", destination="{{ var.value.mosaic_results }}", filename="{run_id}/{output_id}{suffix}"
    ).expand(run_id=ended())


mosaic_run_finished()
