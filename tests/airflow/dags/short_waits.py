"""For the tests: many runs that end at once, waited for deferred, and nothing is retried."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_mosaic.operators import MosaicRunAgentOperator

with DAG("short_waits", schedule=None):
    MosaicRunAgentOperator.partial(
        task_id="edit", agent_id="a0000000-0000-4000-8000-000000000004", deferrable=True, retries=0
    ).expand(poll_interval=[1] * 16)
