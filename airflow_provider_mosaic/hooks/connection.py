"""
Read the Airflow connection of type ``mosaic``.

- password: the API key, ``mk_...``. The only required field.
- host: the base URL, scheme and host without a path. Default: ``https://api.mosaic.so``.
- port: the port, if the host contains none.
- extra:

  - ``workspace_id``: limits every request to one workspace. Default: all workspaces of the organization.
  - ``timeout``: seconds to wait for a response. Default: 60. Some requests wait longer.
  - ``allow_http``: whether to send the API key unencrypted to another machine. Default: false.
  - ``allow_private_storage``: whether links from Mosaic may lead to private addresses, and use plain HTTP there.
    Default: false.
  - ``webhook_secret``: the secret that Mosaic sends with its webhooks. Only a receiver needs it.

The connection form shows these fields (:mod:`airflow_provider_mosaic.connection_form`). In a connection URI, host and
scheme may be separate: ``mosaic://:mk_...@127.0.0.1:8080/http``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.airflow_compat import can_search_database
from airflow_provider_mosaic.api.access import DEFAULT_BASE_URL, Access
from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.errors import (
    MosaicConnectionError,
    MosaicError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.redaction import one_line, values
from airflow_provider_mosaic.connection_form import CONNECTION_TYPE

if TYPE_CHECKING:
    from airflow.sdk import Connection

_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_access(connection: Connection) -> Access:
    """
    Return the address and the credentials of an Airflow connection.

    This reads plain attributes only. ``extra_dejson`` and ``get_password`` may call Airflow's supervisor, which would
    block an event loop.

    :param connection: A connection of type ``mosaic``, or without a type, as JSON in secrets backends often is.
    :raises MosaicConnectionError: A field is missing or wrong. The message names the connection and the field.
    """
    extra = _extra(connection)
    options: dict[str, Any] = {}
    if extra.get("workspace_id"):
        options["workspace_id"] = str(extra["workspace_id"]).strip()
    try:
        if connection.conn_type not in (None, "", CONNECTION_TYPE):
            raise_invalid(
                "conn_type",
                connection.conn_type,
                f"it must be {CONNECTION_TYPE!r}. The password of another service is not sent to Mosaic. Use the "
                "connection with the Mosaic API key, or change the type of this one.",
            )
        if extra.get("timeout") not in (None, ""):
            options["timeout"] = _parse_seconds(extra["timeout"])
        for name in ("allow_http", "allow_private_storage"):
            if extra.get(name) not in (None, ""):
                options[name] = _parse_flag(name, extra[name])
        return Access(api_key=connection.password or "", base_url=_base_url(connection), **options)
    except MosaicValidationError as error:
        raise MosaicConnectionError(f"Connection {connection.conn_id!r}: {error}") from None


def read_webhook_secret(connection: Connection) -> str:
    """
    Return the webhook secret of a connection; an empty text if it has none, or is of another type.

    :raises MosaicConnectionError: The extra is not a JSON object.
    """
    if connection.conn_type not in (None, "", CONNECTION_TYPE):
        return ""
    secret = _extra(connection).get("webhook_secret")
    return str(secret).strip() if isinstance(secret, (str, int)) and not isinstance(secret, bool) else ""


def _base_url(connection: Connection) -> Any:
    if not isinstance(connection.host, str):
        return connection.host or DEFAULT_BASE_URL
    host = connection.host.strip()
    if not host:
        return DEFAULT_BASE_URL
    # A connection URI has the scheme as the schema.
    if "://" not in host and connection.schema in ("http", "https"):
        host = f"{connection.schema}://{host}"
    scheme, separator, authority = host.rpartition("://")
    # An IPv6 address without brackets would look like a host with a port.
    with contextlib.suppress(ValueError):
        authority = f"[{IPv6Address(authority)}]"
    has_port = ":" in authority.rpartition("]")[2]
    # Users set the default port because the Test button of Airflow 3.3.1 and 3.3.2 needs a port
    # (https://github.com/apache/airflow/pull/73298). It must not change the base URL.
    if connection.port and not has_port and connection.port != _DEFAULT_PORTS.get(scheme):
        authority = f"{authority.rstrip('/')}:{connection.port}"
    return f"{scheme}{separator}{authority}"


def _extra(connection: Connection) -> Mapping[str, Any]:
    text = connection.extra
    if not text:
        return {}
    try:
        extra = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        extra = None
    if not isinstance(extra, Mapping):
        raise MosaicConnectionError(f"Connection {connection.conn_id!r}: its extra is not a JSON object.")
    return extra


def _parse_seconds(value: object) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise_invalid("timeout", value, "it must be a number of seconds.")


def _parse_flag(name: str, value: object) -> bool:
    # In a connection URI, all values are text.
    flag = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise_invalid(name, value, "it must be true or false.")
    return flag


def lookup_error(conn_id: str, error: Exception, *, in_server: bool = False) -> MosaicError:
    """
    Return the error for a failed lookup of a connection.

    :param error: The exception from Airflow. Its text may contain the API key, so it must not become the cause.
    :param in_server: Whether the lookup searched Airflow's database.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    # Airflow raises ValueError if it cannot parse a connection in the environment.
    if not isinstance(error, (AirflowNotFoundException, ValueError)):
        # The API server or a secrets backend is unavailable.
        return MosaicTransportError(
            f"mosaic_conn_id={conn_id!r}: the lookup failed ({type(error).__name__}: {one_line(str(error))}).",
            effect_unknown=False,
        )
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if variable in os.environ:
        # Airflow only logs that it could not parse the variable.
        to_do = f"{variable} is set, but contains neither valid JSON nor a valid URI."
    elif not (in_server or can_search_database()):
        to_do = (
            "This process is not a task, so Airflow did not search its database, where the UI saves connections. Run "
            f"`airflow connections test {conn_id}` for a saved connection, or set {variable}."
        )
    else:
        to_do = (
            "If it exists, Airflow's API server or its secrets backend did not respond, and a later lookup may find "
            f"it. If not, add one of type 'mosaic' under Admin > Connections, or set {variable}."
        )
    # Any part of the variable may be the key.
    secrets = values(re.split(r"[^\w.\-+]+", os.environ.get(variable, "")))
    reason = f"{type(error).__name__}: {one_line(str(error), secrets)}"
    return MosaicConnectionError(
        f"mosaic_conn_id={conn_id!r}: Airflow returned no such connection ({reason}).",
        to_do=to_do,
        # Airflow raises the same error if its API server or a secrets backend could not return the connection now.
        transient=isinstance(error, AirflowNotFoundException),
    )
