"""The link from a task to Mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom key under which a task pushes the address of its run, at once after the start.
RUN_URL_KEY = "mosaic_run_url"

# https://docs.mosaic.so/api/agents/creating-agents shows this address of an agent; none of a run is documented.
_EDITOR = "https://edit.mosaic.so/agents/"


def agent_url(agent_id: str) -> str:
    """
    The editor's page of an agent, which shows its runs.

    :param agent_id: The agent.
    """
    return _EDITOR + quote(agent_id, safe="", errors="replace")


class MosaicRunLink(BaseOperatorLink):
    """
    A button on the task that leads to the run's agent in Mosaic's editor.

    Airflow stores a link when a slice of the task has ended. The operator pushes it under the same key right after the
    start, so that it is there while the task runs, waits, and after it failed.
    """

    name = "Mosaic"

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the link."""
        return RUN_URL_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """
        What the operator pushed; empty before a run was started.

        :param operator: The task's operator.
        :param ti_key: The task instance.
        """
        from airflow_provider_mosaic.airflow_features import read_link_xcom

        value = read_link_xcom(ti_key, self.xcom_key)
        return value if isinstance(value, str) else ""
