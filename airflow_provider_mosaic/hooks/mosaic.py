"""The hook: an Airflow connection turned into the two clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_mosaic.airflow_compat import lookups_can_be_awaited
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import validate_name
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints import account, assets, runs
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of
from airflow_provider_mosaic.api.options import AssetKind, UnknownNodes
from airflow_provider_mosaic.api.paging import Listing, iterate
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.connection_form import CONNECTION_TYPE, HOOK_NAME, field_behaviour, form_widgets
from airflow_provider_mosaic.hooks.connection import access_of, lookup_error
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_mosaic.agents_as_code.apply import AppliedAgent

    # The HTTP libraries are loaded with the first call, not with the DAG file that imports the hook.
    from airflow_provider_mosaic.clients.async_client import AsyncClient
    from airflow_provider_mosaic.clients.sync_client import SyncClient

T = TypeVar("T")

#: Seconds that somebody who has pressed the connection form's Test button is left waiting.
_LONGEST_TEST = 10.0
#: Seconds of those that Airflow leaves a task that it kills.
_LONGEST_CANCEL = 3.0


class MosaicHook(EndpointMethods, BaseHook):
    """
    The Mosaic API with the address and the key of an Airflow connection.

    Each method of :class:`~airflow_provider_mosaic.hooks.endpoint_methods.EndpointMethods` is one endpoint
    (https://docs.mosaic.so/api/introduction). Nothing is read or sent before the first call.

    :param mosaic_conn_id: The connection of type ``mosaic``: the API key as its password; if wanted, another base URL
        as its host and ``workspace_id``, ``webhook_secret``, ``timeout`` and ``allow_private_storage`` in its extra.
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

        :raises MosaicConnectionError: Airflow returned no such connection, or something in it is wrong.
        :raises MosaicTransportError: It could not be looked up just now.
        """
        if self._access is None:
            self._access = self._looked_up()
        return self._access

    def _looked_up(self) -> Access:
        validate_name("mosaic_conn_id", self.mosaic_conn_id)
        try:
            connection = self.get_connection(self.mosaic_conn_id)
        except Exception as error:
            raise lookup_error(self.mosaic_conn_id, error) from None
        return access_of(connection)

    def renew(self) -> None:
        """Look the connection up again: a person may have changed it. If that fails, it stays as it was."""
        try:
            access = self._looked_up()
        except MosaicError as error:
            self.log.warning("%s", error)
            return
        if access != self._access:
            self.close()
            self._access = access

    @property
    def client(self) -> SyncClient:
        """The client for workers; it keeps its connections until :meth:`close`."""
        if self._client is None:
            from airflow_provider_mosaic.clients.sync_client import SyncClient

            self._client = SyncClient(self.access)
        return self._client

    async def look_up_access(self) -> Access:
        """
        The address and the key of the connection as they are now, looked up without holding the event loop.

        :raises MosaicConnectionError: Airflow returned no such connection, or something in it is wrong.
        :raises MosaicTransportError: It could not be looked up just now.
        """
        from airflow.providers.common.compat.connection import get_async_connection

        validate_name("mosaic_conn_id", self.mosaic_conn_id)
        try:
            if lookups_can_be_awaited():
                connection = await get_async_connection(self.mosaic_conn_id)
            else:
                connection = await asyncio.to_thread(self.get_connection, self.mosaic_conn_id)
        except Exception as error:
            raise lookup_error(self.mosaic_conn_id, error) from None
        self._access = access_of(connection)
        return self._access

    async def open_async_client(self) -> AsyncClient:
        """
        A client for triggers, to be closed by the caller; the connection is looked up without holding the event loop.

        :raises MosaicConnectionError: Airflow returned no such connection, or something in it is wrong.
        :raises MosaicTransportError: It could not be looked up just now.
        """
        from airflow_provider_mosaic.clients.async_client import AsyncClient

        return AsyncClient(self._access or await self.look_up_access())

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
        """Ask Mosaic once whose key this is (``GET /whoami``: open to any valid key): somebody looks on."""
        from airflow_provider_mosaic.clients.sync_client import send_with_deadline

        try:
            owner = send_with_deadline(_LONGEST_TEST, self.access, account.whoami())
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        scopes = "all scopes" if owner.scopes is None else f"scopes {one_line(', '.join(owner.scopes)) or '(none)'}"
        workspace = f", in workspace {self.access.workspace_id}" if self.access.workspace_id else ""
        return True, f"Connected to {self.access.base_url} as {owner.name}{workspace}, with {scopes}."

    def upload_asset(
        self, source: str | os.PathLike[str] | ObjectStoragePath, asset_type: AssetKind | AssetType | None = None
    ) -> str:
        """
        Upload a file whole: reserve, store, finalize (https://docs.mosaic.so/api/asset-management/upload-flow).

        :param source: A local path, a URI of object storage, an open HTTP(S) URL, or an ``ObjectStoragePath``.
        :param asset_type: ``video``, ``audio`` or ``image``. Default: by the file's suffix.
        :returns: The asset's id.
        """
        from airflow_provider_mosaic.clients.asset_upload import finalize, store
        from airflow_provider_mosaic.hooks.paths import source_at

        file = source_at(source, self.access)
        meant = None if asset_type is None else assets.validate_asset_type(asset_type)
        kind, media_type = media_type_of(file.name, meant)
        return finalize(self.client, kind, store(self.client, file, kind, media_type))

    def apply_agent(
        self,
        definition: Mapping[str, Any] | str | os.PathLike[str] | ObjectStoragePath,
        *,
        agent_id: str | None = None,
        unknown_nodes: UnknownNodes = "keep",
        dry_run: bool = False,
    ) -> AppliedAgent:
        """
        Make an agent what its definition says, with the fewest operations; where nothing differs, nothing is sent.

        :param definition: An object, or the path of a YAML or JSON file.
        :param agent_id: The agent. None for the one that has the definition's name; if none has it, it is made.
        :param unknown_nodes: Whether nodes that the definition does not have are kept (``keep``) or deleted
            (``remove``).
        :param dry_run: Whether the difference is only told.
        :raises MosaicAmbiguousOutcomeError: Whether the agent was made is unknown; look with :meth:`list_agents`.
        :raises MosaicError: The agent is not what it should be; the message says what has taken effect.
        """
        from airflow_provider_mosaic.agents_as_code.apply import AgentApply, ApplyOptions
        from airflow_provider_mosaic.hooks.paths import definition_at

        apply_options = ApplyOptions.validated(
            definition_at(definition), agent_id=agent_id, unknown_nodes=unknown_nodes, dry_run=dry_run
        )
        return AgentApply(self, apply_options, workspace_id=self.access.workspace_id).apply()

    def export_agent(self, agent_id: str, *, node_ids: bool = False) -> dict[str, Any]:
        """
        Return the definition of an agent.

        :func:`~airflow_provider_mosaic.agents_as_code.definition_yaml.definition_yaml` writes it as YAML.

        :param agent_id: The agent.
        :param node_ids: Whether it says which of the agent's nodes each one is; it then fits no other agent.
        """
        from airflow_provider_mosaic.agents_as_code.apply import export_agent

        return export_agent(self, agent_id, node_ids=node_ids)


def cancel_with_timeout(access: Access, run_id: str) -> None:
    """
    Cancel a run from a signal handler: one request on a connection of its own, for three seconds at most.

    The interrupted code may be in the middle of using the hook's client, and the process is about to be killed.

    :param access: The address and the key.
    :param run_id: The run.
    """
    from airflow_provider_mosaic.clients.sync_client import send_with_deadline

    send_with_deadline(_LONGEST_CANCEL, access, runs.cancel_run(run_id))


def read_quickly(access: Access, run_id: str) -> runs.Run:
    """
    Read a run when a task is about to end: one request on a connection of its own, for three seconds at most.

    :param access: The address and the key.
    :param run_id: The run.
    """
    from airflow_provider_mosaic.clients.sync_client import send_with_deadline

    return send_with_deadline(_LONGEST_CANCEL, access, runs.get_run(run_id))
