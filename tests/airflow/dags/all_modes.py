"""All tasks of the pipeline in both modes, and their failures, for the search for secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor

PARAMS = {
    "agent": Param("", type="string"),
    "source": Param("", type="string"),
    "destination": Param("", type="string"),
    "run_id": Param("", type="string"),
}
MOSAIC = {"mosaic_conn_id": "marked"}
EDIT: dict[str, Any] = {"agent_id": "{{ params.agent }}", "poll_interval": 1, **MOSAIC}
POST: dict[str, Any] = {"platforms": ["tiktok"], "wait_for_completion": True, "poll_interval": 1, **MOSAIC}
VIDEO = ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]


@dag(schedule=None, params=PARAMS)
def all_modes():
    upload = MosaicUploadOperator(task_id="upload", source="{{ params.source }}", **MOSAIC)
    download_from = []
    for mode in ("worker", "deferred"):
        deferrable = mode == "deferred"
        edit = MosaicRunAgentOperator(
            task_id=f"edit_{mode}", video_ids=["{{ ti.xcom_pull('upload') }}"], deferrable=deferrable, **EDIT
        )
        MosaicRunSensor(
            task_id=f"watch_{mode}",
            run_id="{{ params.run_id }}",
            deferrable=deferrable,
            poll_interval=1,
            **MOSAIC,
        )
        post = MosaicSocialPostOperator(
            task_id=f"post_{mode}", text=f"From a {mode}", run_id=edit.output, deferrable=deferrable, **POST
        )
        upload >> edit >> post
        download_from.append(edit)
    download = MosaicDownloadOutputsOperator(
        task_id="download", run_id=download_from[0].output, destination="{{ params.destination }}", **MOSAIC
    )
    download_from >> download


@dag(schedule=None, params=PARAMS, default_args={"retries": 1, "retry_delay": timedelta(seconds=1)})
def every_failure():
    MosaicUploadOperator(task_id="upload", source="{{ params.source }}", **MOSAIC)
    for mode in ("worker", "deferred"):
        deferrable = mode == "deferred"
        MosaicRunAgentOperator(task_id=f"edit_{mode}", video_urls=VIDEO, deferrable=deferrable, **EDIT)
        MosaicSocialPostOperator(
            task_id=f"post_{mode}", text=f"Late from a {mode}", run_id="{{ params.run_id }}", deferrable=deferrable,
            **POST,
        )  # fmt: skip
    MosaicDownloadOutputsOperator(
        task_id="download", run_id="{{ params.run_id }}", destination="{{ params.destination }}", **MOSAIC
    )
    MosaicRunSensor(task_id="watch_wrong_key", run_id="{{ params.run_id }}", mosaic_conn_id="marked_wrong")


all_modes()
every_failure()
