"""Two that make an agent of one name at the same moment: one gives way, or both are named."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import NODE_TYPES

from airflow_provider_mosaic.agents_as_code import agents_by_name as namesakes
from airflow_provider_mosaic.agents_as_code import apply as agents
from airflow_provider_mosaic.api.errors import MosaicConflictError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

DEFINITION: dict[str, Any] = {"name": "Nightly", "nodes": {"film": {"tile": "Video Generation"}}}


def made_meanwhile(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, hook: MosaicHook, *, first: bool) -> list[str]:
    """Somebody else makes an agent of the name just before, or just after, this apply does."""
    mosaic.configure(timestamps="microseconds")
    there: list[str] = []
    create = agents.AgentApply.create

    def both(apply: agents.AgentApply) -> str:
        if first:
            there.append(hook.create_agent(name="Nightly").agent_id)
        ours = create(apply)
        if not first:
            there.append(hook.create_agent(name="Nightly").agent_id)
        return ours

    monkeypatch.setattr(agents.AgentApply, "create", both)
    return there


def named(hook: MosaicHook) -> list[str]:
    return [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]


def test_the_younger_of_two_agents_made_at_the_same_moment_gives_way(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = made_meanwhile(mosaic_emulator, monkeypatch, hook, first=True)
    with pytest.raises(MosaicConflictError, match="at the same moment") as gave_way:
        hook.apply_agent(DEFINITION)
    assert named(hook) == there
    [ours] = [each["path"].split("/")[2] for each in mosaic_emulator.requests() if each["path"].endswith("/delete")]
    assert ours in str(gave_way.value)
    assert there[0] in str(gave_way.value)
    assert "was deleted" in str(gave_way.value)
    # A retry goes on with the other one, when its maker has had the time to fill it.
    assert gave_way.value.transient
    assert mosaic_emulator.counts().agents_updated == 0
    assert hook.apply_agent(DEFINITION).agent_id == there[0]


def test_the_older_of_two_agents_made_at_the_same_moment_stays_and_both_are_named(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = made_meanwhile(mosaic_emulator, monkeypatch, hook, first=False)
    ours = hook.apply_agent(DEFINITION).agent_id
    assert sorted(named(hook)) == sorted([str(ours), *there])
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(ours) in told
    assert there[0] in told


def test_an_agent_that_somebody_has_filled_already_is_not_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = made_meanwhile(mosaic_emulator, monkeypatch, hook, first=True)
    both = agents.AgentApply.create

    def filled(apply: agents.AgentApply) -> str:
        ours = both(apply)
        step = {"op": "create_node", "node_type_id": NODE_TYPES["Captions"].id}
        hook.update_agent(ours, operations=[step])
        return ours

    monkeypatch.setattr(agents.AgentApply, "create", filled)
    with pytest.raises(MosaicConflictError, match="has nodes already") as gave_way:
        hook.apply_agent(DEFINITION)
    assert len(named(hook)) == 2
    assert all(each in str(gave_way.value) for each in (*there, *named(hook)))
    assert not gave_way.value.transient


def test_an_agent_that_can_not_be_deleted_is_named(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = made_meanwhile(mosaic_emulator, monkeypatch, hook, first=True)
    mosaic_emulator.inject("forbidden", method="POST", path="/agent/{agent_id}/delete")
    with pytest.raises(MosaicConflictError, match="could not be deleted") as gave_way:
        hook.apply_agent(DEFINITION)
    assert len(named(hook)) == 2
    assert all(each in str(gave_way.value) for each in (*there, *named(hook)))
    assert not gave_way.value.transient


def test_a_list_that_can_not_be_read_after_a_creation_stops_nothing(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    mosaic_emulator.inject("forbidden", method="GET", path="/agents", skip=1)
    assert hook.apply_agent(DEFINITION).created


def test_where_it_is_not_said_when_they_were_made_nothing_is_deleted(
    mosaic_emulator: Emulator,
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = made_meanwhile(mosaic_emulator, monkeypatch, hook, first=True)
    monkeypatch.setattr(namesakes, "oldest", lambda agents: None)
    ours = hook.apply_agent(DEFINITION).agent_id
    assert sorted(named(hook)) == sorted([str(ours), *there])
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(ours) in told
    assert there[0] in told
