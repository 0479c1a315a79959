"""
### Schedule a post of a run's outputs, and wait until it is published

Trigger the DAG with the id of a `run`, a `text`, the `platforms`, and the time to publish (`at`, with a time zone). The
time may be at most seven days ahead: the links to a run's outputs last that long. **The post is public.** Retries make
no second post. The DAG then waits without a worker until the post is published everywhere, and returns the links to it.
If the post fails anywhere, the DAG run fails.

It starts no run; Mosaic documents no cost of a post. It uses the connection `mosaic_default`.
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
    # Up to seven days until the time to publish, and one day for the platforms.
    published = MosaicSocialPostSensor(
        task_id="wait", post_id=post.output, deferrable=True, timeout=timedelta(days=8).total_seconds()
    )

    @task
    def links(post_id: Any) -> dict[str, str]:
        results = MosaicHook().get_post(post_id).destination_results
        return {result.name: result.post_url for result in results if result.post_url}

    links(published.output)


mosaic_publish_tonight()
