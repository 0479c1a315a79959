"""A run of an agent with short retry delays, with a good and a wrong key."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import MosaicRunAgentOperator


@dag(
    schedule=None,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=3)},
    params={"agent": Param(type="string")},
)
def edit_with_retries():
    MosaicRunAgentOperator(
        task_id="edit",
        agent_id="{{ params.agent }}",
        video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"],
        deferrable=True,
        poll_interval=1,
    )


edit_with_retries()
