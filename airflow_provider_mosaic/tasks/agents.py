"""The life of a task that makes an agent what its definition says: made once, and changed only where it differs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_mosaic.agents_as_code.apply import AgentApply, ApplyOptions
from airflow_provider_mosaic.api.arguments import validate_flag
from airflow_provider_mosaic.api.endpoints.agents import get_agent
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.api.search import Candidate, Siblings
from airflow_provider_mosaic.durable.completion_waiter import read_started
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.task_state import ExistingItems, StartRecord, TaskState
from airflow_provider_mosaic.durable.xcoms import push_agent_link, push_xcom
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: XCom key under which a task pushes the id of its agent.
AGENT_ID_KEY = "mosaic_agent_id"


class ApplyTask:
    """
    One slice of the task on a worker.

    :param hook: The connection.
    :param order: What is to be applied.
    :param durable: Whether a retry looks for an agent that an earlier try may have made and the list does not show yet.
    """

    def __init__(self, hook: MosaicHook, order: ApplyOptions, *, durable: bool) -> None:
        self._hook = hook
        self._order = order
        self._durable = validate_flag("durable", durable)
        self._apply = AgentApply(hook, order, workspace_id=hook.access.workspace_id)

    def apply(self, context: Mapping[str, Any]) -> str | None:
        """
        Make it so.

        :param context: The task's context.
        :returns: The agent's id; None in a dry run of an agent that is still to be made.
        """

        def push(key: str, value: Any, *, of: str) -> None:
            push_xcom(context, key, value, subject=f"agent {of!r}")

        def create() -> str:
            agent_id = str(self._ensure_agent(self._create_once(context)).id)
            # At once: what follows may fail, and an agent without nodes is there.
            push(AGENT_ID_KEY, agent_id, of=agent_id)
            push_agent_link(context, self._hook, agent_id, subject=f"agent {agent_id!r}")
            return agent_id

        applied = self._apply.apply(create, choose=lambda ids: self._choose_agent(self._create_once(context), ids))
        if applied.agent_id is not None:
            push(AGENT_ID_KEY, applied.agent_id, of=applied.agent_id)
            push_agent_link(context, self._hook, applied.agent_id, subject=f"agent {applied.agent_id!r}")
        made = str(applied.agent_id or self._order.definition.name)
        push("operations", applied.operations, of=made)
        push("node_ids", dict(applied.node_ids), of=made)
        return applied.agent_id

    def _create_once(self, context: Mapping[str, Any]) -> CreateOnce:
        name = self._order.definition.name
        # Only what the agent is found by: a definition that has changed since is applied to the agent that is there.
        request = [name, self._hook.access.workspace_id]

        def present(began: float) -> ExistingItems | None:
            try:
                return ExistingItems(ids=tuple(agent.agent_id for agent in self._apply.agents_by_name.all()))
            except MosaicError as error:
                log.info("The agents that are there before this one are not known: %s", error)
                return None

        def candidates(record: StartRecord) -> list[Candidate]:
            return [
                Candidate(id=agent.agent_id, status="there", started_at=agent.created_at)
                for agent in self._apply.agents_by_name.all()
                if agent.agent_id not in (record.existing_ids or ())
            ]

        return CreateOnce(
            description=f"agent {name!r}",
            memory=TaskState(context, kind="agent", request=request, durable=self._durable),
            send=self._apply.create,
            snapshot_existing=present,
            find_candidates=candidates,
            # The name says which agent is meant, whoever made it.
            siblings=lambda with_waiting: Siblings(),
            adopt=True,
            timeout=None,
            advice="Look at the agents in the editor.",
            validate_adopted=self._hook.get_agent,
        )

    def _ensure_agent(self, once: CreateOnce) -> StartRecord:
        """The agent that was made, by this try or by an earlier one; the list shows none of that name."""
        record = once.memory.load()
        if record is None or record.id is None:
            record = once.adopted(record) or record
        once.memory.record_failure_reason()
        if record is None:
            return once.start()
        if record.id is None:
            # None was there a moment ago: what the list shows from now on is the one that is meant.
            return once.resume_search(replace(record, is_saved=True, existing_ids=()))
        try:
            read_started(self._hook, get_agent(record.id), begun=record.started_at)
        except MosaicNotFoundError:
            log.warning("Agent %r of an earlier try is not there any more: making a new one.", record.id)
            return once.start()
        log.info("Going on with agent %r, which an earlier try has made.", record.id)
        return record

    def _choose_agent(self, once: CreateOnce, ids: Sequence[str]) -> str:
        """Which of the agents of one name is the task's own, by its memory or by a person's word."""
        record = once.memory.load()
        if record is None or record.id is None:
            record = once.adopted(record)
        if record is None or record.id is None or record.id not in ids:
            self._apply.agents_by_name.raise_ambiguous(ids, once.memory.decisions.adopt_hint(ids))
        log.warning(
            "These agents all have the name %r: %s. Going on with %r, which is this task's: delete the others, or give "
            "the agent_id.",
            self._order.definition.name,
            ", ".join(ids),
            record.id,
        )
        return record.id
