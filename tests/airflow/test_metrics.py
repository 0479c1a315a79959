"""Metrics of tasks and of the triggerer arrive at the StatsD host that Airflow is configured for."""

from __future__ import annotations

from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from dev.statsd_listener import StatsdListener

pytestmark = pytest.mark.airflow


def test_a_pipeline_reports_metrics(
    airflow: AirflowInstance, mosaic: Emulator, statsd: StatsdListener, films: list[Path], tmp_path: Path
) -> None:
    before = statsd.sums("airflow.mosaic.")
    # The request is sent again.
    mosaic.inject("server_error", method="POST", path="/uploads/{asset_type}/finalize_upload")
    run_id = airflow.trigger(
        "mosaic_quick_start",
        {"recording": str(films[0]), "agent": mosaic.agent_id, "results": str(tmp_path / "edited")},
    )
    assert airflow.wait_for_dag_run("mosaic_quick_start", run_id).state == "success"

    def received() -> dict[str, float]:
        sums = statsd.sums("airflow.mosaic.")
        return {
            name.removeprefix("airflow.mosaic."): value - before[name]
            for name, value in sums.items()
            if value != before[name]
        }

    expected = {"runs.started": 1, "runs.ended.completed": 1, "waits.ended": 1, "requests.retried": 1}
    poll(
        lambda: {name: received().get(name) for name in expected} == expected,
        timeout=30,
        what=f"the metrics arrive: {expected}",
    )
    metrics = received()
    assert metrics["bytes.uploaded"] == films[0].stat().st_size
    assert metrics["bytes.downloaded"] == sum(file.stat().st_size for file in (tmp_path / "edited").iterdir())
    assert metrics["runs.duration"] > 0
    # One poll before the deferral, one after it, and those of the triggerer.
    assert metrics["polls.single"] >= 3
    assert "outcomes.ambiguous" not in metrics
