"""An agent is created once, over lost responses, kills and retries, and updated only where it differs."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, Clock, in_pause, sent
from tasks.task_runs import LATE

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.agents_as_code import apply as agents
from airflow_provider_mosaic.agents_as_code.definition_yaml import definition_yaml
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicNotFoundError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicApplyAgentOperator, MosaicRunAgentOperator

CREATE = "/agent/create"
UPDATE = "/agent/{agent_id}/update"
DEFINITION: dict[str, Any] = {
    "name": "Nightly",
    "nodes": {
        "film": {"tile": "Video Generation"},
        "captions": {"tile": "Captions", "params": {"caption_style": "karaoke"}},
    },
    "connections": [["film", "captions"]],
}


@pytest.fixture(autouse=True)
def no_other_creator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for agents that other tasks create."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(agents, "time", clock)
    return clock


def task_runner(store: StateStore | None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "agent", "definition": DEFINITION, **options}
    return TaskRunner(lambda: MosaicApplyAgentOperator(**arguments), store=store)


def named(hook: MosaicHook, name: str = "Nightly") -> list[str]:
    return [agent.agent_id for agent in hook.list_agents() if agent.name == name]


def failure_of(task: TaskRunner, kind: type[Exception]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        task.execute()
    assert type(failure.value.error) is kind
    return str(failure.value)


def changes(mosaic: Emulator) -> dict[str, int]:
    counts = mosaic.counts()
    return {"created": counts.agents_created, "updated": counts.agents_updated}


def test_agent_is_created_and_its_node_ids_are_pushed(mosaic: Emulator, hook: MosaicHook) -> None:
    task = task_runner(StateStore())
    agent_id = task.execute()
    assert named(hook) == [agent_id]
    assert task.xcom("mosaic_agent_id") == agent_id
    assert task.xcom("operations") == 3
    nodes = {node.agent_node_id: node.node_type.node_type_name for node in hook.get_agent(agent_id).agent_nodes}
    assert {key: nodes[node_id] for key, node_id in task.xcom("node_ids").items()} == {
        "film": "Video Generation",
        "captions": "Captions",
    }


@pytest.mark.parametrize("cleared", [False, True])
def test_second_run_and_clear_change_nothing(mosaic: Emulator, cleared: bool) -> None:
    task = task_runner(StateStore())
    agent_id = task.execute()
    if cleared:
        task.clear()
    assert task.execute() == agent_id
    assert task.xcom("operations") == 0
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_dry_run_logs_the_difference_and_sends_nothing(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    task = task_runner(StateStore(), dry_run=True)
    assert task.execute() is None
    assert task.xcom("mosaic_agent_id") is None
    assert task.xcom("operations") == 3
    assert '+ captions: Captions {"caption_style": "karaoke"}' in caplog.text
    assert "+ film -> captions" in caplog.text
    assert changes(mosaic) == {"created": 0, "updated": 0}


def test_definition_file_beside_the_dag(mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch) -> None:
    # The DAG is created in the file of the fakes.
    beside = Path(TaskRunner.execute.__code__.co_filename).parent / "agent-of-a-test.yaml"
    beside.write_text(definition_yaml(DEFINITION))
    try:
        assert [task_runner(None, definition=beside.name).execute()] == named(hook)
    finally:
        beside.unlink()


def test_definition_file_in_the_zip_of_the_dag(mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    archive = tmp_path / "dags.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("agents/nightly.yaml", definition_yaml(DEFINITION))
    in_zip = str(archive / "dag.py")

    def beside(definition: str) -> TaskRunner:
        def make() -> MosaicApplyAgentOperator:
            operator = MosaicApplyAgentOperator(task_id="apply", definition=definition)
            # Airflow sets this for a DAG file in a zip.
            operator.dag.fileloc = in_zip
            return operator

        return TaskRunner(make, store=StateStore())

    assert [beside("agents/nightly.yaml").execute()] == named(hook)
    assert "there is no such file in" in failure_of(beside("agents/other.yaml"), MosaicValidationError)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_definition_file_by_path_or_uri(mosaic: Emulator, hook: MosaicHook, tmp_path: Path, suffix: str) -> None:
    path = (tmp_path / "agent").with_suffix(suffix)
    path.write_text(json.dumps(DEFINITION) if suffix == ".json" else definition_yaml(DEFINITION))
    assert [task_runner(None, definition=str(path)).execute()] == named(hook)
    assert [task_runner(None, definition=f"file://{path}").execute()] == named(hook)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (None, "there is no such file"),
        ("nodes: [", "cannot be read"),
        ("nodes: {a: {tile: Captions}, a: {tile: Clips}}", "it occurs twice"),
        ("- a list", "must be an object"),
        ("", "must be an object"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
    ids=["no file", "cut off", "key twice", "list", "empty", "no text"],
)
def test_file_that_is_no_definition_is_named(mosaic: Emulator, tmp_path: Path, text: Any, pattern: str) -> None:
    path = tmp_path / "agent.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = failure_of(task_runner(StateStore(), definition=str(path)), MosaicValidationError)
    assert pattern in message
    assert "definition" in message
    assert mosaic.requests() == []


def test_rejected_definition_fails_without_retries_and_creates_no_agent(mosaic: Emulator) -> None:
    wrong = {**DEFINITION, "nodes": {**DEFINITION["nodes"], "film": {"tile": "Vidoe Generation"}}}
    assert "Did you mean Video Generation" in failure_of(
        task_runner(StateStore(), definition=wrong), MosaicValidationError
    )
    failure_of(task_runner(StateStore(), agent_id="gone"), MosaicNotFoundError)
    unnamed = {"nodes": DEFINITION["nodes"]}
    assert "identifies the agent" in failure_of(
        task_runner(StateStore(), definition=unnamed, **LATE), MosaicValidationError
    )
    assert changes(mosaic) == {"created": 0, "updated": 0}


# Once


@pytest.mark.parametrize(
    ("fault", "options"),
    [("response_lost", {}), ("truncated_json", {}), ("empty", {}), ("server_error", {"status": 502, "effect": True})],
)
@pytest.mark.parametrize("store", [True, False])
def test_agent_is_found_by_name_after_a_lost_response(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, fault: str, options: dict[str, Any], store: bool
) -> None:
    hook.create_agent(name="Another")
    mosaic.inject(fault, method="POST", path=CREATE, **options)
    agent_id = task_runner(StateStore() if store else None).execute()
    assert named(hook) == [agent_id]
    assert sent(mosaic, "POST " + CREATE) == 2
    assert len(hook.get_agent(agent_id).agent_nodes) == 2


def test_delayed_list_is_read_until_it_shows_the_agent(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(list_lag=3600)
    in_pause(clock, monkeypatch, lambda: mosaic.configure(list_lag=0), number=3)
    mosaic.inject("response_lost", method="POST", path=CREATE)
    task_runner(StateStore()).execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}
    assert sent(mosaic, "GET /agents") >= 8


@pytest.mark.parametrize("memory", [True, False])
def test_retry_creates_no_second_agent_while_the_list_is_delayed(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch, memory: bool
) -> None:
    mosaic.configure(list_lag=3600)
    task = task_runner(StateStore() if memory else None)
    mosaic.inject("server_error", method="POST", path=UPDATE, status=503, retry_after=1000)
    with pytest.raises(MosaicServerError):
        task.execute()
    in_pause(clock, monkeypatch, lambda: mosaic.configure(list_lag=0), number=3)
    agent_id = task.execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}
    assert [node.node_type.node_type_name for node in hook.get_agent(agent_id).agent_nodes] == [
        "Video Generation",
        "Captions",
    ]


def test_request_without_effect_is_sent_again_after_two_minutes(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.inject("server_error", method="POST", path=CREATE, status=502)
    assert [task_runner(StateStore()).execute()] == named(hook)
    assert clock.elapsed >= 119


@pytest.mark.parametrize("moment", ["intent", "id"])
def test_killed_task_creates_no_second_agent(mosaic: Emulator, hook: MosaicHook, clock: Clock, moment: str) -> None:
    task = task_runner(StateStore().killing_at(moment))
    with pytest.raises(Killed):
        task.execute()
    assert [task.execute()] == named(hook)
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_agent_of_an_earlier_attempt_that_is_not_found_yet_is_not_created_again(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.configure(list_lag=60)
    task = task_runner(StateStore())
    mosaic.inject("server_error", method="POST", path=UPDATE, status=503, retry_after=1000)
    with pytest.raises(MosaicServerError):
        task.execute()
    mosaic.inject("not_found", method="GET", path="/agent/{agent_id}", times=2)
    task.execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_deleted_agent_of_an_earlier_attempt_is_created_again(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    task = task_runner(StateStore())
    hook.delete_agent(task.execute())
    assert [task.execute()] == named(hook)
    assert mosaic.counts().agents_created == 2


def test_recorded_id_tells_agents_of_one_name_apart(mosaic: Emulator, hook: MosaicHook) -> None:
    task = task_runner(StateStore())
    agent_id = task.execute()
    hook.create_agent(name="Nightly")
    assert task.execute() == agent_id
    message = failure_of(task_runner(StateStore()), MosaicValidationError)
    assert "several agents have this name" in message
    assert agent_id in message


def create_meanwhile(store: StateStore, hook: MosaicHook, moment: str) -> list[str]:
    """Let another task create an agent of the name when this one has recorded its ``intent`` or ``id``."""
    others: list[str] = []

    def make(value: dict[str, Any]) -> None:
        if ("id" in value) == (moment == "id") and not others:
            others.append(hook.create_agent(name="Nightly").agent_id)

    store.after_set = make
    return others


def test_later_of_two_creators_fails_and_its_retry_adopts_the_other_agent(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(timestamps="microseconds")
    store = StateStore()
    others = create_meanwhile(store, hook, "intent")
    task = task_runner(store)
    # A retry can succeed.
    with pytest.raises(MosaicConflictError, match="at the same moment") as conflict:
        task.execute()
    assert others[0] in str(conflict.value)
    assert named(hook) == others
    assert task.execute() == others[0]
    assert changes(mosaic) == {"created": 2, "updated": 1}


def test_earlier_of_two_agents_is_kept_and_named_in_the_error(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(timestamps="microseconds")
    store = StateStore()
    others = create_meanwhile(store, hook, "id")
    task = task_runner(store)
    agent_id = task.execute()
    assert sorted(named(hook)) == sorted([agent_id, others[0]])
    assert task.execute() == agent_id
    messages = [record.getMessage() for record in caplog.records if others[0] in record.getMessage()]
    assert len(messages) == 2
    assert all(agent_id in message for message in messages)


def test_agent_that_the_list_does_not_show_yet_is_found_by_the_retry(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(list_lag=60, repeated_agent_name="refuse")
    others = hook.create_agent(name="Nightly").agent_id
    task = task_runner(StateStore())
    with pytest.raises(MosaicConflictError):
        task.execute()
    mosaic.configure(list_lag=0)
    assert task.execute() == others
    assert changes(mosaic) == {"created": 1, "updated": 1}


@pytest.mark.parametrize("spelled", [str, str.upper], ids=["as listed", "in upper case"])
def test_variable_names_the_agent(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch, spelled: Callable[[str], str]
) -> None:
    # Another agent appears while the response is lost: the task cannot tell which is its own.
    store = StateStore()
    store.after_set = lambda value: hook.create_agent(name="Nightly") if "id" not in value else None
    mosaic.inject("response_lost", method="POST", path=CREATE, skip=1)
    task = task_runner(store)
    message = failure_of(task, MosaicAmbiguousOutcomeError)
    store.after_set = lambda value: None
    ours, other = named(hook)
    assert "mosaic_adopt.dag.agent" in message
    assert ours in message
    assert other in message
    message = failure_of(task, MosaicValidationError)
    assert "several agents have this name" in message
    assert "mosaic_adopt.dag.agent" in message
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.AGENT", json.dumps({task.dag_run.run_id: spelled(ours)}))
    # The emulator accepts one spelling only.
    monkeypatch.setattr(MosaicHook, "get_agent", lambda hook, agent_id: None)
    assert task.execute() == ours
    assert changes(mosaic) == {"created": 2, "updated": 1}


def test_update_with_a_lost_response_is_not_sent_again(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=UPDATE)
    agent_id = task_runner(StateStore()).execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}
    assert len(hook.get_agent(agent_id).agent_nodes) == 2


def test_agent_is_created_in_the_workspace_of_the_connection(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mosaic_emulator.catalogue import WORKSPACE_ID

    connection = json.loads(mosaic.airflow_connection())
    connection["extra"] = {"workspace_id": WORKSPACE_ID}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    task_runner(StateStore()).execute()
    [body] = [request["body"] for request in mosaic.requests() if request["template"] == CREATE]
    assert body == {"name": "Nightly", "workspace_id": WORKSPACE_ID}


# Tile names in update_params


def run(**options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.01, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=StateStore())


def bodies(mosaic: Emulator) -> list[Any]:
    return [each["body"] for each in mosaic.requests() if each["template"] == "/agent/{agent_id}/run"]


CAPTIONS = "b0000004-0000-4000-8000-000000000002"
STYLE = {"caption_style": "scaling"}


@pytest.mark.parametrize("name", ["Captions", "captions", "CAPTIONS"])
def test_update_params_by_tile_name(mosaic: Emulator, name: str) -> None:
    run(update_params={name: STYLE}).execute()
    assert bodies(mosaic) == [{"update_params": {CAPTIONS: STYLE}}]
    assert sent(mosaic, "GET /agent/{agent_id}") == 1


def test_update_params_by_node_id_need_no_read_of_the_agent(mosaic: Emulator) -> None:
    run(update_params={CAPTIONS: STYLE}).execute()
    assert bodies(mosaic) == [{"update_params": {CAPTIONS: STYLE}}]
    assert sent(mosaic, "GET /agent/{agent_id}") == 0


def test_hook_accepts_tile_names(mosaic: Emulator, hook: MosaicHook) -> None:
    hook.run_agent(AGENT, update_params={"Video Generation": {"prompt": "Rain"}})
    assert bodies(mosaic) == [{"update_params": {"b0000004-0000-4000-8000-000000000001": {"prompt": "Rain"}}}]


@pytest.mark.parametrize(
    ("params", "agent_id", "parts"),
    [
        ({"Captons": STYLE, "Music": {}}, AGENT, ["2 errors", "'Captons'", "Did you mean Captions?", "'Music'"]),
        (
            {"Video Input": {}},
            "a0000000-0000-4000-8000-000000000003",
            ["several tiles", "b0000003-", "Give the id"],
        ),
        ({"Captions": STYLE, CAPTIONS: STYLE}, AGENT, ["which another key names too"]),
        ({"Captions": STYLE, CAPTIONS.replace("-", "").upper(): STYLE}, AGENT, ["which another key names too"]),
    ],
    ids=["unknown", "ambiguous", "twice", "twice in another spelling"],
)
def test_ambiguous_tile_name_starts_no_run(
    mosaic: Emulator, params: dict[str, Any], agent_id: str, parts: list[str]
) -> None:
    message = failure_of(run(agent_id=agent_id, update_params=params), MosaicValidationError)
    assert "update_params" in message
    assert all(part in message for part in parts)
    assert bodies(mosaic) == []


def test_retry_finds_its_run_though_the_node_id_has_changed(mosaic: Emulator, hook: MosaicHook) -> None:
    task = run(update_params={"Captions": STYLE}, wait_for_completion=False)
    run_id = task.execute()
    made = {"op": "create_node", "node_type_id": "cdccb204-168e-4aec-aa72-480b11e74324"}
    hook.update_agent(AGENT, operations=[{"op": "delete_node", "agent_node_id": CAPTIONS}, made])
    assert task.execute() == run_id
    assert len(bodies(mosaic)) == 1
