"""Agents as code over real sockets: applied once, changed only where they differ, and each fault said."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hooks.counted import posts
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, DEFAULT_AGENT_ID, NODE_TYPES
from tasks.fixtures import Clock

from airflow_provider_mosaic.agents_as_code import apply as agents
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
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
    "description": "What the night brings",
    "nodes": {
        "recording": {"tile": "Video Input"},
        "cut": {"tile": "Rough Cut", "params": {"prompt": "The best minute"}},
        "captions": {"tile": "captions", "params": {"caption_style": "karaoke"}},
    },
    "connections": [["recording", "cut", "captions"]],
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Two minutes of looking pass at once."""
    clock = Clock()
    monkeypatch.setattr(agents, "time", clock)
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", clock.sleep)  # type: ignore[index]
    return clock


def operations(mosaic: Emulator) -> list[str]:
    """The operations that were sent, in order."""
    bodies = [request["body"] for request in mosaic.requests() if request["template"] == UPDATE]
    return [step["op"] for body in bodies for step in body.get("operations", [])]


def changed(**nodes: Any) -> dict[str, Any]:
    return {**DEFINITION, "nodes": {**DEFINITION["nodes"], **nodes}}


def test_an_agent_is_made_and_a_second_apply_sends_no_operation(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    first = hook.apply_agent(DEFINITION)
    assert (first.created, first.operations) == (True, 5)
    assert first.agent_id is not None
    graph = hook.get_agent(first.agent_id)
    assert (graph.agent.name, graph.agent.description) == ("Nightly", "What the night brings")
    assert {node.agent_node_id for node in graph.agent_nodes} == set(first.node_ids.values())
    assert posts(mosaic_emulator) == 2
    second = hook.apply_agent(DEFINITION)
    assert (second.agent_id, second.created, second.operations) == (first.agent_id, False, 0)
    assert second.node_ids == first.node_ids
    assert posts(mosaic_emulator) == 2


def test_what_differs_is_changed_in_one_update_and_shown(
    mosaic_emulator: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    before = hook.apply_agent(DEFINITION)
    caplog.set_level(logging.INFO)
    wanted = changed(captions={"tile": "Captions", "params": {"caption_style": "scaling"}}, music={"tile": "AI Music"})
    wanted["connections"] = [["recording", "cut", "captions"], ["cut", "music"]]
    wanted["description"] = "And music"
    applied = hook.apply_agent(wanted)
    assert operations(mosaic_emulator)[5:] == ["update_node", "create_node", "create_connection"]
    assert mosaic_emulator.counts().agents_updated == 2
    assert {key: applied.node_ids[key] for key in before.node_ids} == before.node_ids
    assert f'~ captions (Captions {before.node_ids["captions"]}): caption_style "karaoke" -> "scaling"' in caplog.text
    for line in ('~ description: "What the night brings" -> "And music"', "+ music: AI Music", "+ cut -> music"):
        assert line in caplog.text


def test_a_dry_run_shows_the_difference_and_sends_nothing(
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


def test_a_node_that_a_person_added_is_kept_or_removed(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
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


def test_an_agent_id_says_which_agent_is_meant_and_the_name_is_then_given(hook: MosaicHook) -> None:
    applied = hook.apply_agent({"name": "Renamed", "nodes": {}}, agent_id=DEFAULT_AGENT_ID)
    assert (applied.agent_id, applied.operations) == (DEFAULT_AGENT_ID, 0)
    assert applied.changes == ('~ name: "Shorts maker" -> "Renamed"',)
    assert hook.get_agent(DEFAULT_AGENT_ID).agent.name == "Renamed"
    assert len(hook.get_agent(DEFAULT_AGENT_ID).agent_nodes) == 4


def test_a_name_that_two_agents_have_is_not_guessed_at(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    twins = [hook.create_agent(name="Nightly").agent_id for _ in range(2)]
    with pytest.raises(MosaicValidationError, match="more than one agent has this name") as refused:
        hook.apply_agent(DEFINITION)
    assert all(twin in str(refused.value) for twin in twins)
    assert operations(mosaic_emulator) == []


def test_a_definition_that_does_not_fit_leaves_no_empty_agent_behind(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    with pytest.raises(MosaicValidationError, match=r"nodes\.captions\.tile='Captons'.*Nearest: Captions"):
        hook.apply_agent(changed(captions={"tile": "Captons"}))
    with pytest.raises(MosaicValidationError, match=r"nodes\.cut\.node_id='b'"):
        hook.apply_agent(changed(cut={"tile": "Rough Cut", "node_id": "b"}))
    with pytest.raises(MosaicNotFoundError):
        hook.apply_agent(DEFINITION, agent_id="gone")
    assert posts(mosaic_emulator) == 0


def test_where_node_types_list_their_params_an_unknown_one_is_told_before_anything_is_sent(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    mosaic_emulator.configure(node_type_params="listed")
    with pytest.raises(MosaicValidationError, match=r"captions\.params\.caption_sytle='x'.*Nearest: caption_style"):
        hook.apply_agent(changed(captions={"tile": "Captions", "params": {"caption_sytle": "x"}}))
    assert posts(mosaic_emulator) == 0
    assert hook.apply_agent(DEFINITION).operations == 5


def test_a_refusal_says_that_nothing_has_taken_effect(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    made = hook.apply_agent(DEFINITION)
    wrong = changed(clips={"tile": "Clips", "params": {"num_clips": 99}}, music={"tile": "AI Music"})
    with pytest.raises(MosaicValidationError, match=r"num_clips.*Nothing of the update has taken effect\."):
        hook.apply_agent(wrong)
    assert hook.apply_agent(DEFINITION).node_ids == made.node_ids


def test_a_failure_half_way_is_noticed_and_said_and_the_next_apply_goes_on_from_there(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    mosaic_emulator.configure(atomic_operations=False)
    hook.apply_agent(DEFINITION)
    wrong = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(MosaicValidationError) as refused:
        hook.apply_agent(wrong)
    done, _, missing = str(refused.value).partition("This has taken effect:")[2].partition("This has not:")
    assert "+ music: AI Music" in done
    assert '+ clips: Clips {"num_clips": 99}' in missing
    mended = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 9}})
    assert hook.apply_agent(mended).operations == 1


def test_a_change_that_does_not_show_is_a_failure_that_says_so(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.configure(dropped_params=["prompt"])
    wanted = changed(cut={"tile": "Rough Cut", "params": {"prompt": "New"}}, music={"tile": "AI Music"})
    with pytest.raises(MosaicError, match=r"(?s)taken effect:\n  \+ music.*not:\n  ~ cut.*Apply it again") as late:
        hook.apply_agent(wanted)
    assert late.value.transient
    assert [pause for pause in clock.pauses if pause] == [1, 2, 4, 8]
    assert operations(mosaic_emulator)[5:] == ["update_node", "create_node"]
    mosaic_emulator.configure(dropped_params=[])
    assert hook.apply_agent(wanted).operations == 1


def test_an_agent_that_is_not_there_at_once_is_looked_for_again(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic_emulator.inject("not_found", method="GET", path="/agent/{agent_id}", times=2)
    assert hook.apply_agent(DEFINITION).operations == 5
    assert [pause for pause in clock.pauses if pause] == [1, 2]
    mosaic_emulator.inject("not_found", method="GET", path="/agent/{agent_id}", times=5)
    with pytest.raises(MosaicError, match="was made, but is not there yet") as late:
        hook.apply_agent({**DEFINITION, "name": "Another"})
    assert late.value.transient
    assert hook.apply_agent({**DEFINITION, "name": "Another"}).created is False
    assert mosaic_emulator.counts().agents_created == 2


# Answers that are lost


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("answer_lost", {}),
        ("truncated_json", {"how": "cut"}),
        ("server_error", {"status": 504, "effect": True}),
        ("server_error", {"status": 504, "effect_after": 1.0}),
    ],
)
def test_an_update_whose_answer_was_lost_is_seen_at_the_agent_and_not_sent_again(
    mosaic_emulator: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any]
) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject(fault, method="POST", path=UPDATE, **options)
    wanted = changed(music={"tile": "AI Music"})
    applied = hook.apply_agent(wanted)
    assert operations(mosaic_emulator)[5:] == ["create_node"]
    assert hook.apply_agent(wanted).node_ids == applied.node_ids
    assert mosaic_emulator.counts().agents_updated == 2


def test_an_update_without_effect_is_sent_once_more_after_two_minutes(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    made = hook.apply_agent(DEFINITION)
    assert made.agent_id is not None
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=502)
    hook.apply_agent(changed(music={"tile": "AI Music"}))
    assert operations(mosaic_emulator)[5:] == ["create_node"] * 2
    assert len(hook.get_agent(made.agent_id).agent_nodes) == 4
    assert sum(clock.pauses) >= 119


def test_an_update_that_fails_twice_without_effect_may_be_retried(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=502, times=2)
    with pytest.raises(MosaicServerError):
        hook.apply_agent(changed(music={"tile": "AI Music"}))
    assert hook.apply_agent(changed(music={"tile": "AI Music"})).operations == 1


def test_a_lost_answer_of_half_a_change_is_said(mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock) -> None:
    mosaic_emulator.configure(atomic_operations=False)
    hook.apply_agent(DEFINITION)
    mosaic_emulator.inject("server_error", method="POST", path=UPDATE, status=504, effect=True)
    wrong = changed(music={"tile": "AI Music"}, clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(MosaicError, match=r"(?s)What came back:.*taken effect:\n  \+ music.*has not:\n  \+ clips"):
        hook.apply_agent(wrong)


def test_a_plain_hook_does_not_make_a_second_agent_when_the_answer_is_lost(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    mosaic_emulator.inject("answer_lost", method="POST", path=CREATE)
    with pytest.raises(MosaicAmbiguousOutcomeError):
        hook.apply_agent(DEFINITION)
    assert hook.apply_agent(DEFINITION).created is False
    assert mosaic_emulator.counts().agents_created == 1


# Shapes


@pytest.mark.parametrize(
    "shape",
    [
        {"agent_change_answer": "metadata"},
        {"agent_change_answer": "both", "created_status": 201},
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
def test_any_shape_of_the_answers_will_do(mosaic_emulator: Emulator, hook: MosaicHook, shape: dict[str, Any]) -> None:
    mosaic_emulator.configure(**shape)
    wanted = changed(
        clips={"tile": "Clips", "params": {"prompt": None, "num_clips": 2}},
        other={"tile": "Outro", "params": {"style": {"a": 1}}},
        same={"tile": "Captions"},
    )
    made = hook.apply_agent({**wanted, "visibility": "private"})
    sent = posts(mosaic_emulator)
    assert hook.apply_agent({**wanted, "visibility": "private"}).node_ids == made.node_ids
    assert posts(mosaic_emulator) == sent
    wanted["nodes"]["other"] = {"tile": "Outro", "params": {"style": {"b": None, "c": 2}}}
    assert hook.apply_agent(wanted).operations == 1
    assert hook.apply_agent(wanted).operations == 0


def test_an_agent_that_does_not_show_its_connections_is_left_alone(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    mosaic_emulator.configure(agent_answer="nodes")
    for act in (
        lambda: hook.apply_agent({"nodes": {}}, agent_id=CLIPS_AGENT_ID),
        lambda: hook.export_agent(CLIPS_AGENT_ID),
    ):
        with pytest.raises(MosaicResponseError, match="how its nodes are connected"):
            act()
    assert posts(mosaic_emulator) == 0


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_an_apply_that_can_not_see_the_connections_says_what_it_has_done(
    mosaic_emulator: Emulator, hook: MosaicHook, clock: Clock, lost: bool
) -> None:
    mosaic_emulator.configure(agent_answer="nodes")
    if lost:
        mosaic_emulator.inject("answer_lost", method="POST", path=UPDATE)
    with pytest.raises(MosaicResponseError, match="how its nodes are connected") as unread:
        hook.apply_agent(DEFINITION)
    [agent_id] = [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]
    message = str(unread.value)
    assert f"Agent {agent_id!r} was made by this apply" in message
    assert (
        "An update of 5 operations was sent, and its answer was lost"
        if lost
        else "Mosaic took an update of 5 operations"
    ) in message
    assert "changed nothing" not in message
    assert "It has 3 nodes" in message
    assert "editor" in message
    # The next one finds it, and changes nothing of it.
    sent = posts(mosaic_emulator)
    with pytest.raises(MosaicResponseError, match=r"This apply has changed nothing\. It has 3 nodes") as again:
        hook.apply_agent(DEFINITION)
    assert agent_id in str(again.value)
    assert "was made" not in str(again.value)
    assert posts(mosaic_emulator) == sent


def test_a_refused_update_of_a_new_agent_says_that_the_agent_is_there(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    wrong = changed(clips={"tile": "Clips", "params": {"num_clips": 99}})
    with pytest.raises(MosaicValidationError, match=r"num_clips.* was made by this apply.*Nothing of the") as refused:
        hook.apply_agent(wrong)
    [agent_id] = [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]
    assert f"Agent {agent_id!r} was made by this apply" in str(refused.value)
