"""The FastAPI app that Airflow's API server mounts at ``/mosaic``."""

from __future__ import annotations

from fastapi import FastAPI

from airflow_provider_mosaic.plugins import webhooks


def create_app() -> FastAPI:
    """Return the app."""
    app = FastAPI(title="Mosaic", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(webhooks.create_router())
    return app
