"""The DAGs of test_in_task_runner.py: Airflow takes them only from its DAG folder."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task, task_group

from airflow_provider_mosaic.operators import (
    MosaicCancelRunOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicDownloadOutputsOperator,
    MosaicPostAnalyticsOperator,
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
    MosaicYouTubeTriggerOperator,
)
from airflow_provider_mosaic.sensors import (
    MosaicAvatarProfileSensor,
    MosaicCreditsSensor,
    MosaicRunSensor,
    MosaicSocialPostSensor,
)

OUT_OF_NOTHING = "a0000000-0000-4000-8000-000000000004"
SHORTS = "a0000000-0000-4000-8000-000000000001"
NODE = "b0000004-0000-4000-8000-000000000002"


def pipeline(name: str, deferrable: bool) -> DAG:
    common = {"poll_interval": 0.05, "deferrable": deferrable}
    with DAG(name, schedule=None) as dag:
        upload = MosaicUploadOperator(task_id="upload", source="{{ dag_run.conf['film'] }}")
        run = MosaicRunAgentOperator(
            task_id="run", agent_id=SHORTS, video_ids="{{ [ti.xcom_pull(task_ids='upload')] }}", **common
        )
        wait = MosaicRunSensor(task_id="wait", run_id=run.output, **common)
        fetch = MosaicDownloadOutputsOperator(
            task_id="fetch",
            run_id="{{ ti.xcom_pull(task_ids='wait') }}",
            destination="{{ dag_run.conf['destination'] }}",
        )
        post = MosaicSocialPostOperator(
            task_id="post",
            text="{{ ti.xcom_pull(task_ids='run', key='status') }}",
            platforms=["youtube"],
            run_id=run.output,
            output_ids="{{ ti.xcom_pull(task_ids='run', key='output_ids') }}",
            wait_for_completion=True,
            **common,
        )
        upload >> run >> wait >> fetch >> post
    return dag


def mapped(name: str, deferrable: bool) -> DAG:
    with DAG(name, schedule=None) as dag:
        MosaicRunAgentOperator.partial(
            task_id="run", agent_id=OUT_OF_NOTHING, poll_interval=0.05, deferrable=deferrable
        ).expand(update_params=[{NODE: {"number": number}} for number in range(3)])
    return dag


def named(name: str) -> DAG:
    films = [f"{{{{ dag_run.conf['folder'] }}}}/{film}.mp4" for film in ("a", "b")]

    @task_group
    def each(source: Any) -> None:
        MosaicUploadOperator(task_id="upload", source=source)

    with DAG(name, schedule=None) as dag:
        MosaicUploadOperator.partial(task_id="upload").expand(source=films)
        each.expand(source=films)
    return dag


def the_rest(name: str, deferrable: bool) -> DAG:
    common = {"poll_interval": 0.05, "deferrable": deferrable}
    with DAG(name, schedule=None) as dag:
        enough = MosaicCreditsSensor(task_id="enough", min_credits="{{ 100 }}", **common)
        avatar = MosaicCreateAvatarProfileOperator(
            task_id="avatar", name="Host of {{ dag.dag_id }}", video_url="https://cdn.example.org/host.mp4"
        )
        ready = MosaicAvatarProfileSensor(task_id="ready", avatar_profile_id=avatar.output, **common)
        run = MosaicRunAgentOperator(
            task_id="run", agent_id=OUT_OF_NOTHING, wait_for_completion=False, min_credits=enough.output
        )
        cancel = MosaicCancelRunOperator(task_id="cancel", run_id=run.output)
        resume = MosaicResumeRunOperator(task_id="resume", run_id=cancel.output, **common)
        channels = MosaicYouTubeTriggerOperator(
            task_id="channels", agent_id=OUT_OF_NOTHING, youtube_channels="{{ ['@demo'] }}"
        )
        post = MosaicSocialPostOperator(task_id="post", text="Hello", platforms=["youtube"])
        out = MosaicSocialPostSensor(task_id="out", post_id=post.output, **common)
        metrics = MosaicPostAnalyticsOperator(task_id="metrics", post_id=out.output)
        ready >> run >> cancel >> resume >> channels >> post >> out >> metrics
    return dag


pipeline_on_worker = pipeline("pipeline_on_worker", deferrable=False)
pipeline_deferrable = pipeline("pipeline_deferrable", deferrable=True)
mapped_on_worker = mapped("mapped_on_worker", deferrable=False)
mapped_deferrable = mapped("mapped_deferrable", deferrable=True)
the_rest_on_worker = the_rest("the_rest_on_worker", deferrable=False)
the_rest_deferrable = the_rest("the_rest_deferrable", deferrable=True)

with DAG("retried", schedule=None) as retried:
    MosaicRunAgentOperator(
        task_id="run", agent_id=OUT_OF_NOTHING, retries=1, retry_delay=timedelta(0), poll_interval=0.05
    )
named_rows = named("named_rows")

with DAG("list_of_mapped_outputs", schedule=None) as list_of_mapped_outputs:

    @task
    def double(number: int) -> int:
        return 2 * number

    MosaicRunAgentOperator(
        task_id="run",
        agent_id=OUT_OF_NOTHING,
        update_params={NODE: {"numbers": double.expand(number=[1, 2, 3])}},
        poll_interval=0.05,
    )
