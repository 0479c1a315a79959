"""A failing run in each mode of waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator
from airflow_provider_mosaic.sensors import MosaicRunSensor

VIDEO = ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]
EDIT: dict[str, Any] = {"agent_id": "{{ params.agent }}", "poll_interval": 1}


@dag(schedule=None, params={"agent": Param("", type="string"), "run_id": Param("", type="string")})
def on_call():
    MosaicRunAgentOperator(
        task_id="worker", video_urls=VIDEO, deferrable=False, retries=1, retry_delay=timedelta(seconds=1), **EDIT
    )
    MosaicRunAgentOperator(task_id="deferred", video_urls=VIDEO, deferrable=True, **EDIT)
    MosaicRunAgentOperator.partial(task_id="mapped", deferrable=True, **EDIT).expand(video_urls=[VIDEO, VIDEO])
    for mode in ("worker", "deferred"):
        MosaicRunSensor(
            task_id=f"watch_{mode}", run_id="{{ params.run_id }}", deferrable=mode == "deferred", poll_interval=1
        )
    MosaicSocialPostOperator(task_id="post", text="Hello", platforms=["youtube"], run_id="{{ params.run_id }}")


on_call()
