"""Apply a definition: read the agent, plan, update, and read again to see the effect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.agents_as_code.agents_by_name import AgentsByName
from airflow_provider_mosaic.agents_as_code.definition import AgentDefinition, validate_definition
from airflow_provider_mosaic.agents_as_code.diff import AgentPlan, plan_changes
from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.endpoints.agents import (
    AgentChange,
    create_agent,
    get_agent,
    list_node_types,
    update_agent,
)
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
)
from airflow_provider_mosaic.api.options import APPLY_AGENT, validate_agent_is_named
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.search import PAUSES, ProgressLog

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.paging import ApiClient

log = logging.getLogger(__name__)

#: Characters of a list of changes in the log. An error has two lists, each half as long.
_MAX_LIST_LENGTH = 18_000
#: Seconds between reads of the agent after a change that Mosaic accepted: the first pauses of a lost response. While
#: created nodes do not show, the others follow.
_EFFECT_PAUSES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class AppliedAgent:
    """
    The result of an apply.

    :param agent_id: The agent. None in a dry run of an agent that does not exist yet.
    :param created: Whether the agent was created, or would be.
    :param changes: All changes as text, one line each, including those of the name and the description.
    :param node_ids: Node ids by key. In a dry run, nodes that would be created are missing.
    :param unknown: Kept nodes that are not in the definition, as text.
    :param digest: Digest of the changes, whose text may be cut.
    :param duplicates: Ids of other agents with the name, if the agent was created.
    """

    agent_id: str | None
    created: bool
    operations: int
    changes: tuple[str, ...]
    node_ids: Mapping[str, str]
    unknown: tuple[str, ...] = ()
    digest: str = field(default="", repr=False)
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApplyOptions:
    """
    Validated arguments of :class:`~airflow_provider_mosaic.operators.agents.MosaicApplyAgentOperator`.

    :param remove_unknown: Whether to delete nodes that are not in the definition.
    """

    definition: AgentDefinition = field(repr=False)
    agent_id: str | None
    remove_unknown: bool
    dry_run: bool

    @classmethod
    def validated(cls, definition: Any, *, agent_id: Any, unknown_nodes: Any, dry_run: Any) -> ApplyOptions:
        """Validate the arguments."""
        for name, value in (("agent_id", agent_id), ("unknown_nodes", unknown_nodes), ("dry_run", dry_run)):
            APPLY_AGENT[name](name, value)
        validated = validate_definition(definition)
        validate_agent_is_named(agent_id, validated.name)
        return cls(definition=validated, agent_id=agent_id, remove_unknown=unknown_nodes == "remove", dry_run=dry_run)


class AgentApply:
    """One apply of a definition."""

    def __init__(self, client: ApiClient, options: ApplyOptions, *, workspace_id: str | None) -> None:
        self._client = client
        self._options = options
        self._workspace_id = workspace_id
        #: The agents that have the definition's name.
        self.agents_by_name = AgentsByName(client, options.definition.name)
        self._type_ids: dict[str, str] | None = None
        # The agent that this apply created. The task may continue with one that it did not create.
        self._created_id: str | None = None
        #: Sentences about what this apply has done. An error includes them.
        self._done: list[str] = []

    def apply(
        self,
        create: Callable[[], str] | None = None,
        *,
        choose: Callable[[list[str]], str] | None = None,
    ) -> AppliedAgent:
        """
        Find or create the agent, and change what differs from the definition.

        :param create: Creates the agent without nodes and returns its id. Default: :meth:`create`.
        :param choose: Called if several agents have the name. Returns the id of one, or raises.
        :raises MosaicValidationError: The definition does not fit, or Mosaic rejects it.
        :raises MosaicConflictError: An older agent with this name was created at the same moment.
        :raises MosaicError: The agent does not match the definition. The message lists what took effect.
        """
        dry_run = self._options.dry_run
        agent_id = self._options.agent_id or self.agents_by_name.find(choose)
        created = agent_id is None
        duplicates: list[str] = []
        # Planned before the agent is created: a definition that does not fit must not leave an empty agent.
        plan = self._plan(agent_id)
        if agent_id is None and not dry_run:
            agent_id = (create or self.create)()
            if agent_id == self._created_id:
                self._done.append(f"This apply created agent {agent_id!r}.")
                duplicates = self.agents_by_name.resolve_duplicate(agent_id)
            plan = self._plan_new(agent_id)
        self._log_plan(agent_id, plan)
        result = plan
        if agent_id is not None and not dry_run and not plan.is_empty:
            result = self._update(agent_id, plan)
            log.info("Agent %r matches its definition.", agent_id)
        return AppliedAgent(
            agent_id=agent_id,
            created=created,
            operations=len(plan.operations),
            changes=plan.changes,
            node_ids=result.node_ids,
            unknown=() if self._options.remove_unknown else plan.unknown,
            digest=plan.digest,
            duplicates=tuple(duplicates),
        )

    def create(self) -> str:
        """Create the agent without nodes and return its id."""
        definition = self._options.definition
        call = create_agent(
            name=definition.name,
            description=definition.description,
            visibility=definition.visibility,
            # With a workspace in the connection, lists show only the agents of that workspace.
            workspace_id=self._workspace_id,
        )
        agent_id = self._created_id = self._client.send(call).agent_id
        log.info("Created agent %r with the name %r.", agent_id, definition.name)
        return agent_id

    def _plan(self, agent_id: str | None, known: Mapping[str, str] | None = None, *, is_new: bool = False) -> AgentPlan:
        graph = None if agent_id is None else self._client.send(get_agent(agent_id))
        if graph is not None:
            graph.raise_if_incomplete(
                f"Agent {agent_id!r} cannot be compared with its definition",
                means=" ".join(self._done) or "This apply has changed nothing.",
                is_new=is_new,
            )
        if self._type_ids is None:
            self._type_ids = self._resolve_types()
        return plan_changes(
            self._options.definition,
            self._type_ids,
            graph,
            remove_unknown=self._options.remove_unknown,
            known=known,
        )

    def _plan_new(self, agent_id: str) -> AgentPlan:
        """Plan the nodes of an agent that was just created. Mosaic may not find it at once."""
        for pause in (*_EFFECT_PAUSES, None):
            try:
                return self._plan(agent_id, is_new=True)
            except MosaicNotFoundError as error:
                if pause is None:
                    raise MosaicError(
                        f"Agent {agent_id!r} was created, but Mosaic does not find it yet: {error}", transient=True
                    ) from error
                time.sleep(pause)
        raise AssertionError("unreachable: the last read returns or raises")

    def _resolve_types(self) -> dict[str, str]:
        errors = ErrorCollector()
        types = self._client.send(list_node_types()) if self._options.definition.nodes else ()
        type_ids = NodeTypes(types).resolve(self._options.definition, errors)
        errors.raise_any("definition")
        return type_ids

    def _log_plan(self, agent_id: str | None, plan: AgentPlan) -> None:
        agent = f"Agent {agent_id!r}" if agent_id else f"New agent {self._options.definition.name!r}"
        if plan.unknown and not self._options.remove_unknown:
            log.info("%s keeps nodes that are not in the definition: %s.", agent, listed(plan.unknown))
        if plan.is_empty:
            log.info("%s matches its definition. No operation is sent.", agent)
            return
        dry_run = " (dry run: none is sent)" if self._options.dry_run else ""
        log.info("%s, operations: %d%s.\n  %s", agent, len(plan.operations), dry_run, _lines(plan.changes))

    def _update(self, agent_id: str, plan: AgentPlan) -> AgentPlan:
        """Send the operations, and read the agent until it shows them. Return the plan after that."""
        update = f"an update of {len(plan.operations)} operations"
        done = self._done
        call = update_agent(agent_id, **plan.metadata, operations=plan.operations or None)
        for is_last in (False, True):
            try:
                change = self._client.send(call)
            except MosaicAmbiguousOutcomeError as lost:
                for line in (*lost.lines, f"Reading agent {agent_id!r} for up to two minutes to see the effect."):
                    log.warning("%s", line)
                self._done = [*done, f"This apply sent {update}, and its response was lost."]
                left = self._wait_for_effect(agent_id, plan.node_ids)
                self._raise_if_created_twice(agent_id, plan, left)
                if left.is_empty:
                    log.info("The update of agent %r took effect, although its response was lost.", agent_id)
                    return left
                if left.changes != plan.changes:
                    why = f"No response confirmed the update: {lost.__cause__ or lost}"
                    raise _unfinished(agent_id, plan, left, why) from lost
                if is_last:
                    # Nothing took effect, so the outcome is known. Raise the error of the request itself.
                    raise (lost.__cause__ or lost) from None
                log.warning("The update of agent %r had no effect. It is sent once more.", agent_id)
            except MosaicError as error:
                self._add_effect(agent_id, plan, error)
                raise
            else:
                self._done = [*done, f"Mosaic accepted {update}."]
                return self._read_accepted(agent_id, plan, update, change)
        raise AssertionError("unreachable: the second attempt returns or raises")

    def _read_accepted(self, agent_id: str, plan: AgentPlan, update: str, change: AgentChange) -> AgentPlan:
        """
        Read the agent until it shows an update that Mosaic accepted. Return the plan after that.

        :param update: The update as an error names it.
        :raises MosaicError: Not all of the update shows in time.
        """
        created = {node.temp_ref_id: node.agent_node_id for node in change.created_nodes if node.temp_ref_id}
        left = self._wait_for_effect(agent_id, {**plan.node_ids, **created}, accepted=True)
        # If the response does not contain the created nodes, any node may exist.
        hidden = [created.get(key, key) for key in left.keys_to_create if key in created or not created]
        if hidden:
            raise MosaicAmbiguousOutcomeError(
                f"Mosaic accepted {update} of agent {agent_id!r}, but the agent does not show these new nodes "
                f"after two minutes: {listed(hidden)}. {_effect(plan, left)}",
                means="Another apply may create them a second time.",
                to_do="Check in the editor whether the agent has these nodes.",
                candidates=hidden if created else (),
                accepted=True,
            )
        self._raise_if_created_twice(agent_id, plan, left)
        if not left.is_empty:
            raise _unfinished(agent_id, plan, left, "Mosaic accepted the update, but not all of it shows.")
        return left

    def _raise_if_created_twice(self, agent_id: str, plan: AgentPlan, left: AgentPlan) -> None:
        """Raise if another apply created the same nodes. If unknown nodes are removed, a retry removes them."""
        nodes = [] if self._options.remove_unknown else plan.created_twice(left)
        if nodes:
            raise MosaicAmbiguousOutcomeError(
                f"Agent {agent_id!r} has more new nodes of a tile than this apply created: {listed(nodes)}. Another "
                f"apply, or a user in the editor, added some of them at the same moment. {_effect(plan, left)}",
                means="Each run of the agent executes all of them, and may cost more credits.",
                to_do="Delete the nodes that are not needed in the editor, then apply again. Set "
                "max_active_tis_per_dag=1 for a task that applies an agent.",
            )

    def _wait_for_effect(self, agent_id: str, known: Mapping[str, str], *, accepted: bool = False) -> AgentPlan:
        """
        Read the agent until it matches or the pauses are over. Return what is left to change.

        :param accepted: Whether Mosaic accepted the update. Then only new nodes that do not show need the long pauses.
        """
        progress = ProgressLog(f"Still reading agent {agent_id!r}. Nothing is sent.", time.time())
        for read, pause in enumerate((*PAUSES, None)):
            try:
                left = self._plan_after(agent_id, known)
            except MosaicResponseError as error:
                # The response may be older than the update. Some servers never show the whole agent.
                if pause is None or (read >= len(_EFFECT_PAUSES) and not error.transient):
                    raise
            else:
                is_short = accepted and not left.keys_to_create
                if pause is None or left.is_empty or (is_short and read >= len(_EFFECT_PAUSES)):
                    return left
            for seconds in progress.split_pause(pause):
                time.sleep(seconds)
                progress.log_if_due(log.info, time.time())
        raise AssertionError("unreachable: the last read returns or raises")

    def _plan_after(self, agent_id: str, known: Mapping[str, str]) -> AgentPlan:
        """Plan what is left after an update. An error says what was sent."""
        try:
            return self._plan(agent_id, known)
        except MosaicError as error:
            done = " ".join(self._done)
            if done not in error.means:
                error.set_consequences(means=f"{error.means} {done}".strip(), to_do=error.to_do)
            raise

    def _add_effect(self, agent_id: str, plan: AgentPlan, error: MosaicError) -> None:
        """Add to an error what took effect. Mosaic does not document whether updates are atomic."""
        try:
            effect = _effect(plan, self._plan(agent_id, plan.node_ids))
        except MosaicError as unread:
            effect = f"What took effect is unknown: {unread}"
        error.set_consequences(means=" ".join(filter(None, (error.means, *self._done, effect))), to_do=error.to_do)


def _effect(plan: AgentPlan, left: AgentPlan) -> str:
    """Return which changes of a plan took effect."""
    if left.changes == plan.changes:
        return "Nothing of the update took effect."
    not_done = frozenset(left.changes)
    done = [line for line in plan.changes if line not in not_done]
    took_effect, did_not = (_lines(changes, most=_MAX_LIST_LENGTH // 2) for changes in (done, left.changes))
    return f"These changes took effect:\n  {took_effect}\nThese did not:\n  {did_not}"


def _lines(changes: Sequence[str], *, most: int = _MAX_LIST_LENGTH) -> str:
    """Return changes, one a line: of many, the first ones and the number of the others."""
    shown: list[str] = []
    room = most
    for line in changes:
        room -= len(line)
        if room < 0:
            shown.append(f"... and {len(changes) - len(shown)} more")
            break
        shown.append(line)
    return "\n  ".join(shown or ["(none)"])


def _unfinished(agent_id: str, plan: AgentPlan, left: AgentPlan, why: str) -> MosaicError:
    return MosaicError(
        f"Agent {agent_id!r} does not match its definition. {why} {_effect(plan, left)}",
        to_do="Apply it again. The next apply changes what is left.",
        transient=True,
    )
