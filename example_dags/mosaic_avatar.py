"""
### Create an avatar, and let it speak

Trigger the DAG with a `picture` of one person, 4 to 15 seconds of clean `speech` of the same person (paths, object
storage URIs or URLs), a `name`, the id of an `agent` with one AI Avatar tile, and a folder for the `results`. Retries
create no second profile. The run costs credits. The DAG uses the connection `mosaic_default`.
"""

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import (
    MosaicCreateAvatarProfileOperator,
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicAvatarProfileSensor


@dag(
    schedule=None,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={name: Param(type="string") for name in ("picture", "speech", "name", "agent", "results")},
)
def mosaic_avatar() -> None:
    picture = MosaicUploadOperator(task_id="picture", source="{{ params.picture }}", asset_type="image")
    speech = MosaicUploadOperator(task_id="speech", source="{{ params.speech }}", asset_type="audio")
    profile = MosaicCreateAvatarProfileOperator(
        task_id="profile", name="{{ params.name }}", image_id=picture.output, audio_id=speech.output
    )
    ready = MosaicAvatarProfileSensor(
        task_id="ready",
        avatar_profile_id=profile.output,
        deferrable=True,
        timeout=timedelta(hours=2).total_seconds(),
    )

    # These parameters apply to this run only; the agent does not change.
    run = MosaicRunAgentOperator(
        task_id="speak",
        agent_id="{{ params.agent }}",
        update_params={"AI Avatar": {"avatar_profile_id": ready.output}},
        deferrable=True,
    )
    MosaicDownloadOutputsOperator(task_id="download", run_id=run.output, destination="{{ params.results }}")


mosaic_avatar()
