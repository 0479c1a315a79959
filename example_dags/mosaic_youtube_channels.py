"""
### Edit every new video of some YouTube channels

Every day the DAG sets the YouTube channels of the agent's trigger to the list in a variable: it adds and removes
channels. Then it counts the runs that the channels started since yesterday. Mosaic documents no cost of changing the
list; **each new video of a channel starts a run of the agent, which costs credits.**

It uses the connection `mosaic_default` and these variables:

| variable | value |
| --- | --- |
| `mosaic_channels_agent_id` | the agent that edits the videos |
| `mosaic_channels` | the channels, as a JSON list of ids, addresses or handles |
"""

from typing import Any

from airflow.sdk import dag, task
from pendulum import now

from airflow_provider_mosaic.hooks import MosaicHook
from airflow_provider_mosaic.operators import MosaicYouTubeTriggerOperator


@dag(schedule="@daily", catchup=False, default_args={"retries": 2}, tags=["mosaic"], doc_md=__doc__)
def mosaic_youtube_channels() -> None:
    triggers = MosaicYouTubeTriggerOperator(
        task_id="channels",
        agent_id="{{ var.value.mosaic_channels_agent_id }}",
        youtube_channels="{{ var.value.mosaic_channels }}",
        filter_options={"duration": {"min_seconds": 120}},
    )

    @task
    def started(trigger_ids: Any) -> dict[str, int]:
        """Count the runs since yesterday by status."""
        since = now("UTC").subtract(days=1)
        statuses = [
            run.status
            for trigger_id in trigger_ids
            for run in MosaicHook().list_trigger_runs(trigger_id, created_from=since)
        ]
        return {status: statuses.count(status) for status in sorted(set(statuses))}

    started(triggers.output)


mosaic_youtube_channels()
