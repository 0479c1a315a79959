"""Tasks that need a manual review, and a task that resumes a run and is cleared."""

from __future__ import annotations

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import MosaicResumeRunOperator, MosaicRunAgentOperator


@dag(schedule=None, params={"agent": Param("", type="string")})
def left_to_a_person():
    MosaicRunAgentOperator(
        task_id="edit",
        agent_id="{{ params.agent }}",
        video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"],
        on_ambiguous="fail",
        deferrable=True,
        poll_interval=1,
    )


@dag(schedule=None, params={"run_id": Param("", type="string")})
def resume_a_run():
    MosaicResumeRunOperator(task_id="resume", run_id="{{ params.run_id }}", deferrable=True, poll_interval=1)


left_to_a_person()
resume_a_run()
