from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from airflow_provider_mosaic import __version__
from airflow_provider_mosaic.connection_form import EXTRA_FIELDS, connection_type_info
from airflow_provider_mosaic.get_provider_info import get_provider_info
from airflow_provider_mosaic.hooks.mosaic import MosaicHook


def test_metadata_matches_airflows_schema() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_entry_point() -> None:
    [point] = [point for point in entry_points(group="apache_airflow_provider") if "mosaic" in point.value]
    assert point.load()() == get_provider_info()
    assert get_provider_info()["versions"] == [__version__]


def test_connection_type_is_that_of_the_hook() -> None:
    info = connection_type_info()
    module, _, name = info["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), name)
    assert hook is MosaicHook
    assert (hook.conn_type, hook.hook_name) == (info["connection-type"], info["hook-name"])
    assert hook.default_conn_name == "mosaic_default"


def test_secret_field_is_masked() -> None:
    fields = connection_type_info()["conn-fields"]
    assert {name for name, field in fields.items() if field["schema"].get("format") == "password"} == {"webhook_secret"}
    assert {field.name for field in EXTRA_FIELDS if field.secret} == {"webhook_secret"}


def named_modules() -> list[str]:
    info = get_provider_info()
    groups = [entry for kind in ("hooks", "operators", "sensors", "triggers") for entry in info[kind]]
    return [module for entry in groups for module in entry["python-modules"]]


@pytest.mark.parametrize("module", named_modules())
def test_listed_module_exists(module: str) -> None:
    import_module(module)


@pytest.mark.parametrize("link", get_provider_info()["extra-links"])
def test_listed_link_exists(link: str) -> None:
    module, _, name = link.rpartition(".")
    assert getattr(import_module(module), name)().name


@pytest.mark.parametrize("package", ["hooks", "operators", "sensors", "triggers"])
def test_public_classes_can_be_imported_from_their_package(package: str) -> None:
    module = import_module(f"airflow_provider_mosaic.{package}")
    assert module.__all__
    for name in module.__all__:
        found = getattr(module, name)
        assert found.__module__ in named_modules()
    with pytest.raises(AttributeError, match="MosaicNothing"):
        module.MosaicNothing  # noqa: B018 - asking for it is what raises


# Newer Airflows have another manager for tasks, and warn of this one, which older ones have alone.
@pytest.mark.filterwarnings("ignore:ProvidersManager")
def test_airflow_registers_the_hook() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()  # type: ignore[no-untyped-call]
    hook: Any = manager.hooks["mosaic"]
    assert (hook.hook_name, hook.package_name, hook.connection_id_attribute_name) == (
        "Mosaic",
        "airflow-provider-mosaic",
        "mosaic_conn_id",
    )
    assert hook.connection_testable


#: What the API server answers with; before Airflow 3.2 it asks the hook, with a stand-in for wtforms, so it must be the
#: first to ask.
FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [form for form in HookMetaService.hook_meta_data() if form.connection_type == "mosaic"]
print()
print(form.model_dump_json())
"""


def printed_by(code: str) -> str:
    """The last line that a fresh interpreter prints."""
    # Elsewhere than here: the folder that Python is started in is the first one that it looks into.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=elsewhere)
    return done.stdout.splitlines()[-1]


def test_form_has_labels() -> None:
    form = json.loads(printed_by(FORM))
    assert form["hook_name"] == "Mosaic"
    assert {name: field["schema"]["title"] for name, field in form["extra_fields"].items()} == {
        field.name: field.label for field in EXTRA_FIELDS
    }
    assert form["extra_fields"]["webhook_secret"]["schema"]["format"] == "password"
    shown = form["standard_fields"]
    assert (shown["host"]["title"], shown["password"]["title"]) == ("Base URL", "API key")
    assert all(shown[name]["hidden"] for name in ("login", "url_schema"))
    assert not shown["port"]["hidden"]


def test_metadata_imports_nothing_heavy() -> None:
    code = "import sys, airflow_provider_mosaic.get_provider_info as m; m.get_provider_info(); print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in printed_by(code).split()}
    assert loaded.isdisjoint({"airflow", "pydantic", "requests", "httpx", "pendulum", "tenacity"})
