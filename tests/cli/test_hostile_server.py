"""Commands against an API whose names, messages and lists attack the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.echoes import KEY, EchoingServer, http
from clients.servers import Seen

from .conftest import Result

pytestmark = pytest.mark.hostile

#: A forged line, terminal escapes, a reversal of text, the API key, and a great length.
ATTACK = (
    f"odd\nforged\r\x1b[31m\x07\u202egpj.\u2066\x85\x9b2J{KEY} https://s.example/a?X-Goog-Signature=sign0a1b2c3d "
    + "x" * 5_000
)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
RUN = {
    "run_id": "run-1",
    "agent_id": ATTACK,
    "status": ATTACK,
    "status_message": ATTACK,
    "errors": [{"original_node_id": ATTACK, "messages": [ATTACK] * 3}],
    "outputs": [{"id": ATTACK, "video_url": f"https://storage.example.org/a.mp4?X-Goog-Signature={KEY}"}] * 3,
}
AGENT = {
    "agent": {"id": "agent-1", "name": ATTACK, "description": ATTACK, "visibility": ATTACK},
    "agent_nodes": [
        {
            "agent_node_id": "n1",
            "node_type": {"node_type_id": ATTACK, "node_type_name": ATTACK},
            "params_used": {ATTACK: [ATTACK, {ATTACK: None}]},
        }
    ],
    "connections": [],
}
ANSWERS: dict[str, Any] = {
    "GET /whoami": {"organization_id": ATTACK, "organization_name": ATTACK, "scopes": [ATTACK] * 3},
    "GET /agents": {"agents": [{"id": "agent-1", "name": ATTACK, "updated_at": ATTACK}]},
    "GET /agent/agent-1": AGENT,
    "GET /node_types": {
        "node_types": [
            {"node_type_id": ATTACK, "node_type_name": ATTACK, "params": [{"name": ATTACK}]},
            {"node_type_id": "t", "node_type_name": "Clips", "params": [{"name": ATTACK}]},
        ]
    },
    "GET /runs": {"runs": [RUN]},
    "GET /agent_run/run-1": RUN,
    "POST /agent_run/run-1/cancel": {"run_id": ATTACK, "message": ATTACK},
    "POST /agent_run/run-1/resume": {"run_id": ATTACK, "nodes_queued": ATTACK},
}


def respond(seen: Seen) -> bytes:
    name = f"{seen.method} {seen.target.partition('?')[0]}"
    if name not in ANSWERS:
        return http("404 Not Found", json.dumps({"detail": ATTACK}).encode())
    return http("200 OK", json.dumps(ANSWERS[name]).encode())


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with EchoingServer(respond) as server:
        connection = {"conn_type": "mosaic", "host": server.url, "password": KEY}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield


COMMANDS = [
    ["whoami"],
    ["whoami", "--output", "json"],
    ["agents", "list"],
    ["agents", "list", "--output", "yaml"],
    ["agents", "export", "agent-1"],
    ["agents", "export", "agent-1", "--node-ids"],
    ["agents", "export", "missing"],
    ["agents", "diff", "UNKNOWN", "--agent-id", "agent-1"],
    ["agents", "diff", "OTHER", "--agent-id", "agent-1"],
    ["agents", "diff", "EMPTY", "--agent-id", "agent-1"],
    ["agents", "apply", "EMPTY", "--agent-id", "agent-1", "--unknown-nodes", "remove", "--dry-run"],
    ["runs", "list"],
    ["runs", "list", "--output", "json"],
    ["runs", "show", "run-1"],
    ["runs", "show", "run-1", "--output", "json"],
    ["runs", "show", "run-1", "--output", "plain"],
    ["runs", "show", "run-1", "--output", "yaml"],
    ["runs", "cancel", "run-1", "--yes"],
    ["runs", "resume", "run-1", "--yes"],
    ["runs", "show", "missing"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_what_attacks_a_terminal(
    command: list[str], hostile: None, run: Callable[..., Result], tmp_path: Path
) -> None:
    nodes = {
        "UNKNOWN": {"a": {"tile": "Captions"}},
        "OTHER": {"a": {"tile": "Clips", "node_id": "n1", "params": {"x": 1}}},
        "EMPTY": {},
    }
    for name, each in nodes.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": "Mine", "nodes": each}))
    done = run(*(str(tmp_path / f"{each}.json") if each in nodes else each for each in command))
    text = done.out + done.err
    assert not CONTROLS.search(text)
    assert KEY not in text
    assert "\nforged" not in text
    # A definition has the params as they are.
    assert "sign0a1b2c3d" not in text or command[1] == "export"
