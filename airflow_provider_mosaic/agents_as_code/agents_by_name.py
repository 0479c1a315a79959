"""
Find an agent by its name.

Mosaic documents no rule that names are unique. Two tasks that create an agent of one name at the same moment cannot
prevent that, so :meth:`AgentsByName.resolve_duplicate` checks for it after each creation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_mosaic.api.arguments import id_key, raise_invalid
from airflow_provider_mosaic.api.endpoints.agents import Agent, delete_agent, get_agent, list_agents
from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.text_match import is_same_name

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.paging import ApiClient

log = logging.getLogger(__name__)

#: Seconds after a creation until the list shows another agent that was created at the same moment.
_DUPLICATE_DELAY = 2.0


class AgentsByName:
    """
    The agents of one name.

    :param name: The name. None if the agent is not found by its name.
    """

    def __init__(self, client: ApiClient, name: str | None) -> None:
        self._client = client
        self._name = name

    def all(self) -> list[Agent]:
        """Return the agents of this name that the list shows. Mosaic may have rewritten the name."""
        agents = self._client.iterate(list_agents().all_or_error())
        return [agent for agent in agents if is_same_name(agent.name or "", str(self._name))]

    def find(self, choose: Callable[[list[str]], str] | None) -> str | None:
        """
        Return the id of the agent, or None if no agent has the name.

        :param choose: Called if several agents have the name. Returns the id of one, or raises.
        :raises MosaicValidationError: Several agents have the name, and ``choose`` is None.
        """
        agents = self.all()
        exact = [agent for agent in agents if (agent.name or "").strip() == str(self._name).strip()]
        ids = [agent.agent_id for agent in exact or agents]
        if len(ids) < 2:
            return ids[0] if ids else None
        return (choose or self.raise_ambiguous)(ids)

    def raise_ambiguous(self, ids: Sequence[str], more: Sequence[str] = ()) -> NoReturn:
        """Raise because several agents have the name."""
        why = "several agents have this name. Give the agent_id of one:"
        raise_invalid("definition.name", self._name, why, rows=ids, to_do=more)

    def resolve_duplicate(self, agent_id: str) -> list[str]:
        """
        Delete an agent that was just created, if it is empty and an older agent has the same name.

        If both were created in the same second, the ids decide. Both creators must see both agents, so this waits for
        two seconds. If the list lags longer, both agents stay, and the next apply by this name fails and lists them.

        :returns: The ids of other agents with the name.
        """
        time.sleep(_DUPLICATE_DELAY)
        try:
            agents = self.all()
            own = [agent for agent in agents if id_key(agent.agent_id) == id_key(agent_id)]
            others = [agent for agent in agents if agent not in own]
            if not others:
                return []
            created = self._client.send(get_agent(agent_id))
        except MosaicError as error:
            log.info("Agent %r was created. Whether another agent has its name is unknown: %s", agent_id, error)
            return []
        ids = listed([agent.agent_id for agent in others])
        # The list alone is compared: a read of one agent may show its creation time with another precision. Nothing is
        # deleted if the list does not show the own agent, or if a creation time is missing (None).
        if not own or oldest(agents) in (None, *own):
            log.warning(
                "Another agent with the name %r was created at the same moment: %s. This apply continues with %r. "
                "Delete the other one, unless the task that created it does.",
                self._name,
                ids,
                agent_id,
            )
            return [agent.agent_id for agent in others]
        if created.agent_nodes:
            why_kept = "It has nodes already, so it was not deleted"
        elif "agent_nodes" not in created.model_fields_set:
            why_kept = "It was not deleted, since Mosaic does not show whether it has nodes already"
        else:
            why_kept = self._delete(agent_id)
        raise MosaicConflictError(
            f"An older agent with the name {self._name!r} was created at the same moment: {ids}. This apply created "
            f"{agent_id!r}. {why_kept or 'It was empty and was deleted'}.",
            means="" if why_kept else "A retry, or another apply, continues with the older agent.",
            to_do="Delete the agent that is not needed." if why_kept else "",
            transient=not why_kept,
        )

    def _delete(self, agent_id: str) -> str:
        """Delete an agent. Return an empty text, or why it was not deleted."""
        try:
            self._client.send(delete_agent(agent_id))
        except MosaicError as error:
            # A repeat after a lost response is not found. A gateway without a route answers 404 too.
            if not (isinstance(error, MosaicNotFoundError) and self._is_gone(agent_id)):
                return f"It could not be deleted ({error})"
        return ""

    def _is_gone(self, agent_id: str) -> bool:
        """Return whether the list does not show an agent any more."""
        try:
            return all(id_key(agent.agent_id) != id_key(agent_id) for agent in self.all())
        except MosaicError:
            return False


def oldest(agents: Collection[Agent]) -> Agent | None:
    """
    Return the oldest agent; of those created at the same time, the one with the smallest id.

    All tasks that see the same agents choose the same one.

    :returns: None if the creation time of an agent is missing.
    """
    created = [(agent.created_at, agent.agent_id, agent) for agent in agents if agent.created_at is not None]
    if not created or len(created) < len(agents):
        return None
    return min(created, key=lambda each: each[:2])[2]
