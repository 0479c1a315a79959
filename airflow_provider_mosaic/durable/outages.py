"""Tell an outage of Airflow's API server from a user who ended a task, and notice the death of the supervisor."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import urlopen

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.airflow_compat import supervisor_comms, supervisor_is_gone
from airflow_provider_mosaic.api.errors import MosaicError


def api_server_is_unreachable(timeout: float) -> bool:
    """
    Return whether Airflow's API server, or the database behind it, does not respond to the machine of a running task.

    :param timeout: Seconds to wait for a response.
    :returns: False also if the task needs no API server, as under ``dag.test()``, or if its address is unknown.
    """
    if supervisor_comms() is None:
        return False
    # The settings and defaults of Airflow's executors.
    base = str(conf.get("api", "base_url", fallback="/") or "/")
    if base.startswith("/"):
        base = f"http://localhost:8080{base}"
    server = str(conf.get("core", "execution_api_server_url", fallback="") or f"{base.rstrip('/')}/execution/")
    if not server.startswith(("http://", "https://")):
        return False
    url = urljoin(f"{server.rstrip('/')}/", "../api/v2/monitor/health")
    results: list[bool] = []
    # On a thread, because no timeout limits a DNS lookup.
    thread = threading.Thread(target=lambda: results.append(_is_unreachable(url, timeout)), daemon=True)
    thread.start()
    thread.join(timeout)
    return results[0] if results else True


def _is_unreachable(url: str, timeout: float) -> bool:
    try:
        with urlopen(url, timeout=timeout) as response:  # noqa: S310 - the caller allows only http and https
            health = json.loads(response.read(100_000))
    except HTTPError as error:
        return error.code >= 500
    except URLError as error:
        # A certificate that this process does not know may be fine for Airflow: the server responded.
        return not isinstance(error.reason, ssl.SSLError)
    except (OSError, HTTPException):
        return True
    except ValueError:
        # Not JSON. Something responded, so this is no proof of an outage.
        return False
    database = health.get("metadatabase") if isinstance(health, Mapping) else None
    return isinstance(database, Mapping) and database.get("status") == "unhealthy"


def raise_if_orphaned(name: str) -> None:
    """
    Raise in a wait if the supervisor of this process died: another attempt may wait for the same item.

    :param name: The item, as it follows "waits for".
    """
    if supervisor_is_gone():
        raise MosaicError(
            f"Airflow's supervisor of this process died. This attempt no longer waits for {name}, since another "
            "attempt may."
        )
