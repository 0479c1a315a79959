"""An agent as code: the first DAG run creates it, the next one finds it unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_agent_as_code"


def test_agent_is_created_once_and_edits(airflow: AirflowInstance, mosaic: Emulator, tmp_path: Path) -> None:
    seen = []
    for style in ("scaling", "colored"):
        given = {"recording": "https://cdn.example.org/talk.mp4", "style": style, "results": str(tmp_path / style)}
        run_id = airflow.trigger(DAG_ID, given)
        assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
        [run] = [run for run in mosaic.runs() if run["run_id"] == airflow.rest.xcom(DAG_ID, run_id, "edit")]
        [captions] = [node for node in run["nodes"] if node["params"].get("caption_style")]
        nodes = airflow.rest.xcom(DAG_ID, run_id, "agent", "node_ids")
        seen.append((run["agent_id"], nodes, airflow.rest.xcom(DAG_ID, run_id, "agent", "operations")))
        assert captions["params"] == {"caption_style": style, "caption_font_weight": "700"}
        assert [path.suffix for path in (tmp_path / style).iterdir() if path.suffix == ".mp4"] == [".mp4"]
    (first, first_nodes, operations), (second, second_nodes, no_operations) = seen
    assert (first, first_nodes) == (second, second_nodes)
    assert (operations, no_operations) == (7, 0)
    counts = mosaic.counts()
    assert (counts.agents_created, counts.agents_updated, counts.runs_started) == (1, 1, 2)
