"""Two tasks that create an agent of one name at the same moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import NODE_TYPES

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.agents_as_code.agents_by_name import AgentsByName
from airflow_provider_mosaic.agents_as_code.apply import AgentApply
from airflow_provider_mosaic.api.endpoints.agents import Agent
from airflow_provider_mosaic.api.errors import MosaicConflictError
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)
DELETE = "/agent/{agent_id}/delete"
DEFINITION: dict[str, Any] = {"name": "Nightly", "nodes": {"film": {"tile": "Video Generation"}}}


def create_duplicate(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, hook: MosaicHook, *, first: bool) -> list[str]:
    """Create another agent of the name just before or just after the apply does. Return its id when it exists."""
    mosaic.configure(timestamps="microseconds")
    other: list[str] = []
    create = AgentApply.create

    def create_both(apply: AgentApply) -> str:
        if first:
            other.append(hook.create_agent(name="Nightly").agent_id)
        created = create(apply)
        if not first:
            other.append(hook.create_agent(name="Nightly").agent_id)
        return created

    monkeypatch.setattr(AgentApply, "create", create_both)
    return other


def find_agents(hook: MosaicHook) -> list[str]:
    return [agent.agent_id for agent in hook.list_agents() if agent.name == "Nightly"]


def test_the_younger_of_two_agents_is_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=True)
    with pytest.raises(MosaicConflictError, match="at the same moment") as conflict:
        hook.apply_agent(DEFINITION)
    assert find_agents(hook) == other
    [deleted] = [each["path"].split("/")[2] for each in mosaic_emulator.requests() if each["path"].endswith("/delete")]
    assert deleted in str(conflict.value)
    assert other[0] in str(conflict.value)
    assert "was deleted" in str(conflict.value)
    # A retry continues with the older agent.
    assert conflict.value.transient
    assert mosaic_emulator.counts().agents_updated == 0
    assert hook.apply_agent(DEFINITION).agent_id == other[0]


def test_the_older_of_two_agents_stays(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=False)
    agent_id = hook.apply_agent(DEFINITION).agent_id
    assert sorted(find_agents(hook)) == sorted([str(agent_id), *other])
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(agent_id) in warning
    assert other[0] in warning


def test_an_agent_with_nodes_is_not_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=True)
    create = AgentApply.create

    def create_with_node(apply: AgentApply) -> str:
        agent_id = create(apply)
        hook.update_agent(agent_id, operations=[{"op": "create_node", "node_type_id": NODE_TYPES["Captions"].id}])
        return agent_id

    monkeypatch.setattr(AgentApply, "create", create_with_node)
    with pytest.raises(MosaicConflictError, match="has nodes already") as conflict:
        hook.apply_agent(DEFINITION)
    assert len(find_agents(hook)) == 2
    assert all(each in str(conflict.value) for each in (*other, *find_agents(hook)))
    assert not conflict.value.transient


def test_an_agent_whose_deletion_had_no_response_is_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", lambda seconds: None)  # type: ignore[index]
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=True)
    mosaic_emulator.inject("response_lost", method="POST", path=DELETE)
    with pytest.raises(MosaicConflictError, match="was empty and was deleted") as conflict:
        hook.apply_agent(DEFINITION)
    assert mosaic_emulator.counts().requests[f"POST {DELETE}"] == 2
    assert find_agents(hook) == other
    assert conflict.value.transient


@pytest.mark.parametrize("fault", ["forbidden", "not_found"])
def test_an_agent_that_cannot_be_deleted_is_named(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=True)
    mosaic_emulator.inject(fault, method="POST", path=DELETE)
    with pytest.raises(MosaicConflictError, match="could not be deleted") as conflict:
        hook.apply_agent(DEFINITION)
    assert len(find_agents(hook)) == 2
    assert all(each in str(conflict.value) for each in (*other, *find_agents(hook)))
    assert not conflict.value.transient


def test_an_unreadable_list_after_a_creation_is_ignored(mosaic_emulator: Emulator, hook: MosaicHook) -> None:
    mosaic_emulator.inject("forbidden", method="GET", path="/agents", skip=1)
    assert hook.apply_agent(DEFINITION).created


def test_nothing_is_deleted_if_the_creation_times_are_unknown(
    mosaic_emulator: Emulator,
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = create_duplicate(mosaic_emulator, monkeypatch, hook, first=True)
    monkeypatch.setattr(agents_by_name, "oldest", lambda agents: None)
    agent_id = hook.apply_agent(DEFINITION).agent_id
    assert sorted(find_agents(hook)) == sorted([str(agent_id), *other])
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(agent_id) in warning
    assert other[0] in warning


def change_list(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Agent]], list[Agent]]) -> None:
    """Change the list of the agents of a name."""
    read = AgentsByName.all
    monkeypatch.setattr(AgentsByName, "all", lambda self: change(read(self)))


def test_one_of_two_agents_stays_if_only_the_list_rounds_the_creation_times(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic_emulator.configure(timestamps="microseconds")
    both = [hook.create_agent(name="Nightly").agent_id for _ in range(2)]
    second = hook.get_agent(both[0]).agent.created_at.replace(microsecond=0)  # type: ignore[union-attr]
    change_list(monkeypatch, lambda agents: [agent.model_copy(update={"created_at": second}) for agent in agents])
    # Both tasks compare before one of them deletes its agent.
    monkeypatch.setattr(AgentsByName, "_delete", lambda self, agent_id: "")
    for agent_id in both:
        outcome = nullcontext() if agent_id == min(both) else pytest.raises(MosaicConflictError, match="was deleted")
        with outcome:
            AgentsByName(hook, "Nightly").resolve_duplicate(agent_id)


@pytest.mark.parametrize("spell", [str.upper, lambda agent_id: agent_id.replace("-", "")], ids=["case", "hyphens"])
def test_an_agent_whose_id_the_list_spells_differently_is_not_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, spell: Callable[[str], str]
) -> None:
    change_list(
        monkeypatch,
        lambda agents: [agent.model_copy(update={"agent_id": spell(agent.agent_id)}) for agent in agents],
    )
    applied = hook.apply_agent(DEFINITION)
    assert applied.duplicates == ()
    assert find_agents(hook) == [applied.agent_id]


def test_an_agent_that_the_list_does_not_show_yet_is_not_deleted(
    mosaic_emulator: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, own = (hook.create_agent(name="Nightly").agent_id for _ in range(2))
    change_list(monkeypatch, lambda agents: [agent for agent in agents if agent.agent_id != own])
    assert AgentsByName(hook, "Nightly").resolve_duplicate(own) == [other]
    assert sorted(find_agents(hook)) == sorted([own, other])


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Cafe\u0301", "Caf\u00e9"), ("Cuts & Clips", "Cuts &amp; Clips"), ("Nightly  clips", "Nightly clips")],
)
def test_an_agent_whose_name_the_server_rewrote_is_found(
    mosaic_emulator: Emulator, hook: MosaicHook, name: str, shown: str
) -> None:
    agent_id = hook.create_agent(name=shown).agent_id
    hook.apply_agent({**DEFINITION, "name": name})
    applied = hook.apply_agent({**DEFINITION, "name": name})
    assert (applied.agent_id, applied.changes) == (agent_id, ())
    assert mosaic_emulator.counts().agents_created == 1


def test_an_agent_with_exactly_the_name_comes_before_one_with_a_rewritten_name(
    mosaic_emulator: Emulator, hook: MosaicHook
) -> None:
    exact = hook.create_agent(name="Cuts & Clips").agent_id
    hook.create_agent(name="Cuts &amp; Clips")
    assert hook.apply_agent({**DEFINITION, "name": "Cuts & Clips"}).agent_id == exact


@pytest.mark.parametrize("other", ["nightly", "Nightl", "Nightly 2", "Nightly...", "N\uff49ghtly", "Nightl\u00ff"])
def test_an_agent_of_another_name_is_not_changed(mosaic_emulator: Emulator, hook: MosaicHook, other: str) -> None:
    agent_id = hook.create_agent(name=other).agent_id
    assert hook.apply_agent(DEFINITION).agent_id != agent_id
    assert mosaic_emulator.counts().agents_created == 2


def agent(agent_id: str, minutes: float | None = 0) -> Agent:
    created_at = None if minutes is None else (NOON + timedelta(minutes=minutes)).isoformat()
    return Agent.model_validate({"id": agent_id, "created_at": created_at})


@pytest.mark.parametrize(
    ("agents", "first"),
    [
        ([agent("b", 1), agent("a", 2)], "b"),
        ([agent("a", 2), agent("b", 1)], "b"),
        ([agent("b"), agent("a")], "a"),
        ([agent("c"), agent("a"), agent("b", -1)], "b"),
        ([agent("a")], "a"),
        ([agent("a", None), agent("b")], None),
        ([], None),
    ],
)
def test_the_oldest_agent_does_not_depend_on_the_order(agents: list[Agent], first: str | None) -> None:
    for each in (agents, agents[::-1]):
        found = agents_by_name.oldest(each)
        assert (found.agent_id if found else None) == first
