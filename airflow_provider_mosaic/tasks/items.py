"""
The item of a task: what it created or used in Mosaic, in one XCom.

The pages inside Airflow read it. It has ids only: texts, links and statuses are read from Mosaic when a page shows
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mosaic.airflow_compat import push_database_xcom
from airflow_provider_mosaic.api.arguments import validate_id, validate_name
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.durable.xcoms import save_best_effort
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

#: XCom key of the item.
ITEM_KEY = "mosaic_item"
#: XCom keys at the end of a run. The last one exists only if the run is short of credits.
STATUS_KEY = "status"
OUTPUT_IDS_KEY = "output_ids"
NEEDS_CREDITS_KEY = "needs_credits"


class TaskItem(BaseModel):
    """
    The item of a task.

    :param conn_id: The Airflow connection that reads it.
    :param agent_id: The agent of a run, if it is known.
    :param asset_type: The type of an asset.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    kind: Literal["run", "post", "asset"]
    id: str = Field(min_length=1)
    conn_id: str
    agent_id: str | None = None
    asset_type: AssetType | None = None


def read_item(value: object) -> TaskItem | None:
    """Return the item in an XCom; None if it is not an item of this version, or an id in it is impossible."""
    try:
        item = TaskItem.model_validate(value)
        # Users may write XComs.
        validate_id("id", item.id)
        validate_name("conn_id", item.conn_id)
    except (ValidationError, MosaicValidationError):
        return None
    return item


def push_run_item(context: Mapping[str, Any], hook: MosaicHook, run_id: str, agent_id: str | None) -> None:
    """Push a run as the task's item."""
    _push(context, TaskItem(kind="run", id=run_id, conn_id=hook.mosaic_conn_id, agent_id=agent_id))


def push_post_item(context: Mapping[str, Any], hook: MosaicHook, post_id: str) -> None:
    """Push a post as the task's item."""
    _push(context, TaskItem(kind="post", id=post_id, conn_id=hook.mosaic_conn_id))


def push_asset_item(context: Mapping[str, Any], hook: MosaicHook, asset_id: str, asset_type: AssetType) -> None:
    """Push an asset as the task's item."""
    _push(context, TaskItem(kind="asset", id=asset_id, conn_id=hook.mosaic_conn_id, asset_type=asset_type))


def _push(context: Mapping[str, Any], item: TaskItem) -> None:
    value = item.model_dump(mode="json", exclude_none=True)
    save_best_effort(
        # The API server reads it, and a custom XCom backend would save only a reference.
        lambda: push_database_xcom(context["ti"], ITEM_KEY, value),
        what=f"the XCom {ITEM_KEY!r} of {item.kind} {item.id!r}",
        consequence="The task continues. Its page in Airflow shows nothing of Mosaic.",
    )
