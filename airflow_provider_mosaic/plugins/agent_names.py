"""The names of agents, for pages that know only their ids."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from airflow_provider_mosaic.api.endpoints.agents import list_agents
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads

#: Seconds for which a page of the list of agents is used.
_MAX_AGE = 600.0
#: A thousand agents. Those after them have no name.
_MOST_PAGES = 10


async def agent_names(reads: MosaicReads, agents: Mapping[str, Collection[str]]) -> dict[str, str]:
    """
    Return the names of agents by id. An agent that cannot be read is missing.

    :param agents: Ids of agents by connection.
    """
    found = await asyncio.gather(*(_names(reads, conn_id, ids) for conn_id, ids in agents.items()))
    return {agent_id: name for names in found for agent_id, name in names.items()}


async def _names(reads: MosaicReads, conn_id: str, agent_ids: Collection[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    cursor = None
    for _ in range(_MOST_PAGES):
        if len(names) == len(agent_ids):
            break
        call = list_agents().page(cursor)
        page = (await reads.read(conn_id, call, max_age=_MAX_AGE, weigh=lambda page: 1 + len(page.items))).value
        if page is None:
            break
        names |= {each.agent_id: label(each.name) for each in page.items if each.agent_id in agent_ids and each.name}
        cursor = page.next_cursor
        if cursor is None:
            break
    return names
