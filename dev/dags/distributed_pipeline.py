"""DAG of `make distributed`: upload, edit and download the recordings of a folder."""

# The annotations of templated arguments do not include XComArg.
# mypy: ignore-errors

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag, task, task_group

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicUploadOperator,
)


@dag(
    schedule=None,
    # The executor's parallelism is the limit, not the DAG.
    max_active_tasks=1000,
    default_args={
        "retries": 4,
        "retry_delay": timedelta(seconds=5),
        # Finish started pipelines first. Otherwise all uploads would precede the first run.
        "weight_rule": "upstream",
    },
    params={
        "agent": Param("", type="string"),
        "recordings": Param("", type="string"),
        "results": Param("", type="string"),
    },
)
def distributed_pipeline():
    @task
    def recordings(params: dict | None = None) -> list[dict[str, str]]:
        found = sorted(Path(params["recordings"]).glob("*.mp4"))
        return [{"source": str(path), "destination": f"{params['results']}/{path.stem}"} for path in found]

    @task_group
    def pipeline(source: str, destination: str):
        upload = MosaicUploadOperator(task_id="upload", source=source)
        edit = MosaicRunAgentOperator(
            task_id="edit",
            agent_id="{{ params.agent }}",
            video_ids=[upload.output],
            deferrable=True,
            poll_interval=5,
        )
        MosaicDownloadOutputsOperator(task_id="download", run_id=edit.output, destination=destination)

    pipeline.expand_kwargs(recordings())


distributed_pipeline()
