"""DAGs that start when runs end: two on one asset, and one on an asset of its own. Each returns what it was told."""

from __future__ import annotations

from airflow.sdk import Asset, dag, task

from airflow_provider_mosaic.assets import finished_runs

SHARED = finished_runs("a0000000-0000-4000-8000-000000000004", poll_interval=1, name="ended_shared")
ALONE = finished_runs("a0000000-0000-4000-8000-000000000005", poll_interval=1, name="ended_alone")


def told_runs(dag_id: str, asset: Asset) -> None:
    @dag(dag_id=dag_id, schedule=[asset], catchup=False, is_paused_upon_creation=True)
    def told() -> None:
        @task
        def ended(triggering_asset_events) -> list[str]:  # type: ignore[no-untyped-def]
            events = triggering_asset_events[asset]
            return [run["run_id"] for event in events for run in event.extra["payload"]["runs"]]

        ended()

    told()


told_runs("ended_always_on", SHARED)
told_runs("ended_paused_for_a_while", SHARED)
told_runs("ended_alone", ALONE)
