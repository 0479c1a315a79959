"""
The address of the webhook receiver inside Airflow, as workers, API servers and the command line compute it.

The last part of the address is a token that nobody can guess without the connection's webhook secret. A receiver that
serves several connections with the same secret can therefore tell them apart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api.arguments import is_loopback, raise_invalid

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: Where Airflow's API server serves the receiver, below its base URL.
PATH = "/mosaic/webhooks"
#: Connection ids that the path of a URL and the key of an Airflow Variable can hold.
_CONN_ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")


def webhooks_are_on() -> bool:
    """Return whether this Airflow receives webhooks: ``[mosaic] webhooks``."""
    return bool(conf.getboolean("mosaic", "webhooks", fallback=False))


def is_receivable(conn_id: str) -> bool:
    """Return whether the id of a connection can be part of the address."""
    return _CONN_ID.fullmatch(conn_id) is not None and conn_id not in (".", "..")


def path_token(secret: str, conn_id: str) -> str:
    """
    Return the last part of the address of a connection.

    :param secret: The connection's webhook secret.
    """
    message = f"mosaic webhook path:{conn_id}"
    return hmac.new(secret.encode("utf-8", "surrogatepass"), message.encode(), hashlib.sha256).hexdigest()


def webhook_url(conn_id: str, look_up: Callable[[str], Connection] | None = None) -> str:
    """
    Return the address to which Mosaic can send the webhooks of a connection. It is a secret: keep it out of logs.

    :param conn_id: A connection with a ``webhook_secret`` in its extra.
    :param look_up: Returns the connection. Default: the lookup of tasks.
    :raises MosaicValidationError: Airflow does not receive webhooks, or Mosaic cannot reach it.
    :raises MosaicConnectionError: The connection does not exist, or has no webhook secret.
    :raises MosaicTransportError: The lookup of the connection failed. A later one may succeed.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

    from airflow_provider_mosaic.api.redaction import remember
    from airflow_provider_mosaic.hooks.connection import lookup_error

    if not webhooks_are_on():
        raise_invalid(
            "[mosaic] webhooks",
            False,
            "Airflow does not receive webhooks. Set it to True (AIRFLOW__MOSAIC__WEBHOOKS) for all components of "
            "Airflow, and restart the API server.",
        )
    base_url = _base_url()
    if not is_receivable(conn_id):
        raise_invalid(
            "mosaic_conn_id",
            conn_id,
            "a connection that receives webhooks has an id of at most 200 letters, digits, underscores, dots and "
            "hyphens. Give the connection another id.",
        )
    try:
        connection = (look_up or BaseHook.get_connection)(conn_id)
    except Exception as error:
        raise lookup_error(conn_id, error) from None
    token = path_token(_required_secret(connection), conn_id)
    mask_secret(token)
    # Mosaic may repeat the address in a response.
    remember(token)
    return f"{base_url}{PATH}/{conn_id}/{token}"


def _base_url() -> str:
    name = "[api] base_url"
    base_url = str(conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
    except ValueError:
        raise_invalid(name, base_url, "it is not a URL. Set it to the address at which Mosaic reaches Airflow.")
    if not host:
        raise_invalid(name, base_url, "it is missing. Set it to the address at which Mosaic reaches Airflow.")
    if parts.scheme.lower() != "https" and not (parts.scheme.lower() == "http" and is_loopback(host)):
        raise_invalid(
            name,
            base_url,
            "Mosaic cannot send webhooks to it. It must start with https://, because each webhook carries the webhook "
            "secret. Set it to the address at which Mosaic reaches Airflow.",
        )
    return base_url


def _required_secret(connection: Connection) -> str:
    from airflow_provider_mosaic.api.errors import MosaicConnectionError
    from airflow_provider_mosaic.hooks.connection import read_webhook_secret

    secret = read_webhook_secret(connection)
    if not secret:
        raise MosaicConnectionError(
            f"Connection {connection.conn_id!r} has no webhook secret.",
            to_do="Enter the webhook secret of Mosaic's dashboard in the connection (extra: webhook_secret).",
        )
    return secret
