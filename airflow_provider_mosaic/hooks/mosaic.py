"""The hook: an Airflow connection turned into the two clients, with a method for each endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_mosaic.api import account, agents, assets, node_types, runs, social
from airflow_provider_mosaic.api.access import DEFAULT_BASE_URL, Access
from airflow_provider_mosaic.api.arguments import refuse
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.paging import Listing, iterate
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.connection_form import CONNECTION_TYPE, HOOK_NAME, field_behaviour, form_widgets

if TYPE_CHECKING:
    from airflow.sdk import Connection

    # The HTTP libraries are loaded with the first call, not with the DAG file that imports the hook.
    from airflow_provider_mosaic.clients.aio import AsyncClient
    from airflow_provider_mosaic.clients.sync import SyncClient

T = TypeVar("T")


class MosaicHook(BaseHook):
    """
    The Mosaic API with the address and the key of an Airflow connection.

    Each method is one endpoint (https://docs.mosaic.so/api/introduction); lists are iterators that page by themselves.
    Nothing is read or sent before the first call.

    :param mosaic_conn_id: The connection of type ``mosaic``: the API key as its password; if wanted, another base URL
        as its host and ``workspace_id``, ``webhook_secret`` and ``timeout`` in its extra.
    """

    conn_name_attr = "mosaic_conn_id"
    default_conn_name = "mosaic_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(self, mosaic_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mosaic_conn_id = mosaic_conn_id
        self._access: Access | None = None
        self._client: SyncClient | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's extra fields, for Airflow 3.1."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's standard fields, for Airflow 3.1."""
        return field_behaviour()

    # The connection and the clients

    @property
    def access(self) -> Access:
        """
        The address and the key of the connection, looked up once.

        :raises MosaicValidationError: The connection is missing, or something in it is.
        """
        if self._access is None:
            try:
                connection = self.get_connection(self.mosaic_conn_id)
            except Exception as error:
                raise _no_connection(self.mosaic_conn_id, error) from error
            self._access = access_of(connection)
        return self._access

    @property
    def client(self) -> SyncClient:
        """The client for workers; it keeps its connections until :meth:`close`."""
        if self._client is None:
            from airflow_provider_mosaic.clients.sync import SyncClient

            self._client = SyncClient(self.access)
        return self._client

    async def open_async_client(self) -> AsyncClient:
        """
        A client for triggers, to be closed by the caller; the connection is looked up without holding the event loop.

        :raises MosaicValidationError: The connection is missing, or something in it is.
        """
        from airflow.providers.common.compat.connection import get_async_connection

        from airflow_provider_mosaic.clients.aio import AsyncClient

        if self._access is None:
            try:
                connection = await get_async_connection(self.mosaic_conn_id)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                raise _no_connection(self.mosaic_conn_id, error) from error
            self._access = access_of(connection)
        return AsyncClient(self._access)

    def get_conn(self) -> SyncClient:
        """The client, under the name that Airflow's hooks have for it."""
        return self.client

    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """
        Send any call of :mod:`airflow_provider_mosaic.api`.

        :param call: The call.
        :param retries: Another policy than the usual one.
        :raises MosaicError: The kind that says what to do about it.
        """
        return self.client.send(call, retries=retries)

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """
        Every item of a list, page by page as they are asked for.

        :param listing: A list of :mod:`airflow_provider_mosaic.api`.
        """
        return iterate(self.send, listing)

    def close(self) -> None:
        """Close the connections of the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def test_connection(self) -> tuple[bool, str]:
        """Ask Mosaic whose key this is (``GET /whoami``: free, and open to any valid key)."""
        try:
            owner = self.whoami()
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        finally:
            self.close()
        scopes = "all scopes" if owner.scopes is None else f"scopes {', '.join(owner.scopes) or '(none)'}"
        return True, f"Connected to {self.access.base_url} as {owner.name}, with {scopes}."

    # Account

    def whoami(self) -> account.Whoami:
        """:func:`airflow_provider_mosaic.api.account.whoami`."""
        return self.send(account.whoami())

    # Agents and node types

    def list_agents(self) -> Iterator[agents.Agent]:
        """:func:`airflow_provider_mosaic.api.agents.list_agents`."""
        return self.iterate(agents.list_agents())

    def get_agent(self, agent_id: str) -> agents.AgentGraph:
        """:func:`airflow_provider_mosaic.api.agents.get_agent`."""
        return self.send(agents.get_agent(agent_id))

    def list_node_types(self) -> tuple[node_types.NodeType, ...]:
        """:func:`airflow_provider_mosaic.api.node_types.list_node_types`."""
        return self.send(node_types.list_node_types())

    def get_node_type(self, node_type_id: str) -> node_types.NodeType:
        """:func:`airflow_provider_mosaic.api.node_types.get_node_type`."""
        return self.send(node_types.get_node_type(node_type_id))

    # Runs

    def run_agent(self, agent_id: str, **inputs: Any) -> str:
        """
        Start a run and return its id: :func:`airflow_provider_mosaic.api.runs.start_run`. **It costs credits.**

        :raises MosaicAmbiguousOutcomeError: Whether a run was started is unknown; look with :meth:`list_runs`.
        """
        return self.send(runs.start_run(agent_id, **inputs))

    def get_run(self, run_id: str) -> runs.Run:
        """:func:`airflow_provider_mosaic.api.runs.get_run`."""
        return self.send(runs.get_run(run_id))

    def get_run_nodes(self, run_id: str) -> tuple[runs.RunNode, ...]:
        """:func:`airflow_provider_mosaic.api.runs.get_run_nodes`."""
        return self.send(runs.get_run_nodes(run_id))

    def list_runs(
        self,
        agent_id: str | None = None,
        *,
        status: Iterable[str] | str | None = None,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
    ) -> Iterator[runs.Run]:
        """:func:`airflow_provider_mosaic.api.runs.list_runs`."""
        return self.iterate(runs.list_runs(agent_id, status=status, created_from=created_from, created_to=created_to))

    def cancel_run(self, run_id: str) -> runs.Cancelled:
        """:func:`airflow_provider_mosaic.api.runs.cancel_run`."""
        return self.send(runs.cancel_run(run_id))

    def resume_run(self, run_id: str) -> runs.Resumed:
        """:func:`airflow_provider_mosaic.api.runs.resume_run`. **What is done again costs credits.**"""
        return self.send(runs.resume_run(run_id))

    # Assets

    def upload_asset(self, source: Any, asset_type: str | None = None) -> str:
        """
        Upload a file whole: reserve, store, finalize (https://docs.mosaic.so/api/asset-management/upload-flow).

        :param source: A local path, a URI of object storage, an open HTTP(S) URL, or an ``ObjectStoragePath``.
        :param asset_type: ``video``, ``audio`` or ``image``. Default: by the file's suffix.
        :returns: The asset's id.
        """
        from airflow_provider_mosaic.clients.assets import finalize, store
        from airflow_provider_mosaic.hooks.places import source_at

        file = source_at(source)
        meant = None if asset_type is None else assets.checked_asset_type(asset_type)
        kind, media_type = assets.media_type_of(file.name, meant)
        return finalize(self.client, kind, store(self.client, file, kind, media_type))

    def begin_upload(self, asset_type: str) -> assets.UploadForm:
        """:func:`airflow_provider_mosaic.api.assets.begin_upload`."""
        return self.send(assets.begin_upload(assets.checked_asset_type(asset_type)))

    def finalize_upload(self, asset_type: str, asset_id: str) -> str:
        """:func:`airflow_provider_mosaic.api.assets.finalize_upload`."""
        return self.send(assets.finalize_upload(assets.checked_asset_type(asset_type), asset_id))

    def get_view_url(self, asset_type: str, asset_id: str) -> assets.ViewLink:
        """:func:`airflow_provider_mosaic.api.assets.get_view_url`."""
        return self.send(assets.get_view_url(assets.checked_asset_type(asset_type), asset_id))

    # Social

    def list_social_connections(self) -> tuple[social.SocialConnection, ...]:
        """:func:`airflow_provider_mosaic.api.social.list_social_connections`."""
        return self.send(social.list_social_connections())

    def get_social_connection(self, social_connection_id: str) -> social.SocialConnection:
        """:func:`airflow_provider_mosaic.api.social.get_social_connection`."""
        return self.send(social.get_social_connection(social_connection_id))

    def create_post(self, text: str, **options: Any) -> social.Post:
        """
        Publish or schedule a post: :func:`airflow_provider_mosaic.api.social.create_post`. **It is public.**

        :raises MosaicAmbiguousOutcomeError: Whether it was made is unknown; look with :meth:`list_posts`.
        """
        return self.send(social.create_post(text, **options))

    def get_post(self, post_id: str, *, social_connection_id: str | None = None) -> social.Post:
        """:func:`airflow_provider_mosaic.api.social.get_post`."""
        return self.send(social.get_post(post_id, social_connection_id=social_connection_id))

    def list_posts(
        self, *, status: str | None = None, platform: str | None = None, social_connection_id: str | None = None
    ) -> Iterator[social.Post]:
        """:func:`airflow_provider_mosaic.api.social.list_posts`."""
        return self.iterate(
            social.list_posts(status=status, platform=platform, social_connection_id=social_connection_id)
        )


def access_of(connection: Connection) -> Access:
    """
    The address and the key that an Airflow connection holds.

    Only its plain attributes are read: ``extra_dejson`` and ``get_password`` may call the supervisor, which must not
    happen on an event loop.

    :param connection: A connection of type ``mosaic``.
    :raises MosaicValidationError: Something in it is missing or wrong; the message names the connection and the field.
    """
    extra = _extra(connection)
    options: dict[str, Any] = {}
    if extra.get("workspace_id"):
        options["workspace_id"] = str(extra["workspace_id"]).strip()
    if extra.get("timeout") not in (None, ""):
        options["timeout"] = _seconds(extra["timeout"])
    try:
        return Access(api_key=connection.password or "", base_url=_base_url(connection), **options)
    except MosaicValidationError as error:
        raise MosaicValidationError(f"Connection {connection.conn_id!r}: {error}") from None


def _base_url(connection: Connection) -> str:
    host = (connection.host or "").strip()
    if not host:
        return DEFAULT_BASE_URL
    # A connection URI keeps scheme and port apart from the host.
    if "://" not in host and connection.schema in ("http", "https"):
        host = f"{connection.schema}://{host}"
    authority = host.partition("://")[2]
    if connection.port and "://" in host and ":" not in authority.rpartition("]")[2]:
        host = f"{host.rstrip('/')}:{connection.port}"
    return host


def _extra(connection: Connection) -> Mapping[str, Any]:
    text = connection.extra
    if not text:
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, Mapping):
        raise MosaicValidationError(f"Connection {connection.conn_id!r}: its extra is not a JSON object.")
    return extra


def _seconds(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        refuse("timeout", value, "it must be a number of seconds.")


def _no_connection(conn_id: str, error: Exception) -> MosaicValidationError:
    return MosaicValidationError(
        f"mosaic_conn_id={conn_id!r}: there is no such connection ({type(error).__name__}: {error}). Make one of type "
        f"'mosaic' under Admin > Connections, or set AIRFLOW_CONN_{conn_id.upper()}."
    )


def cancel_quickly(access: Access, run_id: str) -> None:
    """
    Cancel a run from a signal handler: one request on a connection of its own, with about three seconds at most.

    The interrupted code may be in the middle of using the hook's client, and the process is about to be killed.

    :param access: The address and the key.
    :param run_id: The run.
    """
    from airflow_provider_mosaic.clients.sync import SyncClient

    hurried = replace(access, connect_timeout=1.5, timeout=3.0)
    with SyncClient(hurried, retries=ONCE) as client:
        client.send(runs.cancel_run(run_id))
