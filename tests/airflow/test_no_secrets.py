"""
No secret anywhere: the pipeline at DEBUG with marked secrets, and then a search of all that Airflow has written down.

The marks are the API key, the webhook secret, and what signs the links and forms that the local Mosaic hands out.
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
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.airflow_instance import AirflowInstance
from dev.traces import Trace, columns, files, search

pytestmark = pytest.mark.airflow

# Without the beginnings by which real ones could be recognized: nothing may rest on their looks.
MARKS = {
    "the API key": "keymark4e1f9c",
    "the other API key": "othermark7b2d",
    "the webhook secret": "hookmark83ad0b",
    "the signature of a link or form": "signmark5c77de",
    # What a form lets its holder do; all policies of the local Mosaic begin like this.
    "the policy of a form": base64.b64encode(b'{"expiration": "').decode().rstrip("=")[:20],
}
LOOK = "/agent_run/{run_id}"
MEDIA = "/mosaic-emulator-media/{name}"
FORM = "/mosaic-emulator-uploads/"


@dataclass(kw_only=True)
class Night:
    """
    What has been played, and what has been seen of the triggers on the way: their rows go when they have fired.

    :param airflow: The Airflow.
    :param mosaic: The local Mosaic.
    :param fernet_key: What Airflow encrypts with.
    :param deferred: The triggers and the arguments of deferred tasks, while they waited.
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
        """Keep what is in the database while tasks are deferred."""
        self.deferred += [trace for trace in self.columns() if trace.place.partition(".")[0] in tables]

    def logs(self, pattern: str) -> str:
        """The logs whose path fits, in one."""
        return "\n".join(path.read_text(errors="replace") for path in self.airflow.home.glob(pattern) if path.is_file())


def ask(mosaic: Emulator, path: str, **body: Any) -> dict[str, Any]:
    """POST something as another program does."""
    headers = {"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(mosaic.url + path, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def connect(airflow: AirflowInstance, mosaic: Emulator, connection_id: str, key: str) -> None:
    """Enter a connection as a person does in the UI, after a press on the test button."""
    connection = {
        "connection_id": connection_id,
        "conn_type": "mosaic",
        "host": mosaic.url,
        "password": key,
        "extra": json.dumps({"webhook_secret": MARKS["the webhook secret"]}),
    }
    airflow.rest.post("/api/v2/connections/test", connection)
    airflow.rest.post("/api/v2/connections", connection)


def play_every_way(night: Night, folder: Path) -> str:
    """Upload, edit, watch, download and post; the waits are held for a look at what waits. Returns the run."""
    airflow, mosaic = night.airflow, night.mosaic
    mosaic.configure(hold_runs=True, hold_posts=True)
    # An answer that can't be read, and a broken download: what is said of them is the danger.
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


def play_every_failure(night: Night, folder: Path, run_id: str) -> None:
    """The same, with a storage host, nodes and platforms that refuse everything, and a wrong key."""
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
def night(folder: Path) -> Iterator[Night]:
    """An Airflow of its own at DEBUG: both DAGs are played in it, and then it is ended, so that all is written."""
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
        played = Night(airflow=airflow, mosaic=mosaic, fernet_key=fernet_key)
        with airflow:
            connect(airflow, mosaic, "marked", MARKS["the API key"])
            connect(airflow, mosaic, "marked_wrong", MARKS["the other API key"])
            run_id = play_every_way(played, here)
            play_every_failure(played, here, run_id)
        yield played


def test_everything_ended_as_it_should(night: Night) -> None:
    assert set(night.states["all_modes"].values()) == {"success"}
    assert set(night.states["every_failure"].values()) == {"failed"}
    assert {"truncated_json", "cut_body", "expired_link", "expired_form"} <= set(night.mosaic.counts().faults_used)


def test_the_marks_were_in_play(night: Night) -> None:
    """Else there was nothing to find."""
    downloads = [request["query"] for request in night.mosaic.requests() if request["host"] == "storage"]
    assert sum("X-Goog-Signature" in query for query in downloads) >= 4
    assert night.mosaic.counts().uploads_stored >= 1

    form = ask(night.mosaic, "/uploads/video/get_upload_url")["upload_fields"]
    assert form["policy"].startswith(MARKS["the policy of a form"])
    assert form["x-goog-signature"].startswith(MARKS["the signature of a link or form"])
    # The connections lie encrypted in the database, and the search looks behind that.
    found = search((trace for trace in night.columns() if trace.place.startswith("connection.")), MARKS)
    assert {find.partition(" in ")[0] for find in found} == {
        "the API key",
        "the other API key",
        "the webhook secret",
    }
    assert all("decrypted" in find for find in found)


def test_the_logs_are_as_talkative_as_can_be(night: Night) -> None:
    by_tasks = night.logs("logs/dag_id=*/**/*.log")
    for logger in ("urllib3", "airflow_provider_mosaic"):
        assert f'"logger":"{logger}' in by_tasks
    assert '"level":"debug"' in by_tasks
    in_triggerer = night.logs("logs/dag_id=*/**/*trigger*") + night.logs("process-logs/triggerer.log")
    assert '"logger":"airflow_provider_mosaic.triggers' in in_triggerer
    assert "httpcore" in in_triggerer


def test_no_file_holds_a_secret(night: Night) -> None:
    traces = list(files(night.airflow.home))
    assert len(traces) > 30
    assert not search(traces, MARKS)


def test_no_table_holds_a_secret(night: Night) -> None:
    traces = [trace for trace in night.columns() if not trace.place.startswith("connection.")]
    tables = {trace.place.partition(".")[0] for trace in traces}
    assert {"xcom", "rendered_task_instance_fields", "task_instance", "log", "dag_run", "serialized_dag"} <= tables
    assert not search(traces, MARKS)


def test_no_deferred_task_and_no_trigger_holds_a_secret(night: Night) -> None:
    waiting = {trace.content.decode() for trace in night.deferred if trace.place == "trigger.classpath"}
    assert {name.rpartition(".")[2] for name in waiting} >= {"MosaicRunTrigger", "MosaicSocialPostTrigger"}
    # In clear text: a task that defers hands them in so.
    arguments = [trace for trace in night.deferred if trace.place.startswith("trigger.kwargs")]
    assert any(b"marked" in trace.content for trace in arguments)
    assert not search(night.deferred, MARKS)
