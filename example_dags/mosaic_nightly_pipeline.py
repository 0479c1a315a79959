"""
### Edit the day's recordings

Each new recording passes through *upload*, *edit*, *download* and *post*. A failure does not block the other
recordings. During the edit, the tasks wait in the triggerer and hold no worker. **Each new recording costs credits, and
each post is public.**

**A later night does not start a recording again, also if its edit failed.** The log of *new_recordings* names each
recording that was started and is not complete. The log of its failed task says how to continue. To edit the recording
again, which costs credits, delete `_STARTED` from its subfolder.

It uses the connection `mosaic_default` and these variables:

| variable | value |
| --- | --- |
| `mosaic_recordings` | the folder of the recordings, or object storage prefix (`s3://aws_default@studio/recordings`) |
| `mosaic_results` | the folder for the edited files. A recording whose subfolder (`talk.mp4/`) has `_SUCCESS` is done |
| `mosaic_agent_id` | the agent that edits them |
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import ObjectStoragePath, Variable, XComArg, dag, task, task_group

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)

log = logging.getLogger(__name__)

VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
# Labels the rows of the grid with the names of the recordings.
ROW_LABEL = "{{ ti.xcom_pull(task_ids='new_recordings', map_indexes=-1)[ti.map_index]['source'].split('/') | last }}"
STARTED = "_STARTED"  # written before the edit, which costs credits
COMPLETE = "_SUCCESS"  # written after all files: a failed download can leave a part of them


def started_in(folder: ObjectStoragePath) -> str | None:
    """Return the DAG run that started a recording, by the folder for its results."""
    return (folder / STARTED).read_text() if (folder / STARTED).exists() else None


@dag(
    schedule="0 2 * * *",
    catchup=False,  # starts with the next night, or with the last one if that is less than 2.4 hours ago
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
)
def mosaic_nightly_pipeline() -> None:
    @task
    def new_recordings(**context: Any) -> list[dict[str, str]]:
        """Return the recordings that no other DAG run has started, each with the folder for its results."""
        recordings = ObjectStoragePath(Variable.get("mosaic_recordings"))
        results = ObjectStoragePath(Variable.get("mosaic_results"))
        videos = sorted(str(path) for path in recordings.iterdir() if path.suffix.lower() in VIDEOS)
        new = []
        for video in videos:
            folder = results / ObjectStoragePath(video).name
            if (folder / COMPLETE).exists():
                continue
            other = started_in(folder)
            if other not in (None, context["run_id"]):
                log.warning(
                    "%s was started in DAG run %s and is not complete. The log of its failed task there says how to "
                    "continue. To edit it again, which costs credits, delete %s.",
                    video,
                    other,
                    folder / STARTED,
                )
            else:
                new.append({"source": video, "destination": str(folder)})
        return new

    @task
    def mark_started(destination: str, **context: Any) -> None:
        folder = ObjectStoragePath(destination)
        folder.mkdir(parents=True, exist_ok=True)
        other = started_in(folder)
        if other not in (None, context["run_id"]):
            # The DAG runs of a backfill run beside each other and find the same recordings.
            raise AirflowSkipException(f"DAG run {other} has started this recording.")
        (folder / STARTED).write_text(context["run_id"])

    @task
    def mark_complete(files: Any, destination: str) -> None:
        (ObjectStoragePath(destination) / COMPLETE).write_text("\n".join(files))

    @task
    def first_output(output_ids: Any) -> list[str]:
        return list(output_ids[:1])

    @task_group(default_args={"map_index_template": ROW_LABEL})
    def recording(source: str, destination: str) -> None:
        video = MosaicUploadOperator(task_id="upload", source=source)
        edit = MosaicRunAgentOperator(
            task_id="edit",
            agent_id="{{ var.value.mosaic_agent_id }}",
            video_ids=[video.output],
            deferrable=True,
            timeout=timedelta(hours=4),
        )
        video >> mark_started(destination) >> edit
        download = MosaicDownloadOutputsOperator(task_id="download", run_id=edit.output, destination=destination)
        post = MosaicSocialPostOperator(
            task_id="post",
            text="New from the studio",
            platforms=["tiktok"],
            run_id=edit.output,
            output_ids=first_output(XComArg(edit, key="output_ids")),
        )
        mark_complete(download.output, destination) >> post

    recording.expand_kwargs(new_recordings())


mosaic_nightly_pipeline()
