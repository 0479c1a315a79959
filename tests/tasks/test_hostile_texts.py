"""Run whole tasks against an API whose statuses, ids, names and messages attack the log and the disk."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.echoes import KEY, EchoingServer, every_line, http, texts_of
from clients.servers import Seen

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicDownloadOutputsOperator,
    MosaicPostAnalyticsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicYouTubeTriggerOperator,
)
from airflow_provider_mosaic.triggers import MosaicRunTrigger, MosaicSocialPostTrigger
from tasks.fakes import StateStore, TaskRunner, event_of
from tasks.fixtures import Clock

pytestmark = pytest.mark.hostile

#: A forged log line, terminal escapes, a reversal of text, the API key, also in base64, and a great length.
KEY_IN_BASE64 = base64.b64encode(f"user:{KEY}".encode()).decode()
ATTACK = f"odd\n2026-01-01 ERROR forged\x1b[31m\x07\u202egpj.\u2066\x85{KEY} {KEY_IN_BASE64} " + "x" * 5_000
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
RUN = {"run_id": "run-1", "agent_id": ATTACK, "odd": ATTACK}


class HostileMosaic:
    """Responds by method and path; of a list, with one entry after the other and then the last one."""

    def __init__(self, answers: dict[str, list[dict[str, Any]] | bytes]) -> None:
        self._answers = answers

    def __call__(self, seen: Seen) -> bytes:
        found = self._answers[f"{seen.method} {seen.target.partition('?')[0]}"]
        if isinstance(found, bytes):
            return found
        body = found.pop(0) if len(found) > 1 else found[0]
        return http("200 OK", json.dumps(body).encode())


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Return the log lines, and check each line after the test."""
    caplog.set_level(logging.DEBUG)
    with every_line() as everything:
        yield everything
    records = caplog.get_records("call")
    assert records
    for record in records:
        check(record.getMessage())
    assert not [line for line in everything if KEY in line]


def check(text: str) -> None:
    """Check that a text is printable, short, without the API key, and without forged lines."""
    assert not CONTROLS.search(text)
    assert len(text) <= 20_000
    assert KEY not in text
    assert KEY_IN_BASE64[8:16] not in text
    assert "\n2026" not in text


def served(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> EchoingServer:
    server = EchoingServer(HostileMosaic(answers))
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps({"conn_type": "mosaic", "host": server.url, "password": KEY})
    )
    return server


