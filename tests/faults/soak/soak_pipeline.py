"""The DAG of the soak test: upload, run, download and post for each recording."""

# The operators' templated arguments take XComArgs, which their annotations do not say.
# mypy: ignore-errors

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task, task_group

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)


@dag(
    schedule=None,
    max_active_runs=10,
    max_active_tasks=16,
    default_args={"retries": 8, "retry_delay": timedelta(seconds=2)},
    params={"agent": Param("", type="string"), "recordings": Param([], type="array")},
)
def soak_pipeline():
    @task
    def recordings(params: dict | None = None) -> list[dict[str, str]]:
        return params["recordings"]

    @task_group
    def pipeline(source: str, name: str, destination: str):
        upload = MosaicUploadOperator(task_id="upload", source=source)
        edit = MosaicRunAgentOperator(
            task_id="edit",
            agent_id="{{ params.agent }}",
            video_ids=[upload.output],
            deferrable=True,
            poll_interval=3,
        )
        download = MosaicDownloadOutputsOperator(task_id="download", run_id=edit.output, destination=destination)
        post = MosaicSocialPostOperator(task_id="post", text=name, platforms=["tiktok"], run_id=edit.output)
        download >> post

    pipeline.expand_kwargs(recordings())


soak_pipeline()
