"""What Airflow finds of an installed provider before anything of it runs."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_mosaic.get_provider_info import get_provider_info
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

NAME = "airflow-provider-mosaic"


def schema(name: str) -> dict[str, Any]:
    """A schema that the installed Airflow ships."""
    text = (Path(airflow.__path__[0]) / name).read_text()
    return dict(json.loads(text))


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    """Airflow's own list of what is installed."""
    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_airflow_finds_the_provider_with_its_version(manager: ProvidersManager) -> None:
    found = manager.providers[NAME]
    assert found.version == version(NAME)
    assert found.data["name"] == "Mosaic"


def test_the_metadata_is_what_the_installed_airflow_accepts() -> None:
    info = get_provider_info()
    jsonschema.validate(info, schema("provider_info.schema.json"))
    assert info["versions"][0] == version(NAME)


def test_airflow_finds_the_hook_of_the_connection_type(manager: ProvidersManager) -> None:
    hook = manager.hooks["mosaic"]
    assert hook is not None
    assert hook.hook_class_name == f"{MosaicHook.__module__}.{MosaicHook.__qualname__}"
    assert hook.hook_name == "Mosaic"
    assert hook.connection_id_attribute_name == "mosaic_conn_id"


def test_the_link_of_a_task_is_registered(manager: ProvidersManager) -> None:
    for link in ("MosaicAgentLink", "MosaicPostLink"):
        assert f"airflow_provider_mosaic.links.{link}" in manager.extra_links_class_names
