"""What an Airflow connection of type ``mosaic`` says: the address and the key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.access import DEFAULT_BASE_URL, Access
from airflow_provider_mosaic.api.arguments import refuse
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact

if TYPE_CHECKING:
    from airflow.sdk import Connection


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
    try:
        if extra.get("timeout") not in (None, ""):
            options["timeout"] = _seconds(extra["timeout"])
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
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, Mapping):
        raise MosaicValidationError(f"Connection {connection.conn_id!r}: its extra is not a JSON object.")
    return extra


def _seconds(value: object) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        refuse("timeout", value, "it must be a number of seconds.")


def lookup_error(conn_id: str, error: Exception) -> MosaicError:
    """
    What it means that a connection could not be looked up.

    :param conn_id: The connection.
    :param error: What Airflow raised.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    # A ValueError is Airflow's answer to a connection in the environment that it can't read. Its words may hold the
    # key: that is why nobody keeps it as a cause.
    if not isinstance(error, (AirflowNotFoundException, ValueError)):
        # The API server or a secrets backend is away: it may be back soon, and what is waited for goes on meanwhile.
        return MosaicTransportError(
            f"mosaic_conn_id={conn_id!r}: it could not be looked up ({type(error).__name__}: {redact(str(error))}).",
            effect_unknown=False,
        )
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    cure = f"Make one of type 'mosaic' under Admin > Connections, or set {variable}."
    if variable in os.environ:
        # Airflow goes on looking elsewhere, and says only in its log that it could not read this.
        cure = f"{variable} is set, but holds neither JSON nor a URI that can be read."
    said = f"{type(error).__name__}: {redact(str(error))}"
    return MosaicValidationError(f"mosaic_conn_id={conn_id!r}: there is no such connection ({said}). {cure}")
