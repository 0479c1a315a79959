"""The hook: the Mosaic API with the credentials of an Airflow connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_mosaic.airflow_compat import lookups_can_be_awaited, stats, supervisor_is_gone, uncancelled
from airflow_provider_mosaic.api import endpoints, metrics
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import validate_name
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicError,
    MosaicPermissionError,
)
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of
from airflow_provider_mosaic.api.options import AssetKind, UnknownNodes
from airflow_provider_mosaic.api.paging import Listing, iterate
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.connection_form import CONNECTION_TYPE, HOOK_NAME, field_behaviour, form_widgets
from airflow_provider_mosaic.hooks.connection import lookup_error, read_access
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_mosaic.agents_as_code.apply import AppliedAgent

    # The first call imports the HTTP libraries. A DAG file that imports the hook does not.
    from airflow_provider_mosaic.clients.async_client import AsyncClient
    from airflow_provider_mosaic.clients.sync_client import SyncClient

T = TypeVar("T")

# All requests of tasks and triggers come from a hook.
metrics.report_to(stats)

#: Seconds of a connection test in the UI.
_TEST_TIMEOUT = 10.0


class MosaicHook(EndpointMethods, BaseHook):
    """
    Hook for the Mosaic API (https://docs.mosaic.so/api/introduction).

    Each endpoint is a method of :class:`~airflow_provider_mosaic.hooks.endpoint_methods.EndpointMethods`, for example
    :meth:`get_run` and :meth:`list_runs`. :meth:`send` sends any other call. Requests without side effects are repeated
    after temporary errors. Requests with side effects are repeated only if Mosaic did not act on them. If that is
    unknown, they raise :class:`~airflow_provider_mosaic.exceptions.MosaicAmbiguousOutcomeError`. The hook does not
    search or wait for an outcome: the operators do. Set ``retries=0`` for a ``@task`` that sends such requests, because
    Airflow's retry would send them again.

    The connection is looked up with the first call. The hook keeps HTTP connections open until :meth:`close`.

    .. code-block:: python

        hook = MosaicHook()
        run_id = hook.run_agent(agent_id, video_urls=["https://..."])
        print(hook.get_run(run_id).status)

    :param mosaic_conn_id: The connection of type ``mosaic``. The password is the API key.
        :mod:`airflow_provider_mosaic.hooks.connection` lists its fields.
    """

    conn_name_attr = "mosaic_conn_id"
    default_conn_name = "mosaic_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME
    # Whether a lookup searches Airflow's database in every process.
    _in_server = False

    def __init__(self, mosaic_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mosaic_conn_id = mosaic_conn_id
        self._access: Access | None = None
        self._client: SyncClient | None = None
        self._refuses_effects = False

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form. Only Airflow 3.1 calls this."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the standard fields of the connection form. Only Airflow 3.1 calls this."""
        return field_behaviour()

    @property
    def access(self) -> Access:
        """
        The address and the credentials of the connection, looked up once.

        :raises MosaicConnectionError: Airflow returned no such connection, or a field is wrong.
        :raises MosaicTransportError: The lookup failed. A later one may succeed.
        """
        if self._access is None:
            self._access = self._look_up()
        return self._access

    @property
    def has_access(self) -> bool:
        """Whether the connection was looked up."""
        return self._access is not None

    def _look_up(self) -> Access:
        validate_name("mosaic_conn_id", self.mosaic_conn_id)
        try:
            connection = self.get_connection(self.mosaic_conn_id)
        except Exception as error:
            raise lookup_error(self.mosaic_conn_id, error, in_server=self._in_server) from None
        return read_access(connection)

    def renew(self) -> None:
        """Look the connection up again, because a user may have replaced the key. If that fails, keep the old one."""
        try:
            access = self._look_up()
        except MosaicError as error:
            self.log.warning(
                "Connection %r could not be looked up again. The key that was read before stays in use. %s",
                self.mosaic_conn_id,
                error,
            )
            return
        if access != self._access:
            self.close()
            self._access = access

    def retry_with_new_key(self, request: Callable[[], T]) -> T:
        """
        Return the result of a request. If Mosaic refuses the key, and the connection has changed, call it once more.

        For a request after a transfer: in the hours that one takes, a user may replace the key.
        """
        access = self.access
        try:
            return request()
        except (MosaicAuthenticationError, MosaicPermissionError):
            self.renew()
            if self.access == access:
                raise
        return request()

    async def look_up_access(self) -> Access:
        """
        Look the connection up again without blocking the event loop, and return its address and credentials.

        :raises MosaicConnectionError: Airflow returned no such connection, or a field is wrong.
        :raises MosaicTransportError: The lookup failed. A later one may succeed.
        """
        from airflow.providers.common.compat.connection import get_async_connection

        validate_name("mosaic_conn_id", self.mosaic_conn_id)
        try:
            if lookups_can_be_awaited():
                connection = await uncancelled(get_async_connection(self.mosaic_conn_id))
            else:
                connection = await asyncio.to_thread(self.get_connection, self.mosaic_conn_id)
        except Exception as error:
            raise lookup_error(self.mosaic_conn_id, error) from None
        await asyncio.to_thread(metrics.connect)
        self._access = read_access(connection)
        return self._access

    @property
    def client(self) -> SyncClient:
        """The synchronous client. It keeps HTTP connections open until :meth:`close`."""
        if self._client is None:
            from airflow_provider_mosaic.clients.sync_client import SyncClient

            self._client = SyncClient(self.access, is_orphaned=supervisor_is_gone)
            if self._refuses_effects:
                self._client.refuses_effects = True
        return self._client

    def get_conn(self) -> SyncClient:
        """Return :attr:`client`. Airflow's hooks have this method."""
        return self.client

    async def open_async_client(self) -> AsyncClient:
        """
        Return an asynchronous client, for triggers. The caller closes it.

        :raises MosaicConnectionError: Airflow returned no such connection, or a field is wrong.
        :raises MosaicTransportError: The lookup failed. A later one may succeed.
        """
        from airflow_provider_mosaic.clients.async_client import AsyncClient

        return AsyncClient(self._access or await self.look_up_access())

    def close(self) -> None:
        """Close the HTTP connections. The hook can be used again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def refuse_effects(self) -> None:
        """
        Refuse every further call that is not safe to repeat: starts, resumes, posts, and what else creates something.

        For a task that was killed: Airflow ends its process some seconds later, and may start another attempt before.
        A signal handler may call this.
        """
        self._refuses_effects = True
        if self._client is not None:
            self._client.refuses_effects = True

    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """
        Send a call of :mod:`airflow_provider_mosaic.api.endpoints` and return its result.

        :param retries: When to repeat the request. Default: the policy of the client.
        :raises MosaicError: The subclass depends on what the caller can do.
        """
        return self.client.send(call, retries=retries)

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """
        Yield the items of a list. A page is requested when its first item is needed.

        :param listing: A list of :mod:`airflow_provider_mosaic.api.endpoints`.
        """
        return iterate(self.send, listing)

    def test_connection(self) -> tuple[bool, str]:
        """
        Request the owner of the API key once (``GET /whoami``, which every valid key may call).

        :returns: Whether it succeeded, and a message for the user.
        """
        from airflow_provider_mosaic.clients.sync_client import send_with_deadline

        try:
            owner = send_with_deadline(_TEST_TIMEOUT, self.access, endpoints.account.whoami())
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        scopes = "all scopes" if owner.scopes is None else f"scopes {one_line(', '.join(owner.scopes)) or '(none)'}"
        workspace = f", in workspace {self.access.workspace_id}" if self.access.workspace_id else ""
        return True, f"Connected to {self.access.base_url} as {owner.name}{workspace}, with {scopes}."

    def upload_asset(
        self, source: str | os.PathLike[str] | ObjectStoragePath, asset_type: AssetKind | AssetType | None = None
    ) -> str:
        """
        Upload a file and return the asset id (https://docs.mosaic.so/api/asset-management/upload-flow).

        The file is streamed. Memory use does not depend on its size.

        :param source: A local path, a URI of object storage, an HTTP(S) URL that needs no credentials, or an
            ``ObjectStoragePath``.
        :param asset_type: ``video``, ``audio`` or ``image``. Default: from the file's suffix.
        :raises MosaicValidationError: The file cannot be read, or Mosaic does not accept it.
        """
        from airflow_provider_mosaic.clients.upload import finalize, store
        from airflow_provider_mosaic.hooks.paths import get_source

        # First, since a URL may be downloaded to learn its length.
        requested = None if asset_type is None else endpoints.assets.validate_asset_type(asset_type)
        file = get_source(source, self.access)
        kind, media_type = media_type_of(file.name, requested)
        asset_id = self.retry_with_new_key(lambda: store(self.client, file, kind, media_type))
        return self.retry_with_new_key(lambda: finalize(self.client, kind, asset_id))

    def apply_agent(
        self,
        definition: Mapping[str, Any] | str | os.PathLike[str] | ObjectStoragePath,
        *,
        agent_id: str | None = None,
        unknown_nodes: UnknownNodes = "keep",
        dry_run: bool = False,
    ) -> AppliedAgent:
        """
        Create an agent from its definition, or change what differs from it.

        The hook has no memory: if the response to a creation is lost, it raises. The operator searches for the agent.

        :param definition: An object, or the path of a YAML or JSON file.
        :param agent_id: The agent. Default: the agent with the definition's name. It is created if there is none.
        :param unknown_nodes: What to do with nodes that are not in the definition: ``keep`` or ``remove``.
        :param dry_run: Whether to return the changes without sending them.
        :raises MosaicAmbiguousOutcomeError: The agent may have been created. Check with :meth:`list_agents`.
        :raises MosaicError: The agent does not match the definition. The message lists what took effect.
        """
        from airflow_provider_mosaic.agents_as_code.apply import AgentApply, ApplyOptions
        from airflow_provider_mosaic.hooks.paths import read_definition

        apply_options = ApplyOptions.validated(
            read_definition(definition), agent_id=agent_id, unknown_nodes=unknown_nodes, dry_run=dry_run
        )
        return AgentApply(self, apply_options, workspace_id=self.access.workspace_id).apply()

    def export_agent(self, agent_id: str, *, node_ids: bool = False) -> dict[str, Any]:
        """
        Return the definition of an agent.

        :func:`~airflow_provider_mosaic.agents_as_code.definition_yaml.definition_yaml` writes it as YAML.

        :param node_ids: Whether to include the ids of the nodes. The definition then fits only this agent.
        """
        from airflow_provider_mosaic.agents_as_code.export import export_agent

        return export_agent(self, agent_id, node_ids=node_ids)
