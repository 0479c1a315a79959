"""The address of the pages inside Airflow. Every Airflow process imports this module, so it imports nothing heavy."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

#: Path of the pages below the path of Airflow.
PREFIX = "/mosaic"


def pages_path() -> str:
    """Return the path of the pages, with the path of ``[api] base_url`` in front."""
    from airflow.providers.common.compat.sdk import conf

    base_url = conf.get("api", "base_url", fallback="") or ""
    return urlsplit(base_url).path.rstrip("/") + PREFIX


def task_path(task: Any) -> str:
    """
    Return the path of a task instance, relative to :func:`pages_path`.

    :param task: A task instance or its key.
    """
    parts = (task.dag_id, task.run_id, task.task_id, str(task.map_index))
    return "tasks/" + "/".join(quote(part, safe="") for part in parts)
