"""
### Keep an agent in a file, and edit with it

What the agent is to be stands in `mosaic_agent_as_code.yaml` beside this file, under version control. Before each run
it is made so: the first time it is created, later only what differs is changed, and the log shows the difference. The
run costs credits; Mosaic documents no cost of changing an agent. Trigger it with a `recording` (a URL), a caption
`style` for this run only, and a folder for its `results`. It uses the connection `mosaic_default`.
"""

from airflow.sdk import Param, dag

from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
)


@dag(
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={
        "recording": Param(type="string"),
        "style": Param("karaoke", enum=["colored", "scaling", "karaoke"]),
        "results": Param(type="string"),
    },
)
def mosaic_agent_as_code() -> None:
    agent = MosaicApplyAgentOperator(task_id="agent", definition="mosaic_agent_as_code.yaml")
    run = MosaicRunAgentOperator(
        task_id="edit",
        agent_id=agent.output,
        video_urls=["{{ params.recording }}"],
        update_params={"Captions": {"caption_style": "{{ params.style }}"}},
        deferrable=True,
    )
    MosaicDownloadOutputsOperator(task_id="download", run_id=run.output, destination="{{ params.results }}")


mosaic_agent_as_code()
