"""``docs/endpoints.md`` lists every documented endpoint. API functions, hook and emulator have the same endpoints."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from api.every_sample import SAMPLES, endpoint_functions
from fastapi.routing import APIRoute
from mosaic_emulator.routes import API_ROUTERS

from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.models import Model
from airflow_provider_mosaic.api.response_errors import error_for
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

DOCS = Path(__file__).parent.parent / "docs"
TABLE = (DOCS / "endpoints.md").read_text(encoding="utf-8")
EMULATOR_PAGE = (DOCS / "emulator.md").read_text(encoding="utf-8")

HOW_SURE = {"sure", "partly", "fields open"}
#: In the documentation, asset types are part of the path. In the code, they are a placeholder.
ASSET_TYPES = "video|audio|image"
#: Methods of the hook whose name differs from the function's.
OTHER_NAMES = {"start_run": "run_agent"}


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    method: str
    path: str
    page: str
    how_sure: str
    function: str
    hook: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def cells(section: str) -> list[list[str]]:
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(title: str) -> str:
    return TABLE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def read_rows() -> list[Row]:
    rows = []
    for endpoint, page, how_sure, _, function, hook in (row for row in cells(TABLE) if len(row) == 6):
        method, path = endpoint.strip("`").split(" ")
        rows.append(Row(method, path, page, how_sure, function.strip("`"), hook.strip("`")))
    return rows


ROWS = read_rows()
EACH_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
ALTERNATIVES = {row[0].strip("`"): row[2].strip("`") for row in cells(section("Alternative methods"))}
GONE = {row[0].strip("`") for row in cells(section("No longer documented"))}


def anonymous(endpoint: str) -> str:
    """Return an endpoint without the names of its placeholders."""
    return re.sub(r"{[^}]*}", "{}", endpoint)


def with_asset_type(endpoint: str) -> str:
    """Return an endpoint with a placeholder for the asset type, as in the code."""
    return re.sub(rf"/uploads/({ASSET_TYPES})/", "/uploads/{asset_type}/", endpoint)


def documented_endpoints() -> set[str]:
    return {anonymous(with_asset_type(row.name)) for row in ROWS}


def client_endpoints() -> set[str]:
    return {anonymous(f"{sample.call.method} {sample.call.path}") for sample in SAMPLES.values()}


def emulator_endpoints() -> set[str]:
    routes = [route for router in API_ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return {anonymous(f"{method} {route.path}") for route in routes for method in route.methods}


def test_the_table_lists_every_endpoint_once() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) == 60
    assert {row.how_sure for row in ROWS} == HOW_SURE


@EACH_ROW
def test_each_row_links_to_its_page(row: Row) -> None:
    assert re.fullmatch(r"\[[\w-]+\]\(https://docs\.mosaic\.so/api/[\w/-]+\)", row.page)


@EACH_ROW
def test_each_row_is_sent_by_its_function(row: Row) -> None:
    module, name = row.function.split(".")
    assert callable(getattr(import_module(f"airflow_provider_mosaic.api.endpoints.{module}"), name))
    sent = set()
    for key, sample in SAMPLES.items():
        if key.partition(":")[0] == name:
            path = sample.call.path
            if "asset_type" in sample.call.ids:
                path = path.replace("{asset_type}", sample.call.ids["asset_type"])
            sent.add(f"{sample.call.method} {path}")
    assert row.name in sent


@EACH_ROW
def test_each_row_is_a_method_of_the_hook(row: Row) -> None:
    name = row.function.partition(".")[2]
    assert row.hook == OTHER_NAMES.get(name, name)
    assert callable(getattr(MosaicHook, row.hook))
    assert hasattr(EndpointMethods, row.hook)


@EACH_ROW
def test_each_row_is_an_endpoint_of_the_emulator(row: Row) -> None:
    assert anonymous(with_asset_type(row.name)) in emulator_endpoints()
    assert f"`{with_asset_type(row.name)}`" in EMULATOR_PAGE


def test_functions_and_methods_are_in_the_table() -> None:
    assert client_endpoints() - documented_endpoints() == set()
    functions = {row.function.partition(".")[2] for row in ROWS}
    assert {name for name, _ in endpoint_functions()} == functions
    methods = {name for name, _ in inspect.getmembers(EndpointMethods, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"send", "iterate"} == {row.hook for row in ROWS}


def test_endpoints_of_the_emulator_are_in_the_table() -> None:
    assert emulator_endpoints() - {anonymous(each) for each in ALTERNATIVES} == documented_endpoints()


def test_alternative_endpoints_exist() -> None:
    names = {row.name for row in ROWS}
    for alternative, endpoint in ALTERNATIVES.items():
        assert anonymous(alternative) in emulator_endpoints()
        assert endpoint in names
        assert alternative.partition(" ")[2] == endpoint.partition(" ")[2]


def test_removed_endpoints_are_not_used() -> None:
    assert len(GONE) == 9
    assert {anonymous(endpoint) for endpoint in GONE} & (client_endpoints() | emulator_endpoints()) == set()


@pytest.mark.parametrize("name", sorted(name for name, _ in endpoint_functions()))
def test_a_method_has_the_arguments_of_its_function(name: str) -> None:
    endpoint = inspect.signature(dict(endpoint_functions())[name]).parameters
    method = dict(list(inspect.signature(getattr(MosaicHook, OTHER_NAMES.get(name, name))).parameters.items())[1:])
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in method.values()):
        return
    assert [(p.name, p.kind, p.default) for p in method.values()] == [
        (p.name, p.kind, p.default) for p in endpoint.values()
    ]


def error_rows() -> dict[int, tuple[str, str]]:
    rows = re.findall(r"^\| (\d+) \| .* \| (\w+) \| `(\w+)` \|$", section("Errors"), re.MULTILINE)
    return {int(status): (how_sure, exception) for status, how_sure, exception in rows}


def exception_for(status: int) -> str:
    return type(error_for(whoami(), Response(status))).__name__


def test_each_status_raises_its_exception() -> None:
    rows = error_rows()
    assert {status: exception for status, (_, exception) in rows.items()} == {
        each: exception_for(each) for each in rows
    }
    assert {status for status, (how_sure, _) in rows.items() if how_sure == "sure"} == {400, 401, 403, 404, 413, 500}
    assert {how_sure for how_sure, _ in rows.values()} == {"sure", "open"}


def test_every_other_status_raises_the_documented_exception() -> None:
    for status in set(range(400, 600)) - set(error_rows()):
        server = status >= 500 or status in (408, 425, 460, 499)
        assert exception_for(status) == ("MosaicServerError" if server else "MosaicValidationError")


def test_the_security_page_names_existing_fields() -> None:
    named = set(re.findall(r"`(\w+_url)`", (DOCS / "security.md").read_text(encoding="utf-8")))
    modules = [
        import_module(f"airflow_provider_mosaic.api.endpoints.{name}")
        for name in ("runs", "assets", "posts", "social_connections", "avatars")
    ]
    models = [each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)]
    fields = {name for model in models if issubclass(model, Model) for name in model.model_fields}
    assert named
    assert named <= fields | {"callback_url"}
