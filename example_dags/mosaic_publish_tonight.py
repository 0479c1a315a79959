"""
### Publish what a run has rendered at a time of your choosing, and know that it is out

Trigger it with a `run`, a `text`, the `platforms`, and the time of publishing (`at`, with a time zone). It may be at
most seven days ahead: the links to a run's outputs last that long, and the `post` task refuses a later time. **The post
is public.** It is made once, whatever is retried. Then the DAG waits, without a worker, until it is out everywhere, and
gives the links to it; a post that fails somewhere fails the DAG run, so that somebody hears of it. It starts
no run; Mosaic documents no cost of a post. It uses the connection `mosaic_default`.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_mosaic.hooks import MosaicHook
from airflow_provider_mosaic.operators import MosaicSocialPostOperator
from airflow_provider_mosaic.sensors import MosaicSocialPostSensor


@dag(
    schedule=None,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={
        **{name: Param(type="string") for name in ("run", "text")},
        "platforms": Param(type="array", items={"type": "string"}),
        "at": Param(type="string", format="date-time"),
    },
)
def mosaic_publish_tonight() -> None:
    post = MosaicSocialPostOperator(
        task_id="post",
        text="{{ params.text }}",
        platforms="{{ params.platforms }}",
        run_id="{{ params.run }}",
        schedule_date="{{ params.at }}",
    )
    # The seven days that it may be ahead, and one for its platforms.
    out = MosaicSocialPostSensor(
        task_id="wait", post_id=post.output, deferrable=True, timeout=timedelta(days=8).total_seconds()
    )

    @task
    def links(post_id: Any) -> dict[str, str]:
        outcomes = MosaicHook().get_post(post_id).outcomes
        return {outcome.name: outcome.post_url for outcome in outcomes if outcome.post_url}

    links(out.output)


mosaic_publish_tonight()
