"""Agents as code, over the API: read, plan, change, and read again to see what the change has come to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.agents_as_code.agents_by_name import AgentsByName
from airflow_provider_mosaic.agents_as_code.definition import AgentDefinition, validate_definition
from airflow_provider_mosaic.agents_as_code.diff import AgentPlan, plan_changes
from airflow_provider_mosaic.agents_as_code.export import exported
from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.arguments import validate_flag
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import AgentChange, create_agent, get_agent, update_agent
from airflow_provider_mosaic.api.endpoints.node_types import list_node_types
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
)
from airflow_provider_mosaic.api.options import (
    APPLY_AGENT,
    validate_agent_is_named,
)
from airflow_provider_mosaic.api.search import PAUSES, ProgressLog

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.client import ApiClient

log = logging.getLogger(__name__)

#: Seconds between the looks at what a change has come to.
_EFFECT_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: How often an update goes out whose answer is lost and of which nothing is to be seen.
_SENDINGS = 2


@dataclass(frozen=True, kw_only=True)
class AppliedAgent:
    """
    What an apply came to.

    :param agent_id: The agent; None in a dry run of one that is still to be made.
    :param created: Whether it was made, or would be.
    :param operations: How many operations its graph took, or would take.
    :param changes: All changes in words, its name and description among them.
    :param node_ids: The ids of its nodes by the keys of the definition; those that a dry run would make are left out.
    :param unknown: Nodes that the definition does not have and that were kept, in words.
    """

    agent_id: str | None
    created: bool
    operations: int
    changes: tuple[str, ...]
    node_ids: Mapping[str, str]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApplyOptions:
    """
    What is to be applied, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.agents.MosaicApplyAgentOperator`.
    """

    definition: AgentDefinition = field(repr=False)
    agent_id: str | None
    remove_unknown: bool
    dry_run: bool

    @classmethod
    def validated(cls, definition: Any, *, agent_id: Any, unknown_nodes: Any, dry_run: Any) -> ApplyOptions:
        """
        From the arguments.

        :raises MosaicValidationError: One of them is wrong; of the definition, every fault is told.
        """
        for name, value in (("agent_id", agent_id), ("unknown_nodes", unknown_nodes), ("dry_run", dry_run)):
            APPLY_AGENT[name](name, value)
        defined = validate_definition(definition)
        validate_agent_is_named(agent_id, defined.name)
        return cls(definition=defined, agent_id=agent_id, remove_unknown=unknown_nodes == "remove", dry_run=dry_run)


class AgentApply:
    """
    One apply.

    :param client: The client.
    :param options: The definition and how to apply it.
    :param workspace_id: The workspace of a new agent.
    """

    def __init__(self, client: ApiClient, options: ApplyOptions, *, workspace_id: str | None) -> None:
        self._client = client
        self._options = options
        self._workspace_id = workspace_id
        #: The agents of the definition's name.
        self.agents_by_name = AgentsByName(client, options.definition.name)
        self._type_ids: dict[str, str] | None = None
        # What has been done so far, in sentences: an error must not hide it.
        self._did: list[str] = []

    def apply(
        self,
        create: Callable[[], str] | None = None,
        *,
        choose: Callable[[list[str]], str] | None = None,
    ) -> AppliedAgent:
        """
        Find the agent, or have it made, and make it so.

        :param create: Sends what makes the agent without nodes, once, and returns its id. None sends it plainly.
        :param choose: Says which of several agents of the name is meant, or raises. None does not know.
        :raises MosaicValidationError: The definition does not fit, or Mosaic refuses it.
        :raises MosaicConflictError: Somebody else has made an agent of this name at the same moment, a little earlier.
        :raises MosaicError: It is not as it should be; the message says what has taken effect and what has not.
        """
        agent_id = self._options.agent_id or self.agents_by_name.find(choose)
        created = agent_id is None
        plan = self._plan(agent_id)
        if agent_id is None and not self._options.dry_run:
            # Only now: a definition that does not fit leaves no empty agent behind.
            agent_id = (create or self.create)()
            self._did.append(f"Agent {agent_id!r} was made by this apply.")
            self.agents_by_name.resolve_duplicate(agent_id)
            plan = self._plan_new(agent_id)
        self._log_changes(agent_id, plan)
        came_to = plan
        if agent_id is not None and not self._options.dry_run and not plan.is_empty:
            came_to = self._change(agent_id, plan)
            log.info("Agent %r is as it should be.", agent_id)
        return AppliedAgent(
            agent_id=agent_id,
            created=created,
            operations=len(plan.operations),
            changes=plan.lines,
            node_ids=came_to.node_ids,
            unknown=() if self._options.remove_unknown else plan.unknown,
        )

    def creation(self) -> Call[AgentChange]:
        """The call that makes the agent, still without nodes."""
        return create_agent(
            name=self._options.definition.name,
            description=self._options.definition.description,
            visibility=self._options.definition.visibility,
            # The lists of a connection with a workspace show that one; what is made elsewhere would not be found.
            workspace_id=self._workspace_id,
        )

    def create(self) -> str:
        """Make the agent, still without nodes."""
        agent_id = self._client.send(self.creation()).agent_id
        log.info("Made agent %r with the name %r.", agent_id, self._options.definition.name)
        return agent_id

    # What there is

    def _plan(self, agent_id: str | None, known: Mapping[str, str] | None = None) -> AgentPlan:
        graph = None if agent_id is None else self._client.send(get_agent(agent_id))
        if graph is not None and not graph.shows_connections:
            did = " ".join(self._did) or "This apply has changed nothing."
            raise MosaicResponseError(
                f"Agent {agent_id!r} can't be compared with its definition: the answer does not show how its nodes are "
                f"connected. {did} It has {len(graph.agent_nodes)} nodes. Look at it in the editor: no apply changes "
                "what it can't see.",
                effect_unknown=False,
            )
        if self._type_ids is None:
            self._type_ids = self._resolve()
        return plan_changes(
            self._options.definition,
            self._type_ids,
            graph,
            remove_unknown=self._options.remove_unknown,
            known=known,
        )

    def _plan_new(self, agent_id: str) -> AgentPlan:
        """The plan for an agent that was made a moment ago, and may not be there at once everywhere."""
        for pause in (*_EFFECT_PAUSES, None):
            try:
                return self._plan(agent_id)
            except MosaicNotFoundError as error:
                if pause is None:
                    raise MosaicError(
                        f"Agent {agent_id!r} was made, but is not there yet: {error}", transient=True
                    ) from error
                time.sleep(pause)
        raise AssertionError("the last look returns or raises")

    def _resolve(self) -> dict[str, str]:
        faults = ErrorCollector()
        types = self._client.send(list_node_types()) if self._options.definition.nodes else ()
        type_ids = NodeTypes(types).resolve(self._options.definition, faults)
        faults.raise_any("definition")
        return type_ids

    def _log_changes(self, agent_id: str | None, plan: AgentPlan) -> None:
        agent = f"agent {agent_id!r}" if agent_id else f"agent {self._options.definition.name!r}, which is to be made"
        if plan.unknown and not self._options.remove_unknown:
            log.info("The definition does not have these nodes, which are kept: %s.", ", ".join(plan.unknown))
        if plan.is_empty:
            log.info("There is nothing to change at %s: no operation is sent.", agent)
            return
        would = "would change" if self._options.dry_run else "changes"
        log.info("This %s at %s, operations: %d.\n  %s", would, agent, len(plan.operations), "\n  ".join(plan.lines))

    # Changes

    def _change(self, agent_id: str, plan: AgentPlan) -> AgentPlan:
        """Send the operations, and read the agent until it shows them."""
        call = update_agent(agent_id, **plan.about, operations=plan.operations or None)
        update = f"n update of {len(plan.operations)} operations"
        done = self._did
        for sending in range(1, _SENDINGS + 1):
            try:
                change = self._client.send(call)
            except MosaicAmbiguousOutcomeError as lost:
                for line in (*lost.lines, "Looking at the agent, for up to two minutes."):
                    log.warning("%s", line)
                self._did = [*done, f"A{update} was sent, and its answer was lost."]
                now = self._look(agent_id, plan.node_ids, PAUSES)
                if now.is_empty:
                    log.info("It was done, although the answer was lost.")
                    return now
                if now.lines != plan.lines:
                    raise _unfinished(agent_id, plan, now, f"What came back: {lost.__cause__ or lost}") from lost
                if sending == _SENDINGS:
                    # It was not done, twice: what came back says why.
                    raise (lost.__cause__ or lost) from None
                log.warning("Nothing of it is to be seen: sending it once more.")
            except MosaicError as error:
                raise self._refused(agent_id, plan, error) from error
            else:
                self._did = [*done, f"Mosaic took a{update}."]
                return self._until_shown(agent_id, plan, change)
        raise AssertionError("every sending returns or raises")

    def _until_shown(self, agent_id: str, plan: AgentPlan, change: AgentChange) -> AgentPlan:
        made = {node.temp_ref_id: node.agent_node_id for node in change.created_nodes if node.temp_ref_id}
        now = self._look(agent_id, {**plan.node_ids, **made}, _EFFECT_PAUSES)
        if not now.is_empty:
            raise _unfinished(agent_id, plan, now, "Mosaic took the changes, but the agent does not show them all.")
        return now

    def _look(self, agent_id: str, known: Mapping[str, str], pauses: tuple[float, ...]) -> AgentPlan:
        """What is still to be done, looked at until there is nothing or the pauses are over."""
        patience = ProgressLog(f"Still looking at agent {agent_id!r}; nothing is sent meanwhile.", time.time())
        for pause in (*pauses, None):
            now = self._plan(agent_id, known)
            if now.is_empty or pause is None:
                return now
            for piece in patience.split_pause(pause):
                time.sleep(piece)
                patience.log_if_due(log.info, time.time())
        raise AssertionError("the last look returns")

    def _refused(self, agent_id: str, plan: AgentPlan, error: MosaicError) -> MosaicError:
        """The refusal, with what has taken effect: whether operations are all or none is not documented."""
        try:
            now = self._plan(agent_id, plan.node_ids)
        except MosaicError as unread:
            said = f"What has taken effect is not known: {unread}"
        else:
            said = _change_words(plan, now)
        return type(error)(
            " ".join([str(error), *self._did, said]),
            status=error.status,
            method=error.method,
            path=error.path,
            detail=error.detail,
            transient=error.transient,
            effect_unknown=error.effect_unknown,
            retry_after=error.retry_after,
        )


def _change_words(plan: AgentPlan, now: AgentPlan) -> str:
    done = [line for line in plan.lines if line not in now.lines]
    if not done and now.lines == plan.lines:
        return "Nothing of the update has taken effect."
    return (
        "This has taken effect:\n  " + "\n  ".join(done or ["(nothing)"])
        + "\nThis has not:\n  " + "\n  ".join(now.lines or ["(nothing)"])
    )  # fmt: skip


def _unfinished(agent_id: str, plan: AgentPlan, now: AgentPlan, why: str) -> MosaicError:
    # Another apply goes on from what is there.
    return MosaicError(
        f"Agent {agent_id!r} is not what its definition says. {why} {_change_words(plan, now)}\n"
        "Apply it again to go on from there.",
        transient=True,
    )


def export_agent(client: ApiClient, agent_id: str, *, node_ids: bool) -> dict[str, Any]:
    """
    The definition of a live agent.

    :param client: The client.
    :param agent_id: The agent.
    :param node_ids: Whether it says which of the agent's nodes each one is.
    """
    validate_flag("node_ids", node_ids)
    graph = client.send(get_agent(agent_id))
    if not graph.shows_connections:
        raise MosaicResponseError(
            f"Agent {agent_id!r} can't be exported: the answer does not show how its nodes are connected.",
            effect_unknown=False,
        )
    types = client.send(list_node_types())
    return exported(graph, NodeTypes(types), node_ids=node_ids)
