"""
### Edit one recording

Trigger the DAG with a `recording` (a path, an object storage URI like `s3://...`, or a URL), the id of the `agent` that
edits it, and a folder for the `results`. The run costs credits. The DAG uses the connection `mosaic_default`.
"""

from airflow.sdk import dag

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicUploadOperator,
)

AGENT = "a0000000-0000-4000-8000-000000000001"  # the emulator's


@dag(
    doc_md=__doc__,
    default_args={"retries": 2},
    params={"recording": "/tmp/talk.mp4", "agent": AGENT, "results": "/tmp/edited"},
)
def mosaic_quick_start() -> None:
    video = MosaicUploadOperator(task_id="upload", source="{{ params.recording }}")
    run = MosaicRunAgentOperator(
        task_id="edit", agent_id="{{ params.agent }}", video_ids=[video.output], deferrable=True
    )
    MosaicDownloadOutputsOperator(task_id="download", run_id=run.output, destination="{{ params.results }}")


mosaic_quick_start()
