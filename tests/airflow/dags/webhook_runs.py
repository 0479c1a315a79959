"""DAGs that start when webhooks report the end of runs: with rare polls in between, and with frequent ones."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import Asset, dag, task

from airflow_provider_mosaic.assets import finished_runs


def reported_runs(dag_id: str, asset: Asset) -> None:
    @dag(dag_id=dag_id, schedule=[asset], start_date=datetime(2026, 1, 1), catchup=True, is_paused_upon_creation=True)
    def reported() -> None:
        @task
        def ended(triggering_asset_events) -> list[str]:  # type: ignore[no-untyped-def]
            payloads = [event.extra.get("payload", {}) for event in triggering_asset_events[asset]]
            return [run["run_id"] for payload in payloads for run in payload.get("runs", [])]

        ended()

    reported()


# The emulator's agents without an input and with one.
reported_runs(
    "webhook_only",
    finished_runs("a0000000-0000-4000-8000-000000000005", mosaic_conn_id="mosaic_webhooks", webhook=True),
)
reported_runs(
    "webhook_and_polls",
    finished_runs(
        "a0000000-0000-4000-8000-000000000004", mosaic_conn_id="mosaic_webhooks", webhook=True, poll_interval=45
    ),
)
