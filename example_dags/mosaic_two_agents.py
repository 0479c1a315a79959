"""
### Cut a recording with one agent, and make shorts of the cuts with another

Trigger the DAG with the URL of a `recording`, the agent that cuts (`cutter`), the agent that makes the shorts
(`editor`, with one Video Input tile), and a folder for the `results`. The second run gets the outputs of the first run
by their ids: nothing is downloaded and uploaded in between.

Both runs cost credits. The DAG waits up to a day until there are enough (`credits`). It skips the second run if less
than half of them are left then; the outputs of the first run still exist. The DAG uses the connection
`mosaic_default`.
"""

from datetime import timedelta

from airflow.sdk import Param, XComArg, dag

from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicRunAgentOperator
from airflow_provider_mosaic.sensors import MosaicCreditsSensor


@dag(
    schedule=None,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={
        **{name: Param(type="string") for name in ("recording", "cutter", "editor", "results")},
        "credits": Param(300, type="number", minimum=0),
    },
)
def mosaic_two_agents() -> None:
    enough = MosaicCreditsSensor(
        task_id="enough_credits",
        min_credits="{{ params.credits }}",
        deferrable=True,
        timeout=timedelta(days=1).total_seconds(),
    )
    cuts = MosaicRunAgentOperator(
        task_id="cut", agent_id="{{ params.cutter }}", video_urls=["{{ params.recording }}"], deferrable=True
    )
    shorts = MosaicRunAgentOperator(
        task_id="make_shorts",
        agent_id="{{ params.editor }}",
        node_render_ids=XComArg(cuts, key="output_ids"),
        min_credits="{{ params.credits / 2 }}",
        on_short_of_credits="skip",
        deferrable=True,
    )
    enough >> cuts
    MosaicDownloadOutputsOperator(
        task_id="download", run_id=shorts.output, destination="{{ params.results }}", include=["video"]
    )


mosaic_two_agents()
