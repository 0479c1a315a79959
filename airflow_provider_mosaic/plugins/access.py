"""Who may see a page and use its buttons: Airflow's own permissions, and tokens against requests of other sites."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.providers.common.compat.sdk import conf
from fastapi import Depends, HTTPException, Request

from airflow_provider_mosaic.plugins.items import TaskKey

#: Seconds until a token expires. A page that stays open longer must be loaded again before its buttons work.
_TOKEN_LIFETIME = 12 * 3600

# Marking and clearing a task instance require the same.
_require_edit: Callable[[Request, Any], None] = requires_access_dag("PUT", DagAccessEntity.TASK_INSTANCE)

#: Dependencies of routes that show task instances. Outputs are results of a task, which Airflow shows as XComs.
MAY_READ = [
    Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
    Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
]
#: Dependencies of routes that change something.
MAY_EDIT = [*MAY_READ, Depends(_require_edit)]


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """
    The user who sends a request.

    :param id: Identifies the user.
    :param name: The name in Airflow's audit log.
    :param may_edit: Whether the user may change the task instance in the path.
    """

    id: str
    name: str
    may_edit: bool


def _viewer(request: Request, user: GetUserDep) -> Viewer:
    try:
        _require_edit(request, user)
    except HTTPException:
        may_edit = False
    else:
        may_edit = True
    return Viewer(id=str(user.get_id()), name=str(user.get_name()), may_edit=may_edit)


#: The user, for routes with a task instance in their path.
CurrentViewer = Annotated[Viewer, Depends(_viewer)]


def _readable_dags(user: GetUserDep) -> frozenset[str]:
    return frozenset(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


#: The ids of the DAGs that the user may read.
ReadableDags = Annotated[frozenset[str], Depends(_readable_dags)]


def csrf_token(viewer: Viewer, key: TaskKey) -> str:
    """Return a token that a page sends back with an action. It is valid for this user and this task instance only."""
    expiry = int(time.time()) + _TOKEN_LIFETIME
    return f"{expiry}.{_signature(viewer, expiry, key)}"


def check_csrf(request: Request, viewer: Viewer, key: TaskKey) -> None:
    """
    Reject a request that was not sent by this task instance's page for this user.

    :raises HTTPException: 403.
    """
    expiry, _, signature = request.headers.get("X-CSRF-Token", "").partition(".")
    if not (expiry.isascii() and expiry.isdecimal() and len(expiry) < 15):
        raise HTTPException(403, "The token of the page is missing. Nothing was done. Reload the page.")
    expected = _signature(viewer, int(expiry), key)
    if not hmac.compare_digest(signature.encode(), expected.encode()) or int(expiry) < time.time():
        raise HTTPException(403, "The token of the page is wrong or has expired. Nothing was done. Reload the page.")
    if not _is_same_origin(request):
        raise HTTPException(403, "The request comes from another site. Nothing was done.")


def _signature(viewer: Viewer, expiry: int, key: TaskKey) -> str:
    # Airflow's API servers share this secret.
    secret = get_signing_key("api", "secret_key").encode()
    message = repr(("mosaic page", viewer.id, expiry, str(key))).encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def _is_same_origin(request: Request) -> bool:
    """Return whether a browser sent the request from a page of this Airflow. Other programs send neither header."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        # Scripts of a page cannot set it, and no proxy has to keep the Host header.
        return site == "same-origin"
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    # Behind a proxy, the Host header may be that of the internal server.
    own = {request.headers.get("Host"), urlsplit(conf.get("api", "base_url", fallback="") or "").netloc}
    return urlsplit(origin).netloc in own - {None, ""}
