"""The plugin of Airflow that serves Mosaic's pages and webhooks. Every process of Airflow loads it."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _LazyApp:
    """An ASGI app that is made for the first request, in the API server."""

    _app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_provider_mosaic.plugins.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class MosaicPlugin(AirflowPlugin):
    """Mosaic in Airflow's API server."""

    name = "mosaic"
    fastapi_apps = [{"app": _LazyApp(), "url_prefix": "/mosaic", "name": "Mosaic"}]