def test_a_failed_run_with_hostile_messages(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    node = {
        "original_node_id": ATTACK,
        "agent_node_id": ATTACK,
        "status": "failed",
        "errors": [ATTACK, {"message": ATTACK}],
        "node_type": {"node_type_name": ATTACK},
    }
    failed = {
        **RUN,
        "status": "failed",
        "status_message": ATTACK,
        "errors": [{"original_node_id": f"{ATTACK}{number}", "messages": [ATTACK]} for number in range(300)],
        "outputs": [{"id": f"{number} {ATTACK}"} for number in range(300)],
    }
    answers = {
        "POST /agent/agent-1/run": [{"run_id": "run-1"}],
        "GET /agent/agent-1/runs": [{"runs": []}],
        "GET /agent_run/run-1": [{**RUN, "status": ATTACK}, {**RUN, "status": "running"}, failed],
        "GET /agent_run/run-1/nodes": [{"nodes": [node]}],
    }
    with served(monkeypatch, answers):
        task = TaskRunner(
            lambda: MosaicRunAgentOperator(task_id="run", agent_id="agent-1", poll_interval=0.01), store=StateStore()
        )
        with pytest.raises(Exception, match="forged") as caught:
            task.run_to_end()
    message = str(caught.value)
    assert len(message) < 40_000
    assert not CONTROLS.search(message)
    assert "\n2026" not in message
    assert KEY not in texts_of(caught.value)
    assert KEY not in json.dumps([*task.dag_run.xcoms.values()])


def test_a_failed_run_with_a_hundred_thousand_messages(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    many = [f"error {number}" for number in range(90_000)]
    errors = [{"original_node_id": f"node-{number}", "messages": ["no"]} for number in range(10_000)]
    nodes = [{"original_node_id": f"other-{number}", "status": "failed"} for number in range(10_000)]
    answers: dict[str, Any] = {
        "POST /agent/agent-1/run": [{"run_id": "run-1"}],
        "GET /agent/agent-1/runs": [{"runs": []}],
        "GET /agent_run/run-1": [
            {**RUN, "status": "failed", "errors": [*errors, {"original_node_id": "n", "messages": many}]}
        ],
        "GET /agent_run/run-1/nodes": [{"nodes": nodes}],
    }
    with served(monkeypatch, answers):
        task = TaskRunner(lambda: MosaicRunAgentOperator(task_id="run", agent_id="agent-1"), store=StateStore())
        started = time.process_time()
        with pytest.raises(Exception, match="and 19951 more"):
            task.run_to_end()
    assert time.process_time() - started < 15


def test_a_started_run_with_a_hostile_id(monkeypatch: pytest.MonkeyPatch, lines: list[str], clock: Clock) -> None:
    answers = {"POST /agent/agent-1/run": [{"run_id": ATTACK}], "GET /agent/agent-1/runs": [{"runs": []}]}
    with served(monkeypatch, answers):
        task = TaskRunner(
            lambda: MosaicRunAgentOperator(task_id="run", agent_id="agent-1", wait_for_completion=False),
            store=StateStore(),
        )
        try:
            check(str(task.run_to_end()))
        except Exception as error:
            check(str(error))
    check(json.dumps([*task.dag_run.xcoms.values()]))


def test_a_wait_with_hostile_statuses(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    answers = {
        "GET /agent_run/run-1": [{**RUN, "status": ATTACK}, {**RUN, "status": "completed"}],
        "GET /social/post/post-1": [{"post_id": "post-1", "status": ATTACK}, {"post_id": "post-1", "status": "posted"}],
    }
    with served(monkeypatch, answers):
        assert event_of(MosaicRunTrigger(run_id="run-1", poll_interval=0.01))["status"] == "completed"
        assert event_of(MosaicSocialPostTrigger(post_id="post-1", poll_interval=0.01))["status"] == "posted"
    assert any("unknown status" in line for line in lines)


def test_a_failed_wait_shows_no_secret(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    refused = http("410 Gone", json.dumps({"detail": ATTACK, "error": ATTACK}).encode())
    monkeypatch.setattr("airflow_provider_mosaic.api.poll_state.REFUSALS_TIMEOUT", 0.0)
    with served(monkeypatch, {"GET /agent_run/run-1": refused}):
        event = event_of(MosaicRunTrigger(run_id="run-1", poll_interval=0.01))
    assert event["outcome"] == "error"
    check(event["message"])


def test_a_failed_post_with_hostile_names(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    destination = {"platform": ATTACK, "account_name": ATTACK, "status": "failed", "message": ATTACK}
    failed = {"post_id": "post-1", "status": "partial_failure", "destinations": [destination] * 50}
    answers = {
        "GET /social/posts": [{"posts": []}],
        "POST /social/post": [{"post_id": "post-1", "status": ATTACK}],
        "GET /social/post/post-1": [failed],
    }
    with served(monkeypatch, answers):
        task = TaskRunner(
            lambda: MosaicSocialPostOperator(
                task_id="post", text="Hello", platforms=["x"], wait_for_completion=True, poll_interval=0.01
            ),
            store=StateStore(),
        )
        with pytest.raises(Exception, match="forged") as caught:
            task.run_to_end()
    assert not CONTROLS.search(str(caught.value))
    assert len(str(caught.value)) < 40_000
    assert KEY not in texts_of(caught.value)


def test_metrics_with_hostile_names_and_links(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    signed = "https://storage.example.org/film.mp4?X-Goog-Signature=0a1b2c3d4e5f6a7b"
    numbers = {ATTACK: 1, "likes": -1, "views": 10**300, "shares": 2**60}
    platforms = [
        {"platform": ATTACK, "platform_post_id": ATTACK, "post_url": url, "metrics": numbers}
        for url in (signed, "javascript:alert(1)", ATTACK, "https://x.com/i/status/1")
    ]
    answers = {"GET /social/post/post-1/analytics": [{"totals": numbers, "platforms": platforms}]}
    with served(monkeypatch, answers):
        task = TaskRunner(lambda: MosaicPostAnalyticsOperator(task_id="metrics", post_id="post-1"), store=StateStore())
        rows = task.run_to_end()
    assert [row["post_url"] for row in rows] == [None, None, None, "https://x.com/i/status/1"]
    # A column of integers in a warehouse has 64 bits.
    assert [(row["likes"], row["views"], row["shares"]) for row in rows] == [(-1, None, 2**60)] * 4
    check(json.dumps(rows, ensure_ascii=False))
    check(json.dumps(task.xcom("totals"), ensure_ascii=False))


def test_triggers_with_hostile_channels(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    channel = f"UC{'a' * 22}"
    trigger = {"id": "trigger-1", "youtube_channels": [channel, f"x{KEY}", *(f"UC{n:022}" for n in range(3_000))]}
    answers: dict[str, Any] = {
        "GET /agent/agent-1/triggers": [[trigger], [{"id": "trigger-1", "youtube_channels": [channel]}]],
        "POST /agent/agent-1/triggers/remove_youtube_channels": [{}],
    }
    with served(monkeypatch, answers):
        task = TaskRunner(
            lambda: MosaicYouTubeTriggerOperator(task_id="watch", agent_id="agent-1", youtube_channels=[channel]),
            store=StateStore(),
        )
        assert task.run_to_end() == ["trigger-1"]


def test_many_agents_of_one_name(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    agents = [{"id": f"agent-{number}", "name": "Mine"} for number in range(3_000)]
    with served(monkeypatch, {"GET /agents": [{"agents": agents}]}):
        task = TaskRunner(
            lambda: MosaicApplyAgentOperator(task_id="apply", definition={"name": "Mine", "nodes": {}}),
            store=StateStore(),
        )
        with pytest.raises(Exception, match="several agents have this name") as caught:
            task.run_to_end()
    check(str(caught.value))
    assert len(lines) < 200


def test_an_agent_with_hostile_nodes(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.agents_as_code.apply._EFFECT_PAUSES", ())
    nodes = [
        {
            "agent_node_id": f"node-{number}",
            "node_type": {"node_type_id": ATTACK, "node_type_name": ATTACK},
            "params_used": {ATTACK: ATTACK},
        }
        for number in range(500)
    ]
    agent = {"agent": {"id": "agent-1", "name": ATTACK}, "agent_nodes": nodes, "connections": []}
    answers: dict[str, Any] = {
        "GET /agent/agent-1": [agent],
        "GET /node_types": [{"node_types": []}],
        "POST /agent/agent-1/update": [{"agent_id": "agent-1"}],
    }
    with served(monkeypatch, answers):
        task = TaskRunner(
            lambda: MosaicApplyAgentOperator(
                task_id="apply", agent_id="agent-1", definition={"name": "Mine", "nodes": {}}, unknown_nodes="remove"
            ),
            store=StateStore(),
        )
        with pytest.raises(Exception, match="does not match its definition") as caught:
            task.run_to_end()
    check(str(caught.value))
    assert sum(map(len, lines)) < 200_000


@pytest.mark.parametrize(
    "output_id",
    [
        ATTACK,
        "../../out",
        "..\\..\\out",
        "\x1b[31mout",
        "\u202egpj.out",
        "a/../../b",
        "C:out",
        ".bashrc",
        "ü" * 300,
        "/",
    ],
)
def test_a_hostile_output_id_stays_in_the_folder(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], tmp_path: Path, output_id: str
) -> None:
    answers: dict[str, Any] = {"GET /film": http("200 OK", b"film", "Content-Type: video/mp4")}
    with served(monkeypatch, answers) as server:
        output = {"id": output_id, "video_url": f"{server.url}/film?sig=a"}
        answers["GET /agent_run/run-1"] = [{**RUN, "status": "completed", "outputs": [output]}]
        folder = tmp_path / "out"
        [path] = TaskRunner(
            lambda: MosaicDownloadOutputsOperator(task_id="fetch", run_id="run-1", destination=str(folder)),
            store=StateStore(),
        ).run_to_end()
    [file] = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert str(file) == path
    assert file.parent == folder
    assert re.fullmatch(r"[\w.\- ]+", file.name)
    assert not file.name.startswith(".")
    assert len(file.name.encode()) < 255


def test_the_connection_test_with_hostile_names(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    with served(monkeypatch, {"GET /whoami": [{"organization_name": ATTACK, "scopes": [ATTACK] * 100}]}):
        good, words = MosaicHook().test_connection()
    assert good
    check(words)


def test_a_cleaned_status_is_not_another_status() -> None:
    for status in ("completed ", "completed\n", "\u200bcompleted", "completed\x1b"):
        assert Run(run_id="run-1", status=status).status != "completed"
