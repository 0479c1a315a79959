"""Tasks whose pages the browser opens."""

from __future__ import annotations

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import (
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)


@dag(schedule=None, params={name: Param(type="string") for name in ("recording", "agent")})
def edit_recording() -> None:
    video = MosaicUploadOperator(task_id="upload", source="{{ params.recording }}")
    MosaicRunAgentOperator(
        task_id="edit",
        agent_id="{{ params.agent }}",
        video_ids=[video.output],
        poll_interval=1,
        deferrable=True,
        on_partial="warn",
    )


@dag(schedule=None)
def edit_many() -> None:
    MosaicRunAgentOperator.partial(
        task_id="edit", agent_id="a0000000-0000-4000-8000-000000000004", poll_interval=1, deferrable=True
    ).expand(update_params=[{}] * 6)


@dag(schedule=None, params={"agent": Param(type="string")})
def generate() -> None:
    MosaicRunAgentOperator(task_id="edit", agent_id="{{ params.agent }}", poll_interval=1, deferrable=True)


@dag(schedule=None, params={"run": Param(type="string")})
def publish() -> None:
    MosaicSocialPostOperator(
        task_id="post",
        text="The keynote, in one minute",
        social_connection_ids=[
            "c0000000-0000-4000-8000-000000000001",
            "c0000000-0000-4000-8000-000000000002",
            "c0000000-0000-4000-8000-000000000005",
        ],
        run_id="{{ params.run }}",
        wait_for_completion=True,
        poll_interval=1,
        deferrable=True,
        on_partial="warn",
    )


edit_recording()
edit_many()
generate()
publish()
