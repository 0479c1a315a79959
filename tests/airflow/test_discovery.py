"""Discovery of the installed provider by Airflow."""

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
    """Return a schema of the installed Airflow."""
    text = (Path(airflow.__path__[0]) / name).read_text()
    return dict(json.loads(text))


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    """Return Airflow's providers manager."""
    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_provider_is_found_with_its_version(manager: ProvidersManager) -> None:
    found = manager.providers[NAME]
    assert found.version == version(NAME)
    assert found.data["name"] == "Mosaic"


def test_metadata_matches_the_schema() -> None:
    info = get_provider_info()
    jsonschema.validate(info, schema("provider_info.schema.json"))
    assert info["versions"][0] == version(NAME)


def test_hook_of_the_connection_type_is_found(manager: ProvidersManager) -> None:
    hook = manager.hooks["mosaic"]
    assert hook is not None
    assert hook.hook_class_name == f"{MosaicHook.__module__}.{MosaicHook.__qualname__}"
    assert hook.hook_name == "Mosaic"
    assert hook.connection_id_attribute_name == "mosaic_conn_id"


def test_extra_link_is_registered(manager: ProvidersManager) -> None:
    for link in ("MosaicAgentLink", "MosaicPageLink", "MosaicPostLink"):
        assert f"airflow_provider_mosaic.links.{link}" in manager.extra_links_class_names
