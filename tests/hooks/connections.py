"""Airflow connections for tests, as environment variables."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

KEY = "mk_live_hush"
URI_KEY = f"mosaic://:{KEY}@"
VARIABLE = "AIRFLOW_CONN_MOSAIC_DEFAULT"


def as_json(**fields: Any) -> str:
    """Return a connection as JSON."""
    if isinstance(fields.get("extra"), dict):
        fields["extra"] = json.dumps(fields["extra"])
    return json.dumps({"conn_type": "mosaic", **fields})


def look_up_access(connection: str, monkeypatch: pytest.MonkeyPatch) -> Access:
    """Return what a hook and its asynchronous client read from a connection."""
    monkeypatch.setenv(VARIABLE, connection)
    access = MosaicHook().access

    async def open_client() -> Access:
        client = await MosaicHook().open_async_client()
        await client.aclose()
        return client.access

    assert asyncio.run(open_client()) == access
    return access
