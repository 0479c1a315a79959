"""The links from a task to its agent in Mosaic, to the post that it published, and to its page in Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MosaicPageLink(BaseOperatorLink):
    """
    A button with a URL that the task pushes. If Mosaic has none, it opens the task's page in Airflow.

    Airflow saves a link at the end of each execution of a task. The task pushes its URL earlier under the same key, so
    that the button works while the task waits.
    """

    name = "Mosaic"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL. If the task has nothing in Mosaic, it is empty, and Airflow shows no button."""
        from airflow_provider_mosaic.airflow_compat import read_link_xcom
        from airflow_provider_mosaic.page_address import pages_path, task_path
        from airflow_provider_mosaic.tasks.reporting import ITEM_KEY

        pushed = read_link_xcom(ti_key, self.xcom_key)
        if isinstance(pushed, str) and pushed:
            return pushed
        if read_link_xcom(ti_key, ITEM_KEY) is None:
            # Airflow would show None as a button that leads to "None".
            return ""
        return f"{pages_path()}/{task_path(ti_key)}"


class MosaicAgentLink(MosaicPageLink):
    """A button that opens the agent's page in Mosaic's editor."""


class MosaicPostLink(MosaicPageLink):
    """A button that opens the published post, at its first destination with a URL."""

    name = "Post"
