"""The hook of Airflow's API server and of its commands."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class ServerHook(MosaicHook):
    """The hook of a process with access to Airflow's database, where the UI saves connections."""

    _in_server = True

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Return a connection. The lookup of the SDK, which is for tasks, does not search the database on 3.1.0."""
        from airflow.models import Connection

        return Connection.get_connection_from_secrets(conn_id)
