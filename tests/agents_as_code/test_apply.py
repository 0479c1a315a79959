"""Apply definitions through the hook: created once, changed only where they differ, with complete errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hooks.counted import posts
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, DEFAULT_AGENT_ID, NODE_TYPES
from tasks.fixtures import Clock

from airflow_provider_mosaic.agents_as_code import agents_by_name, apply, export
from airflow_provider_mosaic.agents_as_code.agents_by_name import AgentsByName
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph, get_agent
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

UPDATE = "/agent/{agent_id}/update"
CREATE = "/agent/create"
DEFINITION: dict[str, Any] = {
    "name": "Nightly",
    "description": "Nightly shorts",
    "nodes": {
        "recording": {"tile": "Video Input"},
        "cut": {"tile": "Rough Cut", "params": {"prompt": "The best minute"}},
        "captions": {"tile": "captions", "params": {"caption_style": "karaoke"}},
    },
    "connections": [["recording", "cut", "captions"]],
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Pauses pass at once."""
    clock = Clock()
    monkeypatch.setattr(apply, "time", clock)
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", clock.sleep)  # type: ignore[index]
    return clock


def operations(mosaic: Emulator) -> list[str]:
    """Return the operations that were sent, in order."""
    bodies = [request["body"] for request in mosaic.requests() if request["template"] == UPDATE]
    return [step["op"] for body in bodies for step in body.get("operations", [])]


def changed(**nodes: Any) -> dict[str, Any]:
    return {**DEFINITION, "nodes": {**DEFINITION["nodes"], **nodes}}


