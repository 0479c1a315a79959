"""
### Let an agent edit every new video of some YouTube channels

The list of channels is kept here, under version control, and made so at Mosaic every day: channels are added and
removed until they are the ones that are wanted. Which runs the channels have started since yesterday is counted. Mosaic
documents no cost of changing the list; **each new video of a channel starts a run of the agent, which costs credits.**

It uses the connection `mosaic_default` and these variables:

| variable | what it says |
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
        """How many runs there were since yesterday, by their status."""
        since = now("UTC").subtract(days=1)
        statuses = [
            run.status
            for trigger_id in trigger_ids
            for run in MosaicHook().list_trigger_runs(trigger_id, created_from=since)
        ]
        return {status: statuses.count(status) for status in sorted(set(statuses))}

    started(triggers.output)


mosaic_youtube_channels()
