"""
Run pipelines at level DEBUG with known secrets, and search all files and tables of Airflow for them.

The secrets are API keys, the webhook secret, and the signatures of links and forms.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.traces import Trace, columns, files, search

pytestmark = pytest.mark.airflow

# Without the prefixes of real secrets: redaction must not depend on them.
MARKS = {
    "the API key": "keymark4e1f9c",
    "the other API key": "othermark7b2d",
    "the webhook secret": "hookmark83ad0b",
    "the signature of a link or form": "signmark5c77de",
    # The prefix of all policies of upload forms.
    "the policy of a form": base64.b64encode(b'{"expiration": "').decode().rstrip("=")[:20],
}
LOOK = "/agent_run/{run_id}"
MEDIA = "/mosaic-emulator-media/{name}"
FORM = "/mosaic-emulator-uploads/"


@dataclass(kw_only=True)
class PipelineTraces:
    """
    The completed pipelines and what they left in Airflow.

    :param deferred: Database rows of deferred tasks and triggers, which are deleted when a trigger fires.
    """

    airflow: AirflowInstance
    mosaic: Emulator
    fernet_key: str
    deferred: list[Trace] = field(default_factory=list)
    states: dict[str, dict[str, str | None]] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.airflow.home / "airflow.db"

    def columns(self) -> Iterator[Trace]:
        return columns(self.database, fernet_key=self.fernet_key)

    def see_deferred(self, tables: tuple[str, ...] = ("trigger", "task_instance")) -> None:
        """Save the database content of deferred tasks."""
        self.deferred += [trace for trace in self.columns() if trace.place.partition(".")[0] in tables]

    def logs(self, pattern: str) -> str:
        """Return the content of all matching logs."""
        return "\n".join(path.read_text(errors="replace") for path in self.airflow.home.glob(pattern) if path.is_file())


def ask(mosaic: Emulator, path: str, **body: Any) -> dict[str, Any]:
    """Send a POST request to the emulator."""
    headers = {"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(mosaic.url + path, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def connect(airflow: AirflowInstance, mosaic: Emulator, connection_id: str, key: str) -> None:
    """Test and save a connection like a user in the UI."""
    connection = {
        "connection_id": connection_id,
        "conn_type": "mosaic",
        "host": mosaic.url,
        "password": key,
        "extra": json.dumps({"webhook_secret": MARKS["the webhook secret"]}),
    }
    airflow.rest.post("/api/v2/connections/test", connection)
    airflow.rest.post("/api/v2/connections", connection)


def play_every_way(night: PipelineTraces, folder: Path) -> str:
    """Run the DAG with all modes, inspect the deferred tasks, and return the run's id."""
    airflow, mosaic = night.airflow, night.mosaic
    mosaic.configure(hold_runs=True, hold_posts=True)
    # Error messages about invalid responses and downloads could contain secrets.
    mosaic.inject("truncated_json", how="cut", method="GET", path=LOOK, times=4, skip=2)
    mosaic.inject("cut_body", path=MEDIA, times=1)
    mosaic.inject("expired_link", path=MEDIA, skip=1, times=1)
    elsewhere = ask(mosaic, f"/agent/{mosaic.agent_id}/run", video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"])
    conf = {
        "agent": mosaic.agent_id,
        "source": str(folder / "film.mp4"),
        "destination": str(folder / "out"),
        "run_id": elsewhere["run_id"],
    }
    dag_run = airflow.trigger("all_modes", conf)

    for deferred in ("edit_deferred", "post_deferred"):
        airflow.wait_for_task("all_modes", dag_run, deferred, "deferred", timeout=180)
        night.see_deferred()
        mosaic.configure(hold_runs=False)
        if deferred == "post_deferred":
            mosaic.configure(hold_posts=False)
    airflow.wait_for_dag_run("all_modes", dag_run, timeout=240)
    night.states["all_modes"] = {task.task_id: task.state for task in airflow.rest.task_instances("all_modes", dag_run)}
    return str(airflow.rest.xcom("all_modes", dag_run, "edit_worker"))


def play_every_failure(night: PipelineTraces, folder: Path, run_id: str) -> None:
    """Run the DAG of failures: storage host, nodes and platforms fail, and the key is wrong."""
    airflow, mosaic = night.airflow, night.mosaic
    mosaic.configure(
        failing_nodes={"Captions": "The font Garamond is missing"},
        failing_platforms={"tiktok": "The video is too long"},
    )
    mosaic.inject("expired_form", path=FORM, times=None)
    mosaic.inject("expired_link", path=MEDIA, times=None)
    conf = {
        "agent": mosaic.agent_id,
        "source": str(folder / "film.mp4"),
        "destination": str(folder / "second"),
        "run_id": run_id,
    }
    dag_run = airflow.trigger("every_failure", conf)
    airflow.wait_for_dag_run("every_failure", dag_run, timeout=240)
    tasks = airflow.rest.task_instances("every_failure", dag_run)
    night.states["every_failure"] = {task.task_id: task.state for task in tasks}


@pytest.fixture(scope="module")
def night(folder: Path) -> Iterator[PipelineTraces]:
    """Run both DAGs in a separate Airflow with log level DEBUG, and stop it, so that everything is written."""
    here = folder / "secrets"
    here.mkdir()
    shutil.copy(SAMPLE_VIDEO, here / "film.mp4")
    fernet_key = Fernet.generate_key().decode()
    with Emulator(
        directory=here / "mosaic",
        speed=3,
        render="tiny",
        api_key=MARKS["the API key"],
        signature_mark=MARKS["the signature of a link or form"],
        webhook_secret=MARKS["the webhook secret"],
    ) as mosaic:
        airflow = AirflowInstance(
            here / "airflow",
            dags=[Path(__file__).parent / "dags" / "all_modes.py"],
            parallelism=6,
            environment={
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
                "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
                "AIRFLOW__CORE__FERNET_KEY": fernet_key,
            },
        )
        played = PipelineTraces(airflow=airflow, mosaic=mosaic, fernet_key=fernet_key)
        with airflow:
            connect(airflow, mosaic, "marked", MARKS["the API key"])
            connect(airflow, mosaic, "marked_wrong", MARKS["the other API key"])
            run_id = play_every_way(played, here)
            play_every_failure(played, here, run_id)
        yield played


def test_all_tasks_ended_as_expected(night: PipelineTraces) -> None:
    assert set(night.states["all_modes"].values()) == {"success"}
    assert set(night.states["every_failure"].values()) == {"failed"}
    assert {"truncated_json", "cut_body", "expired_link", "expired_form"} <= set(night.mosaic.counts().faults_used)


def test_secrets_were_used(night: PipelineTraces) -> None:
    """Check that there is something to find."""
    downloads = [request["query"] for request in night.mosaic.requests() if request["host"] == "storage"]
    assert sum("X-Goog-Signature" in query for query in downloads) >= 4
    assert night.mosaic.counts().uploads_stored >= 1

    form = ask(night.mosaic, "/uploads/video/get_upload_url")["upload_fields"]
    assert form["policy"].startswith(MARKS["the policy of a form"])
    assert form["x-goog-signature"].startswith(MARKS["the signature of a link or form"])
    # Connections are encrypted in the database. The search decrypts them.
    found = search((trace for trace in night.columns() if trace.place.startswith("connection.")), MARKS)
    assert {find.partition(" in ")[0] for find in found} == {
        "the API key",
        "the other API key",
        "the webhook secret",
    }
    assert all("decrypted" in find for find in found)


def test_logs_are_at_level_debug(night: PipelineTraces) -> None:
    by_tasks = night.logs("logs/dag_id=*/**/*.log")
    for logger in ("urllib3", "airflow_provider_mosaic"):
        assert f'"logger":"{logger}' in by_tasks
    assert '"level":"debug"' in by_tasks
    in_triggerer = night.logs("logs/dag_id=*/**/*trigger*") + night.logs("process-logs/triggerer.log")
    assert '"logger":"airflow_provider_mosaic.triggers' in in_triggerer
    assert "httpcore" in in_triggerer


def test_files_contain_no_secrets(night: PipelineTraces) -> None:
    traces = list(files(night.airflow.home))
    assert len(traces) > 30
    assert not search(traces, MARKS)


def test_tables_contain_no_secrets(night: PipelineTraces) -> None:
    traces = [trace for trace in night.columns() if not trace.place.startswith("connection.")]
    tables = {trace.place.partition(".")[0] for trace in traces}
    assert {"xcom", "rendered_task_instance_fields", "task_instance", "log", "dag_run", "serialized_dag"} <= tables
    assert not search(traces, MARKS)


def test_deferred_tasks_and_triggers_contain_no_secrets(night: PipelineTraces) -> None:
    waiting = {trace.content.decode() for trace in night.deferred if trace.place == "trigger.classpath"}
    assert {name.rpartition(".")[2] for name in waiting} >= {"MosaicRunTrigger", "MosaicSocialPostTrigger"}
    # Before their encryption.
    arguments = [trace for trace in night.deferred if trace.place.startswith("trigger.kwargs")]
    assert any(b"marked" in trace.content for trace in arguments)
    assert not search(night.deferred, MARKS)
