"""Make an agent match its definition: create it once, and change only what differs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_mosaic.agents_as_code.apply import AgentApply, ApplyOptions
from airflow_provider_mosaic.api.arguments import id_key, validate_flag
from airflow_provider_mosaic.api.endpoints.agents import get_agent
from airflow_provider_mosaic.api.errors import MosaicNotFoundError
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.reads import read_started
from airflow_provider_mosaic.durable.task_state import StartRecord
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import (
    AGENT_ID_KEY,
    mosaic_uris,
    push_agent_link,
    push_xcom,
    report_lineage,
)

log = logging.getLogger(__name__)


def apply(context: Mapping[str, Any], hook: MosaicHook, options: ApplyOptions, *, durable: bool) -> str | None:
    """
    Apply the definition.

    :param durable: Whether a retry searches for an agent of an earlier attempt that the list does not show yet.
    :returns: The agent's id; None in a dry run of an agent that does not exist.
    """
    agent_apply = AgentApply(hook, options, workspace_id=hook.access.workspace_id)
    name = options.definition.name
    creation = CreateAgent(context, hook, agent_apply, name=name, durable=validate_flag("durable", durable))
    applied = agent_apply.apply(lambda: str(creation.ensure().id), choose=creation.choose)
    if applied.agent_id is not None:
        push_agent(context, hook, applied.agent_id)
        report_lineage(hook, outputs=mosaic_uris(hook, "agents", [applied.agent_id]))
    agent = f"agent {applied.agent_id or name!r}"
    push_xcom(context, "operations", applied.operations, name=agent)
    push_xcom(context, "node_ids", dict(applied.node_ids), name=agent)
    return applied.agent_id


def push_agent(context: Mapping[str, Any], hook: MosaicHook, agent_id: str) -> None:
    """Push the id and the link of the agent."""
    name = f"agent {agent_id!r}"
    push_xcom(context, AGENT_ID_KEY, agent_id, name=name)
    push_agent_link(context, hook, agent_id, name=name)


class CreateAgent(CreateOnce):
    """The creation of the agent, without nodes. The name identifies it, so it belongs to no single task."""

    advice = "Check the agents in the editor."

    def __init__(
        self, context: Mapping[str, Any], hook: MosaicHook, agent_apply: AgentApply, *, name: str | None, durable: bool
    ) -> None:
        # Without the rest of the definition: a changed definition is applied to the same agent.
        request = [name, hook.access.workspace_id]
        super().__init__(context, kind="agent", request=request, durable=durable, description=f"agent {name!r}")
        self._hook = hook
        self._agent_apply = agent_apply
        self._name = name

    def send(self) -> str:
        """Create the agent and return its id."""
        return self._agent_apply.create()

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        """Add the agents of this name."""
        return replace(record, existing_ids=tuple(agent.agent_id for agent in self._agent_apply.agents_by_name.all()))

    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        """Return the agents of this name that did not exist before."""
        return [
            Candidate(id=agent.agent_id, status="exists", started_at=agent.created_at)
            for agent in self._agent_apply.agents_by_name.all()
            if agent.agent_id not in (record.existing_ids or ())
        ]

    def search_for_earlier(self, record: StartRecord) -> StartRecord:
        """Adopt any agent of this name, because a new one is this task's: the list showed none a moment ago."""
        return super().search_for_earlier(replace(record, is_saved=True, existing_ids=()))

    def can_continue(self, record: StartRecord) -> bool:
        """Continue with an agent that still exists."""
        agent_id = str(record.id)
        try:
            read_started(self._hook, get_agent(agent_id), name=f"Agent {agent_id!r}", started_at=record.started_at)
        except MosaicNotFoundError:
            log.warning("Agent %r of an earlier attempt does not exist any more. Creating a new one.", agent_id)
            return False
        log.info("Continuing with agent %r of an earlier attempt.", agent_id)
        return True

    def on_started(self, id: str) -> None:
        """Push the id and the link: a later step may fail, and the agent exists."""
        push_agent(self._context, self._hook, id)

    def validate_adopted(self, id: str) -> None:
        """Raise if there is no such agent."""
        self._hook.get_agent(id)

    def choose(self, ids: Sequence[str]) -> str:
        """
        Return which of several agents of one name is the task's: the saved one, or the one that a user named.

        :raises MosaicValidationError: It is none of them.
        """
        record = self.load_or_adopt()
        saved = None if record is None or record.id is None else id_key(record.id)
        own = next((id for id in ids if id_key(id) == saved), None)
        if own is None:
            self._agent_apply.agents_by_name.raise_ambiguous(ids, self.adoption.adopt_hint(ids))
        log.warning(
            "Several agents have the name %r: %s. The task continues with %r, which is its own. Delete the others, or "
            "set agent_id.",
            self._name,
            listed(ids),
            own,
        )
        return own
