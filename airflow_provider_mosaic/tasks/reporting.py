"""
Report to Airflow what a task has started, made and used: XComs, buttons, asset events, lineage.

Nothing here fails a task. A run that was started is paid, and a post is public, whether or not Airflow can save their
ids. If the task failed for that, a user would clear it and pay for another run, or publish another post.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mosaic.airflow_compat import has_lineage_readers, push_database_xcom
from airflow_provider_mosaic.api.arguments import uri_scheme, validate_id, validate_name
from airflow_provider_mosaic.api.errors import MosaicError, MosaicValidationError
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.durable.failures import save_best_effort
from airflow_provider_mosaic.links import MosaicAgentLink

if TYPE_CHECKING:
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: XCom key of the task's item, which the pages inside Airflow read.
ITEM_KEY = "mosaic_item"
#: XCom keys of the ids of what tasks create, pushed as soon as the id is known.
RUN_ID_KEY = "mosaic_run_id"
POST_ID_KEY = "mosaic_post_id"
AVATAR_PROFILE_ID_KEY = "mosaic_avatar_profile_id"
AGENT_ID_KEY = "mosaic_agent_id"
#: XCom key of the URL of the agent's page. A run has no documented URL.
AGENT_URL_KEY = "mosaic_agent_url"
#: XCom keys at the end of a run. The last one exists only if the run is short of credits.
STATUS_KEY = "status"
OUTPUT_IDS_KEY = "output_ids"
NEEDS_CREDITS_KEY = "needs_credits"
#: XCom key of the URLs of a published post.
POST_URLS_KEY = "post_urls"

# https://docs.mosaic.so/api/agents/creating-agents names this host; a newer note of Mosaic names another one. The path
# is an assumption. No URL of a run, an asset or a post is documented.
_EDITOR = "https://edit.mosaic.so/agents/"
#: The only API whose agents the editor shows.
_API_HOST = "api.mosaic.so"
#: Most entries of a list in an asset event: Airflow keeps events in its database. The count is complete.
_MAX_ENTRIES = 1000


class TaskItem(BaseModel):
    """
    What a task created or used in Mosaic, in one XCom for the pages inside Airflow.

    It has ids only: texts, links and statuses are read from Mosaic when a page shows them.

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


def push_item(
    context: Mapping[str, Any], hook: MosaicHook, kind: Literal["run", "post", "asset"], id: str, **details: Any
) -> None:
    """
    Push the task's item.

    :param details: The other fields of :class:`TaskItem`.
    """
    item = TaskItem(kind=kind, id=id, conn_id=hook.mosaic_conn_id, **details)
    value = item.model_dump(mode="json", exclude_none=True)
    save_best_effort(
        # The API server reads it, and a custom XCom backend would save only a reference.
        lambda: push_database_xcom(context["ti"], ITEM_KEY, value),
        what=f"the XCom {ITEM_KEY!r} of {item.kind} {item.id!r}",
        consequence="The task continues. Its page in Airflow shows nothing of Mosaic.",
    )


def push_xcom(context: Mapping[str, Any], key: str, value: Any, *, name: str) -> None:
    """
    Push an XCom about something that has happened.

    :param name: The run, post, ... that it belongs to, with its id.
    """
    save_best_effort(
        lambda: context["ti"].xcom_push(key=key, value=value),
        what=f"the XCom {key!r} of {name}",
        consequence=_consequence(name),
    )


def push_link(context: Mapping[str, Any], key: str, url: str, *, name: str) -> None:
    """
    Push the URL of a button.

    :param name: The run, post, ... that it belongs to, with its id.
    """
    save_best_effort(
        lambda: push_database_xcom(context["ti"], key, url),
        what=f"the link {key!r} of {name}",
        consequence=_consequence(name),
    )


def push_agent_link(context: Mapping[str, Any], hook: MosaicHook, agent_id: str | None, *, name: str) -> None:
    """
    Push the URL of an agent's page, if it has one: an XCom for downstream tasks, and one for the button.

    :param name: The run, agent, ... that it belongs to, with its id.
    """
    try:
        url = agent_url(agent_id, hook.access.base_url)
    except MosaicError as error:
        log.info("The agent of %s has no link, because the connection could not be read: %s", name, error)
        return
    if url is not None:
        push_xcom(context, AGENT_URL_KEY, url, name=name)
        push_link(context, MosaicAgentLink().xcom_key, url, name=name)


def push_run_links(context: Mapping[str, Any], hook: MosaicHook, run_id: str, agent_id: str | None) -> None:
    """Push a run as the task's item, and the URL of its agent's page: a run has no documented URL."""
    push_item(context, hook, "run", run_id, agent_id=agent_id)
    push_agent_link(context, hook, agent_id, name=f"run {run_id!r}")


def agent_url(agent_id: str | None, base_url: str) -> str | None:
    """
    Return the URL of an agent's page in the editor, which shows its runs.

    :param base_url: The URL of the API.
    :returns: None if the agent is unknown, and for any other API: the editor does not show its agents.
    """
    if not agent_id or urlsplit(base_url).hostname != _API_HOST:
        return None
    return _EDITOR + quote(agent_id, safe="", errors="replace")


def add_to_outlet_events(context: Mapping[str, Any], **facts: Any) -> None:
    """
    Add facts to the ``extra`` of the asset events that the task creates when it succeeds.

    A DAG that is scheduled on the outlet finds ids, counts and URIs there, and needs no XCom. Leave out signed links.

    :param facts: JSON values. Long lists are shortened.
    """
    outlets = context["ti"].task.outlets
    if not outlets:
        return
    from airflow.sdk import AssetAlias

    extra = {name: value[:_MAX_ENTRIES] if isinstance(value, list) else value for name, value in facts.items()}
    for outlet in outlets:
        try:
            # An alias has no event of its own.
            if not isinstance(outlet, AssetAlias):
                context["outlet_events"][outlet].extra.update(extra)
        except Exception as error:
            log.warning(
                "An asset event of this task lacks details (%s: %s). The task continues.",
                type(error).__name__,
                one_line(str(error)),
            )


def _consequence(name: str) -> str:
    return (
        f"The task continues with {name}: nothing is started or published again for this. Tasks that read the XCom "
        "find nothing."
    )


def report_lineage(hook: MosaicHook, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """
    Report datasets to Airflow's hook lineage, for readers such as OpenLineage.

    Without a reader nothing happens, and neither argument is iterated.

    :param inputs: Paths, or URIs without credentials, of what the task read.
    :param outputs: The same of what it made.
    """
    try:
        if not has_lineage_readers():
            return
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector: Any = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        for location in inputs:
            collector.add_input_asset(context=hook, uri=_uri(location))
        for location in outputs:
            collector.add_output_asset(context=hook, uri=_uri(location))
    except Exception as error:
        log.warning(
            "The inputs and outputs of this task were not reported to hook lineage (%s: %s). The task continues.",
            type(error).__name__,
            one_line(str(error)),
        )


def mosaic_uris(
    hook: MosaicHook, kind: Literal["agents", "assets", "outputs", "posts"], ids: Iterable[str | None]
) -> Iterator[str]:
    """
    Yield the URIs of items in Mosaic. An item whose id is unknown has none.

    The URI of an item is the same in every task, so a reader connects the task that uploads an asset with the run that
    uses it.
    """
    host = urlsplit(hook.access.base_url).netloc
    for id in ids:
        if id:
            yield f"mosaic://{host}/{kind}/{quote(id, safe='')}"


def _uri(location: str) -> str:
    return location if uri_scheme(location) else Path(location).absolute().as_uri()
