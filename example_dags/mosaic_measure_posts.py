"""
### Measure the posts of the last days every night

Metrics are late and change, so every night it reads the metrics and comments of all posts that were published in the
last `days`, also of those that were published on some platforms only. It writes one JSON object a line, ready for a
warehouse: a row for each post and platform, and a row for each comment.

It starts no run; Mosaic documents no cost of reading. It uses the connection `mosaic_default` and the variable
`mosaic_metrics`: the folder, or object storage prefix, for the files.
"""

import json
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, Variable, dag, task
from pendulum import now

from airflow_provider_mosaic.hooks import MosaicHook
from airflow_provider_mosaic.operators import MosaicPostAnalyticsOperator


@dag(
    schedule="0 3 * * *",
    catchup=False,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={"days": Param(7, type="integer", minimum=1)},
)
def mosaic_measure_posts() -> None:
    @task
    def posts(**context: Any) -> list[str]:
        since = now("UTC").subtract(days=context["params"]["days"])
        hook = MosaicHook()
        # A post that failed on one platform is published on others. A scheduled post is published after its creation.
        published = [post for status in ("posted", "partial_failure") for post in hook.list_posts(status=status)]
        return [post.post_id for post in published if (post.scheduled_at or post.created_at or since) >= since]

    @task(map_index_template="{{ task.op_kwargs['post_id'] }}")
    def comments(post_id: str) -> list[dict[str, Any]]:
        listed = MosaicHook().list_post_comments(post_id)
        return [{"post_id": post_id, **comment.model_dump(mode="json")} for comment in listed]

    @task
    def write(name: str, rows_of_posts: Any) -> str:
        folder = ObjectStoragePath(Variable.get("mosaic_metrics"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{now('UTC'):%Y-%m-%d}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for rows in rows_of_posts for row in rows))
        return str(path)

    ids = posts()
    metrics = MosaicPostAnalyticsOperator.partial(task_id="metrics").expand(post_id=ids)
    write.override(task_id="write_metrics")("metrics", metrics.output)
    write.override(task_id="write_comments")("comments", comments.expand(post_id=ids))


mosaic_measure_posts()
