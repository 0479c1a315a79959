"""
### Keep an agent in a file, and run it

The agent is defined in `mosaic_agent_as_code.yaml` beside this file, under version control. Each DAG run first applies
the definition: the first time it creates the agent, later it changes only what differs, and the log shows the changes.

Trigger the DAG with a `recording` (a URL), a caption `style` for this run only, and a folder for the `results`. The run
costs credits; Mosaic documents no cost of changing an agent. The DAG uses the connection `mosaic_default`.
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
