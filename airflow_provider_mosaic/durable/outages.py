"""Whether it was a user who ended a task, or an outage of Airflow's API server."""

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

from airflow_provider_mosaic.airflow_compat import supervisor_comms


def api_server_is_unreachable(seconds: float) -> bool:
    """
    Whether Airflow's API server, or the database behind it, does not answer the machine of a running task.

    :param seconds: How long to wait for an answer.
    :returns: False also where no API server is needed, as under ``dag.test()``, or where it can't be known.
    """
    if supervisor_comms() is None:
        return False
    # By the same settings as Airflow's executors.
    base = str(conf.get("api", "base_url", fallback="/") or "/")
    if base.startswith("/"):
        base = f"http://localhost:8080{base}"
    server = str(conf.get("core", "execution_api_server_url", fallback="") or f"{base.rstrip('/')}/execution/")
    if not server.startswith(("http://", "https://")):
        return False
    address = urljoin(f"{server.rstrip('/')}/", "../api/v2/monitor/health")
    away: list[bool] = []
    # On a thread: a name that is looked up is not bounded by any timeout.
    asking = threading.Thread(target=lambda: away.append(_is_unreachable(address, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return away[0] if away else True


def _is_unreachable(address: str, seconds: float) -> bool:
    try:
        with urlopen(address, timeout=seconds) as answer:  # noqa: S310 - http or https, see the caller
            health = json.loads(answer.read(100_000))
    except HTTPError as error:
        return error.code >= 500
    except URLError as error:
        # Somebody answers whose certificate Airflow may know and this process does not.
        return not isinstance(error.reason, ssl.SSLError)
    except (OSError, HTTPException):
        return True
    except ValueError:
        return False
    database = health.get("metadatabase") if isinstance(health, Mapping) else None
    return isinstance(database, Mapping) and database.get("status") == "unhealthy"
