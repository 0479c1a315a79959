"""
DAGs that start when runs end: three on one asset, and one on an asset of its own. Each returns what it was told.

One of the three can have one DAG run at a time, which takes as long as there is a file beside this one.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from airflow.sdk import Asset, dag, task

from airflow_provider_mosaic.assets import finished_runs

SHARED = finished_runs("a0000000-0000-4000-8000-000000000004", poll_interval=1, name="ended_shared")
ALONE = finished_runs("a0000000-0000-4000-8000-000000000005", poll_interval=1, name="ended_alone")
HOLD = Path(__file__).with_suffix(".hold")


def told_runs(dag_id: str, asset: Asset, *, max_active_runs: int = 16, hold: Path | None = None) -> None:
    @dag(
        dag_id=dag_id,
        schedule=[asset],
        start_date=datetime(2026, 1, 1),
        catchup=True,
        is_paused_upon_creation=True,
        max_active_runs=max_active_runs,
    )
    def told() -> None:
        @task
        def ended(triggering_asset_events) -> list[str]:  # type: ignore[no-untyped-def]
            while hold is not None and hold.exists():
                time.sleep(0.5)
            payloads = [event.extra.get("payload", {}) for event in triggering_asset_events[asset]]
            return [run["run_id"] for payload in payloads for run in payload.get("runs", [])]

        ended()

    told()


told_runs("ended_always_on", SHARED)
told_runs("ended_paused_for_a_while", SHARED)
told_runs("ended_one_at_a_time", SHARED, max_active_runs=1, hold=HOLD)
told_runs("ended_alone", ALONE)
