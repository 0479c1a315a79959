"""Tell an outage of Airflow or a newer attempt from a user who ended a task, and notice the death of the supervisor."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import urlopen

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.airflow_compat import state_in, supervisor_comms, supervisor_is_gone
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.durable.task_state import has_entry

#: The states of a task with an attempt that runs, or will. After a clear of a running task the state is "restarting".
_CONTINUED = frozenset({"running", "deferred", "up_for_retry", "scheduled", "queued"})


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
    # No timeout limits a DNS lookup.
    return _on_thread(lambda: _is_unreachable(url, timeout), timeout) is not False


def _on_thread(check: Callable[[], bool], timeout: float) -> bool | None:
    """Return the result of a check; None if it does not come in time, or if the check fails."""
    results: list[bool] = []

    def run() -> None:
        with suppress(Exception):
            results.append(check())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    return results[0] if results else None


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


def is_replaced(context: Mapping[str, Any], kinds: Iterable[str], timeout: float) -> bool:
    """
    Return whether another attempt of a running task continues with what this attempt has saved.

    Airflow starts one when a worker has stalled for ``[scheduler] task_instance_heartbeat_timeout``, and kills this
    attempt when the worker is back.

    :param kinds: See ``recorded_id``.
    :param timeout: Seconds to wait for Airflow.
    :returns: False also if Airflow does not answer in time: a user has ended the task more often than not.
    """
    if supervisor_comms() is None:
        return False
    # On a thread: the next request waits until one to the supervisor has ended that a signal has interrupted.
    return bool(_on_thread(lambda: _is_replaced(context, kinds), timeout))


def _is_replaced(context: Mapping[str, Any], kinds: Iterable[str]) -> bool:
    ti = context["ti"]
    index = {} if ti.map_index < 0 else {"map_index": ti.map_index}
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], **index)
    # A mark keeps the id of the task instance, and a clear replaces it.
    return state_in(states, ti) in _CONTINUED and not has_entry(context, kinds)


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
