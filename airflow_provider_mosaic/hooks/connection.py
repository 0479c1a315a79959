"""What an Airflow connection of type ``mosaic`` says: the address and the key."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.airflow_compat import searches_database
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

_USUAL_PORTS = {"http": 80, "https": 443}


def access_of(connection: Connection) -> Access:
    """
    The address and the key that an Airflow connection holds.

    Only its plain attributes are read: ``extra_dejson`` and ``get_password`` may call the supervisor, which must not
    happen on an event loop.

    :param connection: A connection of type ``mosaic``; JSON in a secrets backend often names no type.
    :raises MosaicConnectionError: Something in it is missing or wrong; the message names the connection and the field.
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
                f"it must be {CONNECTION_TYPE!r}. The password of another service is not sent to Mosaic: name the "
                "connection that holds the Mosaic API key, or change the type of this one.",
            )
        if extra.get("timeout") not in (None, ""):
            options["timeout"] = _seconds(extra["timeout"])
        for name in ("allow_http", "allow_private_storage"):
            if extra.get(name) not in (None, ""):
                options[name] = _flag(name, extra[name])
        return Access(api_key=connection.password or "", base_url=_base_url(connection), **options)
    except MosaicValidationError as error:
        raise MosaicConnectionError(f"Connection {connection.conn_id!r}: {error}") from None


def _base_url(connection: Connection) -> Any:
    if not isinstance(connection.host, str):
        return connection.host or DEFAULT_BASE_URL
    host = connection.host.strip()
    if not host:
        return DEFAULT_BASE_URL
    # A connection URI keeps scheme and port apart from the host.
    if "://" not in host and connection.schema in ("http", "https"):
        host = f"{connection.schema}://{host}"
    scheme, separator, authority = host.rpartition("://")
    with contextlib.suppress(ValueError):
        authority = f"[{IPv6Address(authority)}]"
    has_port = ":" in authority.rpartition("]")[2]
    # The Test button of Airflow 3.3.1 and 3.3.2 fails for a connection without a port
    # (https://github.com/apache/airflow/pull/73298), so the usual one must change nothing.
    if connection.port and not has_port and connection.port != _USUAL_PORTS.get(scheme):
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


def _seconds(value: object) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise_invalid("timeout", value, "it must be a number of seconds.")


def _flag(name: str, value: object) -> bool:
    # A connection URI holds text alone.
    named = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(named, bool):
        raise_invalid(name, value, "it must be true or false.")
    return named


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
        # The API server or a secrets backend is away and may be back soon. What is waited for keeps running.
        return MosaicTransportError(
            f"mosaic_conn_id={conn_id!r}: it could not be looked up ({type(error).__name__}: {one_line(str(error))}).",
            effect_unknown=False,
        )
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    # Airflow raises the same for a connection that its API server or a secrets backend could not return just now.
    transient = isinstance(error, AirflowNotFoundException)
    cure = (
        "If it is defined, Airflow's API server or its secrets backend did not answer: a later lookup may find it. If "
        f"not, make one of type 'mosaic' under Admin > Connections, or set {variable}."
    )
    if variable in os.environ:
        # Airflow goes on looking elsewhere, and says only in its log that it could not read this.
        cure = f"{variable} is set, but holds neither JSON nor a URI that can be read."
    elif not searches_database():
        cure = (
            "This process is no task, so Airflow did not search its database, where the UI saves connections. Run "
            f"`airflow connections test {conn_id}` for a connection that was saved there, or set {variable}."
        )
    # Any part of it may be the key.
    parts = values(re.split(r"[^\w.\-+]+", os.environ.get(variable, "")))
    said = f"{type(error).__name__}: {one_line(str(error), parts)}"
    return MosaicConnectionError(
        f"mosaic_conn_id={conn_id!r}: Airflow returned no such connection ({said}). {cure}", transient=transient
    )
