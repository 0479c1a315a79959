"""The links from a task to Mosaic, and to what it has published."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom key under which a task pushes the address of the page of its run's agent; a run has no documented address.
AGENT_URL_KEY = "mosaic_agent_url"

# https://docs.mosaic.so/api/agents/creating-agents names the editor. The path is an assumption, a newer note of the
# vendor's names another host, and no address of a run, an asset or a post is documented.
_EDITOR = "https://edit.mosaic.so/agents/"
#: The only API whose agents that editor shows.
_API_HOST = "api.mosaic.so"


def agent_url(agent_id: str | None, base_url: str) -> str | None:
    """
    Return the address of an agent's page in the editor, which shows its runs.

    :param agent_id: The agent, if it is known.
    :param base_url: Where the API is.
    :returns: None for a local Mosaic or another host: the editor does not know its agents.
    """
    if not agent_id or urlsplit(base_url).hostname != _API_HOST:
        return None
    return _EDITOR + quote(agent_id, safe="", errors="replace")


class _PushedLink(BaseOperatorLink):
    """
    A button whose address the task pushes as soon as it is known.

    Airflow stores a link itself when a slice of the task has ended. The task pushes it under the same key before, so
    that it is there while the task waits.
    """

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """
        What the task pushed; empty, for which Airflow shows no button, if there is nothing.

        :param operator: The task's operator.
        :param ti_key: The task instance.
        """
        from airflow_provider_mosaic.airflow_compat import read_link_xcom

        value = read_link_xcom(ti_key, self.xcom_key)
        # Airflow would show a None as a button that leads to "None".
        return value if isinstance(value, str) else ""


class MosaicAgentLink(_PushedLink):
    """A button that leads to the agent's page in Mosaic's editor."""

    name = "Mosaic"


class MosaicPostLink(_PushedLink):
    """A button that leads to the post where it is out; to the first of its destinations that has an address."""

    name = "Post"
