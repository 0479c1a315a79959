"""Run all example DAGs concurrently on a real Airflow with the emulator."""

from __future__ import annotations

import ast
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import (
    CLIPS_AGENT_ID,
    DEFAULT_AGENT_ID,
    GENERATION_AGENT_ID,
    NODE_TYPES,
    TWO_BRANCH_AGENT_ID,
)
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from dev import recordings

pytestmark = pytest.mark.airflow

HERE = Path(__file__).parent
EXAMPLES = sorted(path.stem for path in (HERE.parents[1] / "example_dags").glob("*.py"))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The Airflow, the emulator and the folder of an example."""

    airflow: AirflowInstance
    mosaic: Emulator
    folder: Path

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the emulator."""
        request = urllib.request.Request(
            self.mosaic.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.mosaic.api_key}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def ended_run(self) -> str:
        """Return the id of a completed run of the generating agent."""
        run_id = str(self.ask("POST", f"/agent/{GENERATION_AGENT_ID}/run", {})["run_id"])
        self.mosaic.finish_run(run_id)
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run from the emulator."""
        (found,) = (run for run in self.mosaic.runs() if run["run_id"] == run_id)
        return found


@dataclass(frozen=True, kw_only=True)
class Done:
    """A successful DAG run."""

    scenario: Scenario
    dag_id: str
    run_id: str

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.scenario.airflow.rest.xcom(self.dag_id, self.run_id, task_id, key, map_index)

    def states(self) -> dict[str, str | None]:
        return {task.name: task.state for task in self.scenario.airflow.rest.task_instances(self.dag_id, self.run_id)}


@dataclass(frozen=True, kw_only=True)
class Example:
    """How to run an example and how to check its result."""

    given: Callable[[Scenario], dict[str, Any]]
    came: Callable[[Done], None]


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# Two agents


def two_agents(scenario: Scenario) -> dict[str, Any]:
    return {
        "recording": "https://cdn.example.org/talk.mp4",
        "cutter": CLIPS_AGENT_ID,
        "editor": DEFAULT_AGENT_ID,
        "results": str(scenario.folder / "results"),
    }


def check_two_agents(done: Done) -> None:
    cuts, shorts = (done.scenario.run(done.xcom(task_id)) for task_id in ("cut", "make_shorts"))
    assert [each["reference"] for each in shorts["inputs"]] == cuts["output_ids"]
    assert {each["kind"] for each in shorts["inputs"]} == {"node_render_ids"}
    files = [Path(name) for name in done.xcom("download")]
    assert {path.stem for path in files} == set(shorts["output_ids"])
    assert all(recordings.inspect(path).is_9_to_16 for path in files)


# Posts


def publish_tonight(scenario: Scenario) -> dict[str, Any]:
    tonight = datetime.now(timezone.utc) + timedelta(seconds=40)
    return {
        "run": scenario.ended_run(),
        "text": "Tonight at eight",
        "platforms": ["tiktok", "youtube"],
        "at": tonight.isoformat(timespec="seconds"),
    }


def check_publish_tonight(done: Done) -> None:
    (post,) = (post for post in done.scenario.mosaic.posts() if post["description"] == "Tonight at eight")
    assert done.xcom("post") == done.xcom("wait") == post["post_id"]
    assert post["status"] == "posted"
    assert len(done.xcom("links")) == 2
    given = done.scenario.airflow.rest.dag_run(done.dag_id, done.run_id).raw["conf"]
    wait = done.scenario.airflow.rest.task_instance(done.dag_id, done.run_id, "wait")
    assert datetime.fromisoformat(wait.raw["end_date"].replace("Z", "+00:00")) > datetime.fromisoformat(given["at"])


def measure_posts(scenario: Scenario) -> dict[str, Any]:
    scenario.airflow.rest.set_variable("mosaic_metrics", str(scenario.folder / "metrics"))
    made = [
        scenario.ask("POST", "/social/post", {"post": text, "platforms": ["tiktok", "linkedin"]})["post_id"]
        for text in ("One", "Another")
    ]
    # A post on TikTok only.
    scenario.mosaic.configure(failing_platforms={"x": "Duplicate content"})
    halved = scenario.ask("POST", "/social/post", {"post": "Halved", "platforms": ["tiktok", "x"]})["post_id"]
    poll(
        lambda: scenario.ask("GET", f"/social/post/{halved}")["status"] == "partial_failure",
        timeout=30,
        what="a post is out only partly",
    )
    poll(
        lambda: all(scenario.ask("GET", f"/social/post/{post_id}")["status"] == "posted" for post_id in made),
        timeout=30,
        what="the posts are out",
    )
    return {}


def check_measure_posts(done: Done) -> None:
    measured = {post["post_id"] for post in done.scenario.mosaic.posts() if post["description"] in ("One", "Another")}
    (halved,) = (post["post_id"] for post in done.scenario.mosaic.posts() if post["description"] == "Halved")
    metrics, comments = rows(done.xcom("write_metrics")), rows(done.xcom("write_comments"))
    assert (halved, "tiktok") in {(row["post_id"], row["platform"]) for row in metrics}
    assert {(row["post_id"], row["platform"]) for row in metrics} >= {
        (post_id, platform) for post_id in measured for platform in ("tiktok", "linkedin")
    }
    assert {row["post_id"] for row in comments} >= measured
    # Row labels of the grid: the operator's default, and the template of a task.
    labels = {
        (task.task_id, task.row_label) for task in done.scenario.airflow.rest.task_instances(done.dag_id, done.run_id)
    }
    assert labels >= {(task_id, post_id) for task_id in ("metrics", "comments") for post_id in measured}


# Avatars


def avatar(scenario: Scenario) -> dict[str, Any]:
    (scenario.folder / "host.jpg").write_bytes(b"\xff\xd8\xff a picture")
    (scenario.folder / "host.mp3").write_bytes(b"ID3 a voice")
    agent_id = scenario.ask("POST", "/agent/create", {"name": "Presenter"})["agent_id"]
    tile = {"op": "create_node", "node_type_id": NODE_TYPES["AI Avatar"].id}
    scenario.ask("POST", f"/agent/{agent_id}/update", {"operations": [tile]})
    return {
        "picture": str(scenario.folder / "host.jpg"),
        "speech": str(scenario.folder / "host.mp3"),
        "name": "Host",
        "agent": agent_id,
        "results": str(scenario.folder / "results"),
    }


def check_avatar(done: Done) -> None:
    (tile,) = done.scenario.run(done.xcom("speak"))["nodes"]
    assert tile["params"] == {"avatar_profile_id": done.xcom("profile")}
    assert [Path(name).suffix for name in done.xcom("download") if name.endswith(".mp4")] == [".mp4"]
    assert done.scenario.mosaic.counts().avatars_created == 1


# YouTube channels


CHANNELS = ["UCaaaaaaaaaaaaaaaaaaaaaa", "UCbbbbbbbbbbbbbbbbbbbbbb"]


def youtube_channels(scenario: Scenario) -> dict[str, Any]:
    scenario.airflow.rest.set_variable("mosaic_channels_agent_id", TWO_BRANCH_AGENT_ID)
    scenario.airflow.rest.set_variable("mosaic_channels", json.dumps(CHANNELS))
    channels = ["UCcccccccccccccccccccccc", CHANNELS[0]]
    scenario.ask(
        "POST",
        f"/agent/{TWO_BRANCH_AGENT_ID}/triggers/add_youtube_channels",
        {"youtube_channels": channels, "filter_options": {"duration": {"min_seconds": 120}}},
    )
    (trigger,) = scenario.ask("GET", f"/agent/{TWO_BRANCH_AGENT_ID}/triggers")
    assert scenario.mosaic.fire_trigger(trigger["id"], channel_id=CHANNELS[0], seconds=600) is not None
    return {}


def check_youtube_channels(done: Done) -> None:
    (trigger,) = done.scenario.ask("GET", f"/agent/{TWO_BRANCH_AGENT_ID}/triggers")
    assert done.xcom("channels") == [trigger["id"]]
    assert sorted(trigger["youtube_channels"]) == CHANNELS
    assert sum(done.xcom("started").values()) == 1


# Credits


def credits_used(scenario: Scenario) -> dict[str, Any]:
    scenario.airflow.rest.set_variable("mosaic_costs", str(scenario.folder / "costs"))
    run_id = scenario.ask("POST", f"/agent/{GENERATION_AGENT_ID}/run", {})["run_id"]
    poll(
        lambda: scenario.ask("GET", f"/agent_run/{run_id}")["status"] == "completed",
        timeout=60,
        what="a run that is paid for",
    )
    return {"day": f"{datetime.now(timezone.utc):%Y-%m-%d}"}


def check_credits_used(done: Done) -> None:
    day = done.scenario.airflow.rest.dag_run(done.dag_id, done.run_id).raw["conf"]["day"]
    path = Path(done.xcom("write_usage"))
    assert path == done.scenario.folder / "costs" / f"{day}.jsonl"
    spent = rows(str(path))
    assert {row["date"][:10] for row in spent} == {day}
    assert sum(row["credits_used"] for row in spent) > 0
    assert done.xcom("balance") > 0


# Execution


BESIDE_EACH_OTHER = {
    "mosaic_avatar": Example(given=avatar, came=check_avatar),
    "mosaic_credits_used": Example(given=credits_used, came=check_credits_used),
    "mosaic_measure_posts": Example(given=measure_posts, came=check_measure_posts),
    "mosaic_publish_tonight": Example(given=publish_tonight, came=check_publish_tonight),
    "mosaic_two_agents": Example(given=two_agents, came=check_two_agents),
    "mosaic_youtube_channels": Example(given=youtube_channels, came=check_youtube_channels),
}


@dataclass(kw_only=True)
class Runs:
    """The DAG runs of the examples. All are started before the first one is awaited."""

    airflow: AirflowInstance
    mosaic: Emulator
    folder: Path
    started: dict[str, Done] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def start(self, dag_id: str) -> None:
        folder = self.folder / dag_id
        folder.mkdir()
        scenario = Scenario(airflow=self.airflow, mosaic=self.mosaic, folder=folder)
        given = BESIDE_EACH_OTHER[dag_id].given(scenario)
        self.started[dag_id] = Done(scenario=scenario, dag_id=dag_id, run_id=self.airflow.trigger(dag_id, given))

    def end(self, dag_id: str) -> Done:
        if dag_id in self.failures:
            raise self.failures[dag_id]
        done = self.started[dag_id]
        run = self.airflow.wait_for_dag_run(dag_id, done.run_id)
        assert run.state == "success", done.states()
        assert set(done.states().values()) == {"success"}
        return done


@pytest.fixture(scope="module")
def runs(airflow: AirflowInstance, mosaic_process: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    mosaic_process.reset()
    runs = Runs(airflow=airflow, mosaic=mosaic_process, folder=tmp_path_factory.mktemp("examples"))
    for dag_id in BESIDE_EACH_OTHER:
        try:
            runs.start(dag_id)
        except Exception as error:  # fails only the test of that example
            runs.failures[dag_id] = error
    return runs


@pytest.mark.parametrize("dag_id", BESIDE_EACH_OTHER)
def test_example_succeeds(runs: Runs, dag_id: str) -> None:
    BESIDE_EACH_OTHER[dag_id].came(runs.end(dag_id))


def test_failed_run_is_resumed_and_stalled_run_is_cancelled(
    airflow: AirflowInstance, mosaic: Emulator, tmp_path: Path
) -> None:
    dag_id = "mosaic_resume_failed_runs"
    mosaic.configure(hold_runs=True)
    scenario = Scenario(airflow=airflow, mosaic=mosaic, folder=tmp_path)
    inputs = {"video_urls": ["https://cdn.example.org/talk.mp4"]}
    failed, hanging, others = (
        str(scenario.ask("POST", f"/agent/{agent_id}/run", inputs)["run_id"])
        for agent_id in (CLIPS_AGENT_ID, CLIPS_AGENT_ID, DEFAULT_AGENT_ID)
    )
    mosaic.finish_run(failed, "failed")
    run_id = airflow.trigger(dag_id, {"agent": CLIPS_AGENT_ID, "hours": 0})
    airflow.wait_for_task(dag_id, run_id, "cancel", "success", map_index=0)
    assert scenario.run(others)["status"] == "running"
    mosaic.configure(hold_runs=False)

    assert airflow.wait_for_dag_run(dag_id, run_id).state == "success"
    assert (scenario.run(failed)["status"], scenario.run(hanging)["status"]) == ("completed", "cancelled")
    counts = mosaic.counts()
    assert (counts.runs_started, counts.runs_resumed, counts.runs_cancelled) == (3, 1, 1)
    # The default row label is the mapped value.
    labels = {task.task_id: task.row_label for task in airflow.rest.task_instances(dag_id, run_id)}
    assert labels == {"failed": None, "hanging": None, "cancel": hanging, "resume": failed}


def test_every_example_is_tested() -> None:
    """Check that this module or another one with its ``DAG_ID`` runs each example."""
    run = {*BESIDE_EACH_OTHER, "mosaic_resume_failed_runs"}
    for path in HERE.glob("test_*.py"):
        tree = ast.parse(path.read_text())
        named = [
            node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "DAG_ID"
            and isinstance(node.value, ast.Constant)
        ]
        if any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark" for node in tree.body):
            run |= set(named)
    assert [dag_id for dag_id in EXAMPLES if dag_id not in run] == []
