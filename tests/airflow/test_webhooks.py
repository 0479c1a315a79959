"""
Webhooks that Airflow receives, in a real Airflow: a poll within seconds, each run once, no secret in any log.

These tests take minutes: two events of a watcher are at least 30 seconds apart.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, GENERATION_AGENT_ID
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger
from airflow_provider_mosaic.webhook_address import path_token

pytestmark = pytest.mark.airflow

# The secret of the emulator, and of the connection in conftest.py.
SECRET = "whsk_emulator"
CONN_ID = "mosaic_webhooks"
TOKEN = path_token(SECRET, CONN_ID)
SOURCE = Path(__file__).parent / "dags" / "webhook_runs.py"
RUNS = 50


@pytest.fixture
def mosaic_with_webhooks(mosaic: Emulator) -> Emulator:
    mosaic.configure(hold_runs=True, webhook_secret=SECRET)
    return mosaic


@pytest.fixture
def watching(airflow: AirflowInstance, mosaic_with_webhooks: Emulator, request: pytest.FixtureRequest) -> Iterator[str]:
    """Unpause a DAG, and wait until its watcher has polled."""
    dag_id, agent_id = request.param
    airflow.wait_for_dag(dag_id)
    airflow.rest.patch(f"/api/v2/dags/{dag_id}", {"is_paused": False})
    checks = itertools.count()

    def is_watched() -> bool:
        # A change while the file is parsed would be missed, so it changes again after some 20 seconds.
        if next(checks) % 100 == 0:
            change_dag_file(airflow)
        # The first poll, and one because of the first read of the Variable.
        return polls(mosaic_with_webhooks, agent_id) >= 4

    poll(is_watched, timeout=180, what=f"{dag_id} is watched")
    yield dag_id
    airflow.rest.patch(f"/api/v2/dags/{dag_id}", {"is_paused": True})
    change_dag_file(airflow)


def change_dag_file(airflow: AirflowInstance) -> None:
    """Make Airflow parse the DAG file: it decides then whether it watches an asset."""
    new = airflow.dags_folder / "webhook_runs.new"
    new.write_text(f"{SOURCE.read_text()}# {time.time()}\n")
    # In one step, so that the file is never parsed while it is empty.
    new.replace(airflow.dags_folder / SOURCE.name)


def polls(mosaic: Emulator, agent_id: str) -> int:
    """Return how many requests have read the list of an agent's runs. A poll sends two."""
    return sum(request["path"] == f"/agent/{agent_id}/runs" for request in mosaic.requests())


def start(airflow: AirflowInstance, mosaic: Emulator, agent_id: str) -> str:
    """Start a run outside of Airflow, with webhooks to Airflow."""
    videos = {} if agent_id == GENERATION_AGENT_ID else {"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}
    body = {**videos, "callback_url": f"{airflow.url}/mosaic/webhooks/{CONN_ID}/{TOKEN}"}
    request = urllib.request.Request(
        f"{mosaic.url}/agent/{agent_id}/run",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["run_id"])


def events(airflow: AirflowInstance, agent_id: str) -> list[list[str]]:
    """Return the runs of each asset event."""
    found = airflow.rest.get("/api/v2/assets/events", limit=100)["asset_events"]
    return [
        [run["run_id"] for run in event["extra"]["payload"]["runs"]]
        for event in found
        if f"finished_runs.{agent_id}" in event["name"]
    ]


def told(airflow: AirflowInstance, dag_id: str) -> list[str]:
    """Return the runs that the DAG runs of a DAG were told, with repetitions."""
    found: list[dict[str, Any]] = airflow.rest.get(f"/api/v2/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
    ended = [run["dag_run_id"] for run in found if run["state"] == "success"]
    return sorted(run_id for each in ended for run_id in airflow.rest.xcom(dag_id, each, "ended"))


def assert_no_secrets_in_logs(airflow: AirflowInstance) -> None:
    files = [path for folder in (airflow.logs, airflow.home / "logs") for path in folder.rglob("*.log")]
    texts = {path: path.read_text(errors="replace") for path in files}
    assert any("/mosaic/webhooks/mosaic_webhooks/token" in text for text in texts.values())
    assert [path for path, text in texts.items() if TOKEN in text or SECRET in text] == []


@pytest.mark.parametrize("watching", [("webhook_only", CLIPS_AGENT_ID)], indirect=True)
def test_webhook_starts_the_dag_long_before_the_next_poll(
    airflow: AirflowInstance, mosaic_with_webhooks: Emulator, watching: str
) -> None:
    mosaic = mosaic_with_webhooks
    run_id = start(airflow, mosaic, CLIPS_AGENT_ID)
    mosaic.finish_run(run_id, "failed")
    # The next poll without a webhook would come ten minutes after the first.
    poll(lambda: told(airflow, watching) or None, timeout=120, what="the DAG was told of the run")
    assert told(airflow, watching) == [run_id]
    assert mosaic.counts().webhooks_failed == 0
    variable = airflow.rest.get(f"/api/v2/variables/mosaic_webhook.{CONN_ID}")
    assert variable["value"].startswith("20")
    assert_no_secrets_in_logs(airflow)


@pytest.mark.bursts
@pytest.mark.parametrize("watching", [("webhook_and_polls", GENERATION_AGENT_ID)], indirect=True)
def test_each_run_is_reported_once_despite_lost_webhooks_and_a_killed_triggerer(
    airflow: AirflowInstance, mosaic_with_webhooks: Emulator, watching: str
) -> None:
    mosaic = mosaic_with_webhooks
    # A third of the webhooks is lost, and the others come twice.
    mosaic.configure(webhook_loss=0.33, webhook_copies=2)
    runs = [start(airflow, mosaic, GENERATION_AGENT_ID) for _ in range(RUNS)]

    def finish(start: int, stop: int) -> list[str]:
        for run_id in runs[start:stop]:
            # A failed run renders nothing, which saves minutes.
            mosaic.finish_run(run_id, "failed")
        return runs[start:stop]

    def wait_until_told(expected: list[str]) -> None:
        poll(lambda: set(told(airflow, watching)) >= set(expected), timeout=240, what=f"{len(expected)} runs are told")

    def wait_until_saved() -> None:
        """Wait for two polls. The second saves what the first reported."""
        before = polls(mosaic, GENERATION_AGENT_ID)
        poll(lambda: polls(mosaic, GENERATION_AGENT_ID) >= before + 4, timeout=240, what="the watcher polls twice")

    expected = finish(0, 20)
    wait_until_told(expected)
    for first, middle, last in ((20, 26, 35), (35, 41, RUNS)):
        wait_until_saved()
        airflow.kill("triggerer")
        while_dead = finish(first, middle)
        airflow.restart("triggerer")
        if _keeps_state():
            expected += while_dead
        else:
            # The watcher starts with the runs that are running then.
            wait_until_saved()
        expected += finish(middle, last)
        wait_until_told(expected)
    assert told(airflow, watching) == sorted(expected)
    # Each run is in one event, of at least 30 seconds after the one before.
    assert sorted(run_id for event in events(airflow, GENERATION_AGENT_ID) for run_id in event) == sorted(expected)
    assert len(expected) == (RUNS if _keeps_state() else RUNS - 12)
    assert_no_secrets_in_logs(airflow)


def _keeps_state() -> bool:
    """Return whether this Airflow saves the state of watchers."""
    return hasattr(MosaicRunFinishedTrigger(agent_id="a"), "asset_state_store")
