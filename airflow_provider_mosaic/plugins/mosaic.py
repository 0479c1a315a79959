"""
The plugin that shows Mosaic inside Airflow: a tab on the page of a task instance, and "Last night" in the navigation.

Every Airflow process imports this module, and only the API server answers requests. The app is therefore imported with
the first request.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_mosaic.page_address import PREFIX, pages_path

_App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


class LazyApp:
    """An ASGI app that imports and builds the real one with the first request."""

    def __init__(self) -> None:
        self._app: _App | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle a request."""
        if self._app is None:
            from anyio.to_thread import run_sync

            # The import takes some tenths of a second. Other requests of the API server do not wait for it.
            await run_sync(self._build)
        assert self._app is not None  # noqa: S101 - just built
        await self._app(scope, receive, send)

    def _build(self) -> None:
        with self._lock:
            if self._app is None:
                from airflow_provider_mosaic.plugins.app import create_app

                self._app = create_app()


class MosaicPlugin(AirflowPlugin):
    """The pages of this provider."""

    name = "mosaic"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": PREFIX, "name": "Mosaic"}]
    external_views = [
        {
            "name": "Mosaic",
            "destination": "task_instance",
            "url_route": "mosaic",
            "href": f"{pages_path()}/tasks/{{DAG_ID}}/{{RUN_ID}}/{{TASK_ID}}/{{MAP_INDEX}}",
            "icon": f"{pages_path()}/static/icon.svg",
        },
        {
            "name": "Mosaic",
            "destination": "nav",
            "category": "browse",
            "url_route": "mosaic_last_night",
            "href": f"{pages_path()}/last-night",
            "icon": f"{pages_path()}/static/icon.svg",
        },
    ]
