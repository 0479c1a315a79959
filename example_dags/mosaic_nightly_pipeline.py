"""
### Edit the day's recordings with Mosaic

Each new recording goes its own way through *upload*, *edit*, *download* and *post*: one that fails holds up no other.
While Mosaic edits, the tasks wait in the triggerer and hold no worker. **Each new recording costs credits, and each
post is public.**

It uses the connection `mosaic_default` and these variables:

| variable | what it says |
| --- | --- |
| `mosaic_recordings` | the folder of the recordings, or object storage prefix (`s3://aws_default@studio/recordings`) |
| `mosaic_results` | where the edited files go, a folder for each recording; one with `_SUCCESS` is not edited again |
| `mosaic_agent_id` | the agent that edits them |
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Variable, XComArg, dag, task, task_group

from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)

VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
# The rows of the grid have the names of the recordings.
NAME = "{{ ti.xcom_pull(task_ids='new_recordings', map_indexes=-1)[ti.map_index]['source'].split('/') | last }}"
WHOLE = "_SUCCESS"  # written when all files are there: a folder may be left half full


@dag(
    schedule="0 2 * * *",  # without a start_date, the first night is the next one, not the one before the deployment
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["mosaic"],
    doc_md=__doc__,
)
def mosaic_nightly_pipeline() -> None:
    @task
    def new_recordings() -> list[dict[str, str]]:
        """List the recordings whose results are not whole yet, each with the folder for them."""
        recordings = ObjectStoragePath(Variable.get("mosaic_recordings"))
        results = ObjectStoragePath(Variable.get("mosaic_results"))
        videos = sorted(str(path) for path in recordings.iterdir() if path.suffix.lower() in VIDEOS)
        folders = {video: results / ObjectStoragePath(video).stem for video in videos}
        return [
            {"source": video, "destination": str(folder)}
            for video, folder in folders.items()
            if not (folder / WHOLE).exists()
        ]

    @task
    def whole(files: Any, destination: str) -> None:
        (ObjectStoragePath(destination) / WHOLE).write_text("\n".join(files))

    @task
    def first_cut(output_ids: Any) -> list[str]:
        return list(output_ids[:1])

    @task_group(default_args={"map_index_template": NAME})
    def recording(source: str, destination: str) -> None:
        video = MosaicUploadOperator(task_id="upload", source=source)
        edit = MosaicRunAgentOperator(
            task_id="edit",
            agent_id="{{ var.value.mosaic_agent_id }}",
            video_ids=[video.output],
            deferrable=True,
            timeout=timedelta(hours=4),
        )
        download = MosaicDownloadOutputsOperator(task_id="download", run_id=edit.output, destination=destination)
        post = MosaicSocialPostOperator(
            task_id="post",
            text="New from the studio",
            platforms=["tiktok"],
            run_id=edit.output,
            output_ids=first_cut(XComArg(edit, key="output_ids")),
        )
        whole(download.output, destination) >> post

    recording.expand_kwargs(new_recordings())


mosaic_nightly_pipeline()
