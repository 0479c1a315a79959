"""What Airflow reads from the plugin."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from airflow_provider_mosaic.plugins import app as app_module
from airflow_provider_mosaic.plugins.mosaic import LazyApp, MosaicPlugin

VIEWS = (
    "import json\n"
    "from airflow_provider_mosaic.plugins.mosaic import MosaicPlugin\n"
    "print(json.dumps([view['href'] for view in MosaicPlugin.external_views]))"
)


def test_airflow_finds_the_plugin() -> None:
    [found] = [each for each in entry_points(group="airflow.plugins") if each.name == "mosaic"]
    assert found.load() is MosaicPlugin


@pytest.mark.parametrize(
    ("base_url", "path"),
    [("http://localhost:8080", ""), ("https://example.org/airflow", "/airflow"), ("https://example.org/a/b/", "/a/b")],
)
def test_addresses_begin_with_the_path_of_airflow(base_url: str, path: str) -> None:
    environment = {**os.environ, "AIRFLOW__API__BASE_URL": base_url}
    done = subprocess.run([sys.executable, "-c", VIEWS], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [
        f"{path}/mosaic/tasks/{{DAG_ID}}/{{RUN_ID}}/{{TASK_ID}}/{{MAP_INDEX}}",
        f"{path}/mosaic/last-night",
    ]


def test_the_app_is_built_once_with_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def create_app() -> Any:
        built.append("app")

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            scope["seen"].append(scope["path"])

        return app

    monkeypatch.setattr(app_module, "create_app", create_app)
    lazy = LazyApp()
    seen: list[str] = []

    async def requests() -> None:
        await asyncio.gather(*(lazy({"path": f"/{number}", "seen": seen}, None, None) for number in range(5)))

    assert built == []
    asyncio.run(requests())
    assert (built, sorted(seen)) == (["app"], ["/0", "/1", "/2", "/3", "/4"])
