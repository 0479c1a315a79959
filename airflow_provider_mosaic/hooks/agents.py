"""Agents as code, over the API: read, plan, change, and read again to see what the change has come to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.agents import AgentChange, create_agent, update_agent
from airflow_provider_mosaic.api.arguments import checked_flag
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.definitions import AgentDefinition, Faults, checked_definition
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
)
from airflow_provider_mosaic.api.exports import exported
from airflow_provider_mosaic.api.graph_changes import AgentPlan, plan_changes
from airflow_provider_mosaic.api.options import (
    APPLY_AGENT,
    is_definition_itself,
    validate_agent_is_named,
    validate_definition_suffix,
)
from airflow_provider_mosaic.api.search import PAUSES, Patience
from airflow_provider_mosaic.api.tiles import NodeTypes, by_node_id, has_names
from airflow_provider_mosaic.hooks.namesakes import Namesakes
from airflow_provider_mosaic.hooks.places import text_at

if TYPE_CHECKING:
    from airflow_provider_mosaic.hooks.endpoints import Endpoints
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook

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
class ApplyOrder:
    """
    What is to be applied, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.agents.MosaicApplyAgentOperator`.
    """

    definition: AgentDefinition = field(repr=False)
    agent_id: str | None
    remove_unknown: bool
    dry_run: bool

    @classmethod
    def checked(
        cls, definition: Any, *, agent_id: Any, unknown_nodes: Any, dry_run: Any, beside: str = "."
    ) -> ApplyOrder:
        """
        From the arguments.

        :raises MosaicValidationError: One of them is wrong; of the definition, every fault is told.
        """
        for name, value in (("agent_id", agent_id), ("unknown_nodes", unknown_nodes), ("dry_run", dry_run)):
            APPLY_AGENT[name](name, value)
        defined = checked_definition(_document(definition, beside))
        validate_agent_is_named(agent_id, defined.name)
        return cls(definition=defined, agent_id=agent_id, remove_unknown=unknown_nodes == "remove", dry_run=dry_run)


def _document(definition: Any, beside: str) -> Any:
    """The definition itself, or what its file holds."""
    if is_definition_itself(definition):
        return definition
    from airflow_provider_mosaic.api.definition_texts import read_definition_text

    validate_definition_suffix("definition", definition)
    return read_definition_text(text_at("definition", definition, beside=beside), name=str(definition))


class Apply:
    """
    One apply.

    :param hook: The connection.
    :param order: What is to be applied.
    """

    def __init__(self, hook: MosaicHook, order: ApplyOrder) -> None:
        self._hook = hook
        self._order = order
        #: The agents of the definition's name.
        self.namesakes = Namesakes(hook, order.definition.name)
        self._type_ids: dict[str, str] | None = None
        # What has been done so far, in sentences: an error must not hide it.
        self._did: list[str] = []

    def run(
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
        agent_id = self._order.agent_id or self.namesakes.find(choose)
        created = agent_id is None
        plan = self._plan(agent_id)
        if agent_id is None and not self._order.dry_run:
            # Only now: a definition that does not fit leaves no empty agent behind.
            agent_id = (create or self.create)()
            self._did.append(f"Agent {agent_id!r} was made by this apply.")
            self.namesakes.give_way(agent_id)
            plan = self._plan_new(agent_id)
        self._tell(agent_id, plan)
        came_to = plan
        if agent_id is not None and not self._order.dry_run and not plan.nothing:
            came_to = self._change(agent_id, plan)
            log.info("Agent %r is as it should be.", agent_id)
        return AppliedAgent(
            agent_id=agent_id,
            created=created,
            operations=len(plan.operations),
            changes=plan.lines,
            node_ids=came_to.node_ids,
            unknown=() if self._order.remove_unknown else plan.unknown,
        )

    def creation(self) -> Call[AgentChange]:
        """The call that makes the agent, still without nodes."""
        return create_agent(
            name=self._order.definition.name,
            description=self._order.definition.description,
            visibility=self._order.definition.visibility,
            # The lists of a connection with a workspace show that one; what is made elsewhere would not be found.
            workspace_id=self._hook.access.workspace_id,
        )

    def create(self) -> str:
        """Make the agent, still without nodes."""
        agent_id = self._hook.send(self.creation()).agent_id
        log.info("Made agent %r with the name %r.", agent_id, self._order.definition.name)
        return agent_id

    # What there is

    def _plan(self, agent_id: str | None, known: Mapping[str, str] | None = None) -> AgentPlan:
        graph = None if agent_id is None else self._hook.get_agent(agent_id)
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
            self._order.definition,
            self._type_ids,
            graph,
            remove_unknown=self._order.remove_unknown,
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
        faults = Faults()
        types = self._hook.list_node_types() if self._order.definition.nodes else ()
        type_ids = NodeTypes(types).resolve(self._order.definition, faults)
        faults.raise_any("definition")
        return type_ids

    def _tell(self, agent_id: str | None, plan: AgentPlan) -> None:
        agent = f"agent {agent_id!r}" if agent_id else f"agent {self._order.definition.name!r}, which is to be made"
        if plan.unknown and not self._order.remove_unknown:
            log.info("The definition does not have these nodes, which are kept: %s.", ", ".join(plan.unknown))
        if plan.nothing:
            log.info("There is nothing to change at %s: no operation is sent.", agent)
            return
        would = "would change" if self._order.dry_run else "changes"
        log.info("This %s at %s, operations: %d.\n  %s", would, agent, len(plan.operations), "\n  ".join(plan.lines))

    # Changes

    def _change(self, agent_id: str, plan: AgentPlan) -> AgentPlan:
        """Send the operations, and read the agent until it shows them."""
        call = update_agent(agent_id, **plan.about, operations=plan.operations or None)
        update = f"n update of {len(plan.operations)} operations"
        done = self._did
        for sending in range(1, _SENDINGS + 1):
            try:
                change = self._hook.send(call)
            except MosaicAmbiguousOutcomeError as lost:
                for line in (*lost.lines, "Looking at the agent, for up to two minutes."):
                    log.warning("%s", line)
                self._did = [*done, f"A{update} was sent, and its answer was lost."]
                now = self._look(agent_id, plan.node_ids, PAUSES)
                if now.nothing:
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
        if not now.nothing:
            raise _unfinished(agent_id, plan, now, "Mosaic took the changes, but the agent does not show them all.")
        return now

    def _look(self, agent_id: str, known: Mapping[str, str], pauses: tuple[float, ...]) -> AgentPlan:
        """What is still to be done, looked at until there is nothing or the pauses are over."""
        patience = Patience(f"Still looking at agent {agent_id!r}; nothing is sent meanwhile.", time.time())
        for pause in (*pauses, None):
            now = self._plan(agent_id, known)
            if now.nothing or pause is None:
                return now
            for piece in patience.pieces(pause):
                time.sleep(piece)
                patience.say(log.info, time.time())
        raise AssertionError("the last look returns")

    def _refused(self, agent_id: str, plan: AgentPlan, error: MosaicError) -> MosaicError:
        """The refusal, with what has taken effect: whether operations are all or none is not documented."""
        try:
            now = self._plan(agent_id, plan.node_ids)
        except MosaicError as unread:
            said = f"What has taken effect is not known: {unread}"
        else:
            said = _said(plan, now)
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


def _said(plan: AgentPlan, now: AgentPlan) -> str:
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
        f"Agent {agent_id!r} is not what its definition says. {why} {_said(plan, now)}\n"
        "Apply it again to go on from there.",
        transient=True,
    )


def export_agent(hook: Endpoints, agent_id: str, *, node_ids: bool) -> dict[str, Any]:
    """
    The definition of a live agent.

    :param hook: The connection.
    :param agent_id: The agent.
    :param node_ids: Whether it says which of the agent's nodes each one is.
    """
    checked_flag("node_ids", node_ids)
    graph = hook.get_agent(agent_id)
    if not graph.shows_connections:
        raise MosaicResponseError(
            f"Agent {agent_id!r} can't be exported: the answer does not show how its nodes are connected.",
            effect_unknown=False,
        )
    return exported(graph, NodeTypes(hook.list_node_types()), node_ids=node_ids)


def with_node_ids(hook: Endpoints, call: Call[str]) -> Call[str]:
    """
    The start of a run with the ids of tiles in the place of their names; the agent is read only if there are names.

    :param hook: The connection.
    :param call: What :func:`~airflow_provider_mosaic.api.runs.start_run` gives.
    :raises MosaicValidationError: The agent has no tile of a name, or more than one.
    """
    params: Mapping[str, Any] = call.body.get("update_params", {})
    if not has_names(params):
        return call
    graph = hook.get_agent(call.ids["agent_id"])
    return replace(call, body={**call.body, "update_params": by_node_id(params, graph)})
