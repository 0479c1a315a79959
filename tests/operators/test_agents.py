"""An agent is made once, over lost answers, kills and retries, and changed only where it differs."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, Clock, sent
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
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other maker of an agent needs time to be seen."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(agents, "time", clock)
    return clock


def life(store: StateStore | None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "agent", "definition": DEFINITION, **options}
    return TaskRunner(lambda: MosaicApplyAgentOperator(**arguments), store=store)


def named(hook: MosaicHook, name: str = "Nightly") -> list[str]:
    return [agent.agent_id for agent in hook.list_agents() if agent.name == name]


def gives_up(task: TaskRunner, kind: type[Exception]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        task.execute()
    assert type(failure.value.error) is kind
    return str(failure.value)


def changes(mosaic: Emulator) -> dict[str, int]:
    counts = mosaic.counts()
    return {"created": counts.agents_created, "updated": counts.agents_updated}


def test_an_agent_is_made_and_what_follows_knows_its_nodes(mosaic: Emulator, hook: MosaicHook) -> None:
    task = life(StateStore())
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
def test_another_try_and_a_clear_change_nothing_that_is_as_it_should_be(mosaic: Emulator, cleared: bool) -> None:
    task = life(StateStore())
    agent_id = task.execute()
    if cleared:
        task.clear()
    assert task.execute() == agent_id
    assert task.xcom("operations") == 0
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_a_dry_run_sends_nothing_and_shows_the_difference(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    task = life(StateStore(), dry_run=True)
    assert task.execute() is None
    assert task.xcom("mosaic_agent_id") is None
    assert task.xcom("operations") == 3
    assert '+ captions: Captions {"caption_style": "karaoke"}' in caplog.text
    assert "+ film -> captions" in caplog.text
    assert changes(mosaic) == {"created": 0, "updated": 0}


def test_a_file_beside_the_dag_is_found(mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch) -> None:
    # The DAG is made in the stand-ins' file.
    beside = Path(TaskRunner.execute.__code__.co_filename).parent / "agent-of-a-test.yaml"
    beside.write_text(definition_yaml(DEFINITION))
    try:
        assert [life(None, definition=beside.name).execute()] == named(hook)
    finally:
        beside.unlink()


def test_a_file_in_the_zip_of_the_dag_is_found(mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    archive = tmp_path / "dags.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("agents/nightly.yaml", definition_yaml(DEFINITION))
    in_zip = str(archive / "dag.py")

    def beside(definition: str) -> TaskRunner:
        def make() -> MosaicApplyAgentOperator:
            operator = MosaicApplyAgentOperator(task_id="apply", definition=definition)
            # As Airflow sets it for a DAG file in a zip.
            operator.dag.fileloc = in_zip
            return operator

        return TaskRunner(make, store=StateStore())

    assert [beside("agents/nightly.yaml").execute()] == named(hook)
    assert "there is no such file in" in gives_up(beside("agents/other.yaml"), MosaicValidationError)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_file_anywhere_is_found_by_its_path_or_uri(
    mosaic: Emulator, hook: MosaicHook, tmp_path: Path, suffix: str
) -> None:
    path = (tmp_path / "agent").with_suffix(suffix)
    path.write_text(json.dumps(DEFINITION) if suffix == ".json" else definition_yaml(DEFINITION))
    assert [life(None, definition=str(path)).execute()] == named(hook)
    assert [life(None, definition=f"file://{path}").execute()] == named(hook)


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
def test_a_file_that_is_no_definition_is_named(mosaic: Emulator, tmp_path: Path, text: Any, pattern: str) -> None:
    path = tmp_path / "agent.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = gives_up(life(StateStore(), definition=str(path)), MosaicValidationError)
    assert pattern in message
    assert "definition" in message
    assert mosaic.requests() == []


def test_a_refused_definition_burns_no_retries_and_leaves_no_agent(mosaic: Emulator) -> None:
    wrong = {**DEFINITION, "nodes": {**DEFINITION["nodes"], "film": {"tile": "Vidoe Generation"}}}
    assert "Did you mean Video Generation" in gives_up(life(StateStore(), definition=wrong), MosaicValidationError)
    gives_up(life(StateStore(), agent_id="gone"), MosaicNotFoundError)
    unnamed = {"nodes": DEFINITION["nodes"]}
    assert "which agent is meant" in gives_up(life(StateStore(), definition=unnamed, **LATE), MosaicValidationError)
    assert changes(mosaic) == {"created": 0, "updated": 0}


# Once


@pytest.mark.parametrize(
    ("fault", "options"),
    [("answer_lost", {}), ("truncated_json", {}), ("empty", {}), ("server_error", {"status": 502, "effect": True})],
)
@pytest.mark.parametrize("store", [True, False])
def test_an_agent_whose_answer_was_lost_is_found_by_its_name(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, fault: str, options: dict[str, Any], store: bool
) -> None:
    hook.create_agent(name="Another")
    mosaic.inject(fault, method="POST", path=CREATE, **options)
    agent_id = life(StateStore() if store else None).execute()
    assert named(hook) == [agent_id]
    assert sent(mosaic, "POST " + CREATE) == 2
    assert len(hook.get_agent(agent_id).agent_nodes) == 2


def test_a_list_that_lags_is_looked_at_until_it_shows_the_agent(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.configure(list_lag=0.1)
    mosaic.inject("answer_lost", method="POST", path=CREATE)
    life(StateStore()).execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}


@pytest.mark.parametrize("memory", [True, False])
def test_a_retry_makes_no_second_agent_while_the_list_does_not_show_the_first(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, memory: bool
) -> None:
    mosaic.configure(list_lag=0.12)
    task = life(StateStore() if memory else None)
    mosaic.inject("server_error", method="POST", path=UPDATE, status=503, retry_after=1000)
    with pytest.raises(MosaicServerError):
        task.execute()
    agent_id = task.execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}
    assert [node.node_type.node_type_name for node in hook.get_agent(agent_id).agent_nodes] == [
        "Video Generation",
        "Captions",
    ]


def test_a_request_without_effect_is_sent_once_more_after_two_minutes(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.inject("server_error", method="POST", path=CREATE, status=502)
    assert [life(StateStore()).execute()] == named(hook)
    assert sum(clock.pauses) >= 119


@pytest.mark.parametrize("moment", ["intent", "id"])
def test_a_task_that_died_in_the_middle_makes_no_second_agent(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, moment: str
) -> None:
    task = life(StateStore().killing_at(moment))
    with pytest.raises(Killed):
        task.execute()
    assert [task.execute()] == named(hook)
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_an_agent_of_an_earlier_try_that_is_not_there_everywhere_yet_is_not_made_again(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.configure(list_lag=60)
    task = life(StateStore())
    mosaic.inject("server_error", method="POST", path=UPDATE, status=503, retry_after=1000)
    with pytest.raises(MosaicServerError):
        task.execute()
    mosaic.inject("not_found", method="GET", path="/agent/{agent_id}", times=2)
    task.execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_an_agent_of_an_earlier_try_that_is_gone_is_made_anew(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    task = life(StateStore())
    hook.delete_agent(task.execute())
    assert [task.execute()] == named(hook)
    assert mosaic.counts().agents_created == 2


def test_agents_of_one_name_are_told_apart_by_what_the_task_remembers(mosaic: Emulator, hook: MosaicHook) -> None:
    task = life(StateStore())
    agent_id = task.execute()
    hook.create_agent(name="Nightly")
    assert task.execute() == agent_id
    message = gives_up(life(StateStore()), MosaicValidationError)
    assert "several agents have this name" in message
    assert agent_id in message


def other_maker(store: StateStore, hook: MosaicHook, moment: str) -> list[str]:
    """Another task makes an agent of the name when this one has noted its ``intent``, or the ``id`` of its own."""
    there: list[str] = []

    def make(value: dict[str, Any]) -> None:
        if ("id" in value) == (moment == "id") and not there:
            there.append(hook.create_agent(name="Nightly").agent_id)

    store.after_set = make
    return there


def test_of_two_tasks_that_make_one_agent_the_later_gives_way_and_its_retry_takes_the_others(
    mosaic: Emulator, hook: MosaicHook
) -> None:
    mosaic.configure(timestamps="microseconds")
    store = StateStore()
    there = other_maker(store, hook, "intent")
    task = life(store)
    # One that a retry can cure.
    with pytest.raises(MosaicConflictError, match="at the same moment") as gave_way:
        task.execute()
    assert there[0] in str(gave_way.value)
    assert named(hook) == there
    assert task.execute() == there[0]
    assert changes(mosaic) == {"created": 2, "updated": 1}


def test_the_earlier_of_two_stays_and_whenever_the_task_chooses_it_names_the_other(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(timestamps="microseconds")
    store = StateStore()
    there = other_maker(store, hook, "id")
    task = life(store)
    agent_id = task.execute()
    assert sorted(named(hook)) == sorted([agent_id, there[0]])
    assert task.execute() == agent_id
    told = [record.getMessage() for record in caplog.records if there[0] in record.getMessage()]
    assert len(told) == 2
    assert all(agent_id in message for message in told)


def test_a_name_that_is_taken_and_not_listed_yet_is_found_by_the_retry(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(list_lag=60, repeated_agent_name="refuse")
    there = hook.create_agent(name="Nightly").agent_id
    task = life(StateStore())
    with pytest.raises(MosaicConflictError):
        task.execute()
    mosaic.configure(list_lag=0)
    assert task.execute() == there
    assert changes(mosaic) == {"created": 1, "updated": 1}


def test_a_person_says_which_agent_it_is(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another one appears while the answer is lost: which is ours can't be told.
    store = StateStore()
    store.after_set = lambda value: hook.create_agent(name="Nightly") if "id" not in value else None
    mosaic.inject("answer_lost", method="POST", path=CREATE, skip=1)
    task = life(store)
    message = gives_up(task, MosaicAmbiguousOutcomeError)
    store.after_set = lambda value: None
    ours, other = named(hook)
    assert "mosaic_adopt.dag.agent" in message
    assert ours in message
    assert other in message
    message = gives_up(task, MosaicValidationError)
    assert "several agents have this name" in message
    assert "mosaic_adopt.dag.agent" in message
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.AGENT", json.dumps({task.dag_run.run_id: ours}))
    assert task.execute() == ours
    assert changes(mosaic) == {"created": 2, "updated": 1}


def test_an_update_whose_answer_was_lost_is_not_sent_again(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=UPDATE)
    agent_id = life(StateStore()).execute()
    assert changes(mosaic) == {"created": 1, "updated": 1}
    assert len(hook.get_agent(agent_id).agent_nodes) == 2


def test_the_agent_is_made_in_the_connections_workspace(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mosaic_emulator.catalogue import WORKSPACE_ID

    connection = json.loads(mosaic.airflow_connection())
    connection["extra"] = {"workspace_id": WORKSPACE_ID}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    life(StateStore()).execute()
    [body] = [request["body"] for request in mosaic.requests() if request["template"] == CREATE]
    assert body == {"name": "Nightly", "workspace_id": WORKSPACE_ID}


# Tiles by name in a run


def run(**options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.01, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=StateStore())


def bodies(mosaic: Emulator) -> list[Any]:
    return [each["body"] for each in mosaic.requests() if each["template"] == "/agent/{agent_id}/run"]


CAPTIONS = "b0000004-0000-4000-8000-000000000002"
STYLE = {"caption_style": "scaling"}


@pytest.mark.parametrize("name", ["Captions", "captions", "CAPTIONS"])
def test_a_tile_may_be_named_in_the_parameters_of_a_run(mosaic: Emulator, name: str) -> None:
    run(update_params={name: STYLE}).execute()
    assert bodies(mosaic) == [{"update_params": {CAPTIONS: STYLE}}]
    assert sent(mosaic, "GET /agent/{agent_id}") == 1


def test_ids_cost_no_look_at_the_agent(mosaic: Emulator) -> None:
    run(update_params={CAPTIONS: STYLE}).execute()
    assert bodies(mosaic) == [{"update_params": {CAPTIONS: STYLE}}]
    assert sent(mosaic, "GET /agent/{agent_id}") == 0


def test_the_hook_takes_names_as_well(mosaic: Emulator, hook: MosaicHook) -> None:
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
    ],
    ids=["unknown", "ambiguous", "twice"],
)
def test_a_name_that_is_not_one_tiles_alone_starts_nothing(
    mosaic: Emulator, params: dict[str, Any], agent_id: str, parts: list[str]
) -> None:
    message = gives_up(run(agent_id=agent_id, update_params=params), MosaicValidationError)
    assert "update_params" in message
    assert all(part in message for part in parts)
    assert bodies(mosaic) == []


def test_a_retry_knows_its_run_although_the_tile_has_another_id_by_now(mosaic: Emulator, hook: MosaicHook) -> None:
    task = run(update_params={"Captions": STYLE}, wait_for_completion=False)
    run_id = task.execute()
    made = {"op": "create_node", "node_type_id": "cdccb204-168e-4aec-aa72-480b11e74324"}
    hook.update_agent(AGENT, operations=[{"op": "delete_node", "agent_node_id": CAPTIONS}, made])
    assert task.execute() == run_id
    assert len(bodies(mosaic)) == 1
