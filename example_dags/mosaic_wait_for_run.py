"""
### Download the results of a run that was started elsewhere

Trigger the DAG with the id of the run and a folder. The sensor waits in the triggerer, holds no worker, and never
cancels the run. It starts no run; Mosaic documents no cost of reading. The DAG uses the connection `mosaic_default`.
"""

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator
from airflow_provider_mosaic.sensors import MosaicRunSensor


@dag(
    schedule=None,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={
        "run_id": Param(type="string", title="Run", description="The id of the run to wait for"),
        "results": Param(type="string", title="Results", description="The folder for the edited files"),
    },
)
def mosaic_wait_for_run() -> None:
    finished = MosaicRunSensor(
        task_id="wait", run_id="{{ params.run_id }}", deferrable=True, timeout=timedelta(hours=12).total_seconds()
    )
    MosaicDownloadOutputsOperator(task_id="download", run_id=finished.output, destination="{{ params.results }}")


mosaic_wait_for_run()
