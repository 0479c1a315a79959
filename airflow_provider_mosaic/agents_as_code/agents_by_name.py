"""
The agents of one name: found, told apart, and kept to one.

Nothing keeps Mosaic from having several agents of one name, and an agent is found by its name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.candidates import oldest
from airflow_provider_mosaic.api.endpoints.agents import Agent, delete_agent, get_agent, list_agents
from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicError

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.client import ApiClient

log = logging.getLogger(__name__)

#: Seconds after a creation in which another one of the same name may come to be and to be seen.
_OTHERS_PAUSE = 2.0


class AgentsByName:
    """
    The agents of one name.

    :param client: The client.
    :param name: The name; None for an agent that is not found by it.
    """

    def __init__(self, client: ApiClient, name: str | None) -> None:
        self._client = client
        self._name = name

    def all(self) -> list[Agent]:
        """Those that the list shows."""
        name = str(self._name).strip()
        agents = self._client.iterate(list_agents().all_or_error())
        return [agent for agent in agents if (agent.name or "").strip() == name]

    def find(self, choose: Callable[[list[str]], str] | None) -> str | None:
        """
        The one that is meant.

        :param choose: Says which of several it is, or raises. None does not know.
        :returns: Its id; None if there is none.
        :raises MosaicValidationError: There are several.
        """
        ids = [agent.agent_id for agent in self.all()]
        if len(ids) < 2:
            return ids[0] if ids else None
        return (choose or self.refuse_several)(ids)

    def refuse_several(self, ids: Sequence[str], more: Sequence[str] = ()) -> NoReturn:
        """
        Refuse to choose between several.

        :param ids: The agents.
        :param more: What else can be done about it, one choice a text.
        """
        why = "more than one agent has this name, say which by agent_id:"
        raise_invalid("definition.name", self._name, why, items=ids, to_do=more)

    def resolve_duplicate(self, agent_id: str) -> None:
        """
        Look whether somebody else has made an agent of this name at the same moment.

        Both would fill theirs, and nobody could tell them apart from then on. So the one that was made later gives way,
        as long as it is empty. Where their times are the same second, the ids decide, and both must have seen both:
        hence the pause. Where the list lags behind for longer, both stay, and the next apply names them and refuses.

        :param agent_id: The agent that was made a moment ago.
        :raises MosaicConflictError: Somebody else's is older; what was made is deleted, if it is empty.
        """
        time.sleep(_OTHERS_PAUSE)
        try:
            others = [agent for agent in self.all() if agent.agent_id != agent_id]
            ours = self._client.send(get_agent(agent_id)) if others else None
        except MosaicError as error:
            log.info("Whether agent %r is the only one of its name is not known: %s", agent_id, error)
            return
        if ours is None:
            return
        name, ids = self._name, ", ".join(agent.agent_id for agent in others)
        if oldest([ours.agent, *others]) in (None, ours.agent):
            log.warning(
                "Another agent has the name %r too, made at the same moment: %s. Going on with %r, which this apply "
                "made: delete the other, unless its maker does, as the name does not tell them apart.",
                name,
                ids,
                agent_id,
            )
            return
        left = "it has nodes already, so it was left" if ours.agent_nodes else self._deleted(agent_id)
        deleted = left == "it was deleted"
        raise MosaicConflictError(
            f"Somebody else has made an agent of the name {name!r} at the same moment, a little earlier: {ids}. The "
            f"one that this apply made, {agent_id!r}, gives way: {left}.",
            means="A retry, or another apply, continues with the one that is there." if deleted else "",
            to_do="" if deleted else "Delete those not needed.",
            transient=deleted,
        )

    def _deleted(self, agent_id: str) -> str:
        try:
            self._client.send(delete_agent(agent_id))
        except MosaicError as error:
            return f"it could not be deleted ({error})"
        return "it was deleted"