def change_reads(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the responses that an apply or an export reads."""

    def read_changed(agent_id: str) -> Call[AgentGraph]:
        call = get_agent(agent_id)
        return replace(call, read=lambda data: call.read(change(data)))

    for module in (apply, export, agents_by_name):
        monkeypatch.setattr(module, "get_agent", read_changed)


def test_a_second_apply_sends_no_operation(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    first = hook.apply_agent(DEFINITION)
    assert (first.created, first.operations) == (True, 5)
    assert first.agent_id is not None
    graph = hook.get_agent(first.agent_id)
    assert (graph.agent.name, graph.agent.description) == ("Nightly", "Nightly shorts")
    assert {node.agent_node_id for node in graph.agent_nodes} == set(first.node_ids.values())
    assert posts(mosaic_emulator) == 2
    second = hook.apply_agent(DEFINITION)
    assert (second.agent_id, second.created, second.operations) == (first.agent_id, False, 0)
    assert second.node_ids == first.node_ids
    assert posts(mosaic_emulator) == 2


def test_differences_are_changed_in_one_update_and_logged(
    mosaic_emulator: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    before = hook.apply_agent(DEFINITION)
    caplog.set_level(logging.INFO)
    definition = changed(
        captions={"tile": "Captions", "params": {"caption_style": "scaling"}}, music={"tile": "AI Music"}
    )
    definition["connections"] = [["recording", "cut", "captions"], ["cut", "music"]]
    definition["description"] = "And music"
    applied = hook.apply_agent(definition)
    assert operations(mosaic_emulator)[5:] == ["update_node", "create_node", "create_connection"]
    assert mosaic_emulator.counts().agents_updated == 2
    assert {key: applied.node_ids[key] for key in before.node_ids} == before.node_ids
    assert f'~ captions (Captions {before.node_ids["captions"]}): caption_style "karaoke" -> "scaling"' in caplog.text
    for line in ('~ description: "Nightly shorts" -> "And music"', "+ music: AI Music", "+ cut -> music"):
        assert line in caplog.text


def test_a_dry_run_logs_the_changes_and_sends_nothing(
    mosaic_emulator: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    planned = hook.apply_agent(DEFINITION, dry_run=True)
    assert (planned.agent_id, planned.created, planned.operations) == (None, True, 5)
    planned = hook.apply_agent(DEFINITION, agent_id=DEFAULT_AGENT_ID, dry_run=True)
    assert planned.agent_id == DEFAULT_AGENT_ID
    assert planned.operations > 0
    assert '+ captions: captions {"caption_style": "karaoke"}' in caplog.text
    assert posts(mosaic_emulator) == 0


def test_an_added_node_is_kept_or_removed(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    made = hook.apply_agent(DEFINITION)
    assert made.agent_id is not None
    steps = [
        {"op": "create_node", "temp_ref_id": "w", "node_type_id": NODE_TYPES["Watermark"].id},
        {"op": "create_connection", "source_agent_node_id": made.node_ids["captions"], "target_temp_ref_id": "w"},
    ]
    [added] = hook.update_agent(made.agent_id, operations=steps).created_nodes
    kept = hook.apply_agent(DEFINITION)
    assert (kept.operations, kept.unknown) == (0, (f"Watermark {added.agent_node_id}",))
    removed = hook.apply_agent(DEFINITION, unknown_nodes="remove")
    assert (removed.operations, removed.unknown) == (1, ())
    assert operations(mosaic_emulator)[-1] == "delete_node"
    assert len(hook.get_agent(made.agent_id).agent_nodes) == 3


def test_an_agent_found_by_its_id_gets_the_name(hook: MosaicHook) -> None:
    applied = hook.apply_agent({"name": "Renamed", "nodes": {}}, agent_id=DEFAULT_AGENT_ID)
    assert (applied.agent_id, applied.operations) == (DEFAULT_AGENT_ID, 0)
    assert applied.changes == ('~ name: "Shorts maker" -> "Renamed"',)
    assert hook.get_agent(DEFAULT_AGENT_ID).agent.name == "Renamed"
    assert len(hook.get_agent(DEFAULT_AGENT_ID).agent_nodes) == 4


def test_a_name_of_two_agents_is_rejected(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    twins = [hook.create_agent(name="Nightly").agent_id for _ in range(2)]
    with pytest.raises(MosaicValidationError, match="several agents have this name") as error:
        hook.apply_agent(DEFINITION)
    assert all(twin in str(error.value) for twin in twins)
    assert operations(mosaic_emulator) == []


def test_an_invalid_definition_leaves_no_empty_agent(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    with pytest.raises(MosaicValidationError, match=r"nodes\.captions\.tile='Captons'.*Did you mean Captions"):
        hook.apply_agent(changed(captions={"tile": "Captons"}))
    with pytest.raises(MosaicValidationError, match=r"nodes\.cut\.node_id='b'"):
        hook.apply_agent(changed(cut={"tile": "Rough Cut", "node_id": "b"}))
    with pytest.raises(MosaicNotFoundError):
        hook.apply_agent(DEFINITION, agent_id="gone")
    assert posts(mosaic_emulator) == 0


def test_an_unknown_param_is_rejected_if_the_node_type_lists_its_params(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    mosaic_emulator.configure(node_type_params="listed")
    with pytest.raises(MosaicValidationError, match=r"captions\.params\.caption_sytle='x'.*Did you mean caption_style"):
        hook.apply_agent(changed(captions={"tile": "Captions", "params": {"caption_sytle": "x"}}))
    assert posts(mosaic_emulator) == 0
    assert hook.apply_agent(DEFINITION).operations == 5


def test_a_rejected_update_without_effect(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    made = hook.apply_agent(DEFINITION)
    wrong = changed(clips={"tile": "Clips", "params": {"num_clips": 99}}, music={"tile": "AI Music"})
    with pytest.raises(MosaicValidationError, match=r"num_clips.*Nothing of the update took effect\."):
        hook.apply_agent(wrong)
    assert hook.apply_agent(DEFINITION).node_ids == made.node_ids


def test_a_rejected_update_with_a_partial_effect(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    mosaic_emulator.configure(atomic_operations=False)
    hook.apply_agent(DEFINITION)
    wrong = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(MosaicValidationError) as error:
        hook.apply_agent(wrong)
    done, _, missing = str(error.value).partition("These changes took effect:")[2].partition("These did not:")
    assert "+ music: AI Music" in done
    assert '+ clips: Clips {"num_clips": 99}' in missing
    fixed = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 9}})
    assert hook.apply_agent(fixed).operations == 1


def test_a_change_that_does_not_show_is_an_error(mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.configure(dropped_params=["prompt"])
    definition = changed(cut={"tile": "Rough Cut", "params": {"prompt": "New"}}, music={"tile": "AI Music"})
    with pytest.raises(MosaicError, match=r"(?s)took effect:\n  \+ music.*not:\n  ~ cut.*Apply it again") as error:
        hook.apply_agent(definition)
    assert error.value.transient
    assert [pause for pause in clock.pauses if pause] == [1, 2, 4, 8]
    assert operations(mosaic_emulator)[5:] == ["update_node", "create_node"]
    mosaic_emulator.configure(dropped_params=[])
    assert hook.apply_agent(definition).operations == 1


@pytest.mark.parametrize("shape", ["operations", "metadata"])
@pytest.mark.parametrize("lag", [7, 99])
def test_an_accepted_node_that_does_not_show_is_not_created_again(
    mosaic_emulator: Emulator,
    hook: MosaicHook,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    lag: int,
    shape: str,
) -> None:
    before = hook.apply_agent(DEFINITION)
    mosaic_emulator.configure(agent_change_response=shape)
    reads = iter(range(lag))
    known = set(before.node_ids.values())
    change_reads(
        monkeypatch,
        lambda agent: (
            {**agent, "agent_nodes": [node for node in agent["agent_nodes"] if node["agent_node_id"] in known]}
            if next(reads, None) is not None
            else agent
        ),
    )
    definition = changed(music={"tile": "AI Music"})
    if lag == 7:
        assert hook.apply_agent(definition).operations == 1
    else:
        with pytest.raises(MosaicAmbiguousOutcomeError, match="does not show these new nodes") as error:
            hook.apply_agent(definition)
        [created] = {node.agent_node_id for node in hook.get_agent(str(before.agent_id)).agent_nodes} - known
        assert (created if shape == "operations" else "music") in str(error.value)
        assert not error.value.transient
        assert "Apply it again" not in str(error.value)
        assert clock.elapsed >= 119
    assert operations(mosaic_emulator)[5:] == ["create_node"]


def change_after_plan(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    """Change the agent once, after an apply has planned its update."""
    log_plan, changes = apply.AgentApply._log_plan, iter([change])

    def log_and_change(self: apply.AgentApply, *args: Any) -> None:
        log_plan(self, *args)
        for make_change in changes:
            make_change()

    monkeypatch.setattr(apply.AgentApply, "_log_plan", log_and_change)


MUSIC = {**changed(music={"tile": "AI Music"}), "connections": [["recording", "cut", "captions"], ["cut", "music"]]}


@pytest.mark.parametrize("shape", ["operations", "metadata"])
@pytest.mark.parametrize("lost", [False, True], ids=["response", "response lost"])
def test_two_applies_at_once_that_create_the_same_node_fail(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, shape: str, lost: bool
) -> None:
    before = hook.apply_agent(DEFINITION)
    mosaic_emulator.configure(agent_change_response=shape)
    if lost:
        mosaic_emulator.inject("response_lost", method="POST", path=UPDATE, skip=1)
    change_after_plan(monkeypatch, lambda: hook.apply_agent(MUSIC))
    with pytest.raises(MosaicAmbiguousOutcomeError, match="more new nodes of a tile than this apply created") as error:
        hook.apply_agent(MUSIC)
    nodes = {node.agent_node_id for node in hook.get_agent(str(before.agent_id)).agent_nodes}
    created = nodes - set(before.node_ids.values())
    assert len(created) == 2
    assert all(node_id in str(error.value) for node_id in created)
    assert not any(node_id in str(error.value) for node_id in before.node_ids.values())
    assert not error.value.transient


def test_a_node_that_two_applies_created_is_removed_with_the_unknown_nodes(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = str(hook.apply_agent(DEFINITION).agent_id)
    change_after_plan(monkeypatch, lambda: hook.apply_agent(MUSIC, unknown_nodes="remove"))
    with pytest.raises(MosaicError, match=r"did not:\n  - AI Music") as error:
        hook.apply_agent(MUSIC, unknown_nodes="remove")
    assert error.value.transient
    assert hook.apply_agent(MUSIC, unknown_nodes="remove").operations == 1
    assert len(hook.get_agent(agent_id).agent_nodes) == 4


def test_a_node_that_a_user_adds_during_an_apply_is_kept(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = str(hook.apply_agent(DEFINITION).agent_id)
    steps = [{"op": "create_node", "node_type_id": NODE_TYPES["Watermark"].id}]
    change_after_plan(monkeypatch, lambda: hook.update_agent(agent_id, operations=steps))
    assert hook.apply_agent(MUSIC).operations == 2
    assert len(hook.get_agent(agent_id).agent_nodes) == 5


def test_a_new_agent_that_mosaic_does_not_find_yet(mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock) -> None:
    mosaic_emulator.inject("not_found", method="GET", path="/agent/{agent_id}", times=2)
    assert hook.apply_agent(DEFINITION).operations == 5
    assert [pause for pause in clock.pauses if pause] == [1, 2]
    mosaic_emulator.inject("not_found", method="GET", path="/agent/{agent_id}", times=5)
    with pytest.raises(MosaicError, match="does not find it yet") as error:
        hook.apply_agent({**DEFINITION, "name": "Another"})
    assert error.value.transient
    assert hook.apply_agent({**DEFINITION, "name": "Another"}).created is False
    assert mosaic_emulator.counts().agents_created == 2


# Lost responses


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("response_lost", {}),
        ("truncated_json", {"how": "cut"}),
        ("server_error", {"status": 504, "effect": True}),
        ("server_error", {"status": 504, "effect_after": 1.0}),
    ],
)
def test_an_update_with_a_lost_response_is_not_repeated(
    mosaic_emulator: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any]
) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject(fault, method="POST", path=UPDATE, **options)
    definition = changed(music={"tile": "AI Music"})
    applied = hook.apply_agent(definition)
    assert operations(mosaic_emulator)[5:] == ["create_node"]
    assert hook.apply_agent(definition).node_ids == applied.node_ids
    assert mosaic_emulator.counts().agents_updated == 2


def test_an_update_without_effect_is_repeated_after_two_minutes(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    made = hook.apply_agent(DEFINITION)
    assert made.agent_id is not None
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=502)
    hook.apply_agent(changed(music={"tile": "AI Music"}))
    assert operations(mosaic_emulator)[5:] == ["create_node"] * 2
    assert len(hook.get_agent(made.agent_id).agent_nodes) == 4
    assert clock.elapsed >= 119


def test_an_update_that_fails_twice_can_be_retried(mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=502, times=2)
    with pytest.raises(MosaicServerError):
        hook.apply_agent(changed(music={"tile": "AI Music"}))
    assert hook.apply_agent(changed(music={"tile": "AI Music"})).operations == 1


def test_a_lost_response_with_a_partial_effect(mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock) -> None:
    mosaic_emulator.configure(atomic_operations=False)
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=504, effect=True)
    wrong = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(
        MosaicError, match=r"(?s)No response confirmed the update:.*took effect:\n  \+ music.*did not:\n  \+ clips"
    ):
        hook.apply_agent(wrong)


def test_the_hook_raises_when_the_response_to_a_creation_is_lost(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    mosaic_emulator.inject("response_lost", method="POST", path=CREATE)
    with pytest.raises(MosaicAmbiguousOutcomeError):
        hook.apply_agent(DEFINITION)
    assert hook.apply_agent(DEFINITION).created is False
    assert mosaic_emulator.counts().agents_created == 1


# Response shapes


@pytest.mark.parametrize(
    "shape",
    [
        {"agent_change_response": "metadata"},
        {"agent_change_response": "both", "created_status": 201},
        {"success_status": 201},
        {"optional_fields": "null"},
        {"optional_fields": "absent"},
        {"extra_fields": True, "error_codes": False},
        {"params_merge": "deep", "null_params": "unset"},
        {"default_params": True},
        {"repeated_connection": "ignore"},
        {"list_order": "oldest", "timestamps": "offset"},
        {"node_type_params": "listed"},
    ],
    ids=str,
)
def test_every_response_shape(mosaic_emulator: Emulator, hook: MosaicHook, shape: dict[str, Any]) -> None:
    mosaic_emulator.configure(**shape)
    definition = changed(
        clips={"tile": "Clips", "params": {"prompt": None, "num_clips": 2}},
        other={"tile": "Outro", "params": {"style": {"a": 1}}},
        same={"tile": "Captions"},
    )
    made = hook.apply_agent({**definition, "visibility": "private"})
    sent = posts(mosaic_emulator)
    assert hook.apply_agent({**definition, "visibility": "private"}).node_ids == made.node_ids
    assert posts(mosaic_emulator) == sent
    definition["nodes"]["other"] = {"tile": "Outro", "params": {"style": {"b": None, "c": 2}}}
    assert hook.apply_agent(definition).operations == 1
    assert hook.apply_agent(definition).operations == 0


def test_an_agent_without_visible_connections_is_not_changed(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    mosaic_emulator.configure(agent_response="nodes")
    with pytest.raises(MosaicResponseError, match="how its 4 nodes are connected"):
        hook.apply_agent({"nodes": {}}, agent_id=CLIPS_AGENT_ID)
    with pytest.raises(MosaicResponseError, match="how its 4 nodes are connected"):
        hook.export_agent(CLIPS_AGENT_ID)
    assert posts(mosaic_emulator) == 0


def without(response: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda agent: without(agent, "agent_nodes"), "does not show its nodes"),
        (lambda agent: without(agent, "agent_nodes", "connections"), "does not show its nodes"),
        (lambda agent: {**agent, "agent_nodes": None}, "does not show its nodes"),
        (lambda agent: {**without(agent, "agent_nodes"), "tiles": agent["agent_nodes"]}, "does not show its nodes"),
        (lambda agent: {**agent, "agent_nodes": []}, "has connections of nodes that it does not show"),
        (lambda agent: {**agent, "agent_nodes": agent["agent_nodes"][:-1]}, "has connections of nodes that it does"),
        (
            lambda agent: {**agent, "agent_nodes": [without(node, "node_type") for node in agent["agent_nodes"]]},
            "does not show the type of these nodes",
        ),
    ],
)
def test_an_agent_with_hidden_nodes_is_not_changed(
    mosaic_emulator: Emulator,
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], Any],
    why: str,
) -> None:
    agent_id = str(hook.apply_agent(DEFINITION).agent_id)
    sent = posts(mosaic_emulator)
    change_reads(monkeypatch, change)
    for _ in range(2):
        with pytest.raises(MosaicResponseError, match=rf"{why}.*This apply has changed nothing"):
            hook.apply_agent(DEFINITION)
    with pytest.raises(MosaicResponseError, match=why):
        hook.export_agent(agent_id)
    assert posts(mosaic_emulator) == sent


def test_a_new_agent_may_be_shown_without_nodes(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_reads(monkeypatch, lambda agent: agent if agent["agent_nodes"] else without(agent, "agent_nodes"))
    assert hook.apply_agent(DEFINITION).operations == 5


def test_an_agent_that_may_have_nodes_is_not_deleted(hook: MosaicHook, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = (hook.create_agent(name="Nightly").agent_id for _ in range(2))
    change_reads(monkeypatch, lambda agent: without(agent, "agent_nodes"))
    monkeypatch.setattr(agents_by_name, "oldest", lambda agents: None if len(agents) < 2 else agents[-1])
    with pytest.raises(MosaicConflictError, match="does not show whether it has nodes"):
        AgentsByName(hook, "Nightly").resolve_duplicate(newer)
    assert {older, newer} <= {agent.agent_id for agent in hook.list_agents()}


@pytest.mark.parametrize(
    "older",
    [
        lambda agent: {**agent, "agent_nodes": agent["agent_nodes"][:-1]},
        lambda agent: without(agent, "agent_nodes", "connections"),
        lambda agent: {**agent, "agent_nodes": None, "connections": None},
    ],
    ids=["connections first", "without empty lists", "null"],
)
def test_a_read_that_is_older_than_the_update_is_repeated(
    mosaic_emulator: Emulator,
    hook: MosaicHook,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    older: Callable[[dict[str, Any]], Any],
) -> None:
    lag = iter([2, 1])
    change_reads(monkeypatch, lambda agent: older(agent) if agent["connections"] and next(lag, 0) else agent)
    assert hook.apply_agent(DEFINITION).operations == 5
    assert [pause for pause in clock.pauses if pause] == [1, 2]
    assert operations(mosaic_emulator).count("create_node") == 3


@pytest.mark.parametrize("lost", [False, True], ids=["response", "response lost"])
def test_an_apply_that_cannot_see_the_connections_reports_what_it_did(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock, lost: bool
) -> None:
    mosaic_emulator.configure(agent_response="nodes")
    if lost:
        mosaic_emulator.inject("response_lost", method="POST", path=UPDATE)
    with pytest.raises(MosaicResponseError, match="how its 3 nodes are connected") as error:
        hook.apply_agent(DEFINITION)
    [agent_id] = [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]
    message = str(error.value)
    assert f"This apply created agent {agent_id!r}." in message
    assert (
        "This apply sent an update of 5 operations, and its response was lost"
        if lost
        else "Mosaic accepted an update of 5 operations"
    ) in message
    assert "changed nothing" not in message
    assert "editor" in message
    # The next apply finds the agent and does not change it.
    sent = posts(mosaic_emulator)
    with pytest.raises(MosaicResponseError, match="This apply has changed nothing") as error:
        hook.apply_agent(DEFINITION)
    assert agent_id in str(error.value)
    assert "created" not in str(error.value)
    assert posts(mosaic_emulator) == sent


def test_an_agent_that_a_search_found_is_empty_if_the_server_leaves_out_empty_lists(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_reads(
        monkeypatch, lambda agent: agent if agent["agent_nodes"] else without(agent, "agent_nodes", "connections")
    )
    found = hook.create_agent(name="Nightly").agent_id
    other = {**DEFINITION, "name": "Other"}
    options = apply.ApplyOptions.validated(other, agent_id=None, unknown_nodes="keep", dry_run=False)
    applied = apply.AgentApply(hook, options, workspace_id=None).apply(lambda: found)
    assert applied.agent_id == found
    assert operations(mosaic_emulator).count("create_node") == 3


def test_a_rejected_update_of_a_new_agent_names_the_agent(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    wrong = changed(clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(MosaicValidationError, match=r"num_clips.*This apply created agent.*Nothing of the") as error:
        hook.apply_agent(wrong)
    [agent_id] = [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]
    assert f"This apply created agent {agent_id!r}." in str(error.value)


def test_an_agent_that_another_task_created_is_not_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    _older, newer = (hook.create_agent(name=DEFINITION["name"]).agent_id for _ in range(2))
    # The lists lag. The search for the lost response to our own request finds the agent of the other task.
    monkeypatch.setattr(AgentsByName, "find", lambda self, choose=None: None)
    options = apply.ApplyOptions.validated(DEFINITION, agent_id=None, unknown_nodes="keep", dry_run=False)
    assert apply.AgentApply(hook, options, workspace_id=None).apply(lambda: newer).agent_id == newer
    assert hook.get_agent(newer).agent_nodes


@pytest.mark.parametrize("fault", ["forbidden", "not_found"])
def test_failed_read_after_an_update_says_what_was_sent(
    mosaic_emulator: Emulator, clock: Clock, hook: MosaicHook, fault: str
) -> None:
    agent_id = hook.apply_agent(DEFINITION).agent_id
    mosaic_emulator.inject(fault, method="GET", path="/agent/{agent_id}", skip=1)
    with pytest.raises(MosaicError, match="Mosaic accepted an update of 1 operations"):
        hook.apply_agent(changed(music={"tile": "AI Music"}), agent_id=agent_id)
