"""
### Write down each night how the posts of the last days are doing

Metrics come late and change, so the posts that came out in the last `days` are measured again every night, also those
that are out on some of their platforms only: one row a post and platform, and the comments beside them, as one JSON
object a line, ready for a warehouse. It starts no run; Mosaic documents no cost of reading. It uses the connection
`mosaic_default` and the variable `mosaic_metrics`: the folder, or object storage prefix, for the files.
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
        # A post that failed on one platform is out on the others, and a scheduled one is older than its publication.
        out = [post for status in ("posted", "partial_failure") for post in hook.list_posts(status=status)]
        return [post.post_id for post in out if (post.scheduled_at or post.created_at or since) >= since]

    @task(map_index_template="{{ task.op_kwargs['post_id'] }}")
    def comments(post_id: str) -> list[dict[str, Any]]:
        found = MosaicHook().list_post_comments(post_id)
        return [{"post_id": post_id, **comment.model_dump(mode="json")} for comment in found]

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
