from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import airflow_provider_mosaic

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ROOT = Path(airflow_provider_mosaic.__file__).parent

#: Code that runs in this order in a new interpreter.
STAGES = {
    "what any DAG file loads": "from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, task",
    "every operator and sensor": (
        "from airflow_provider_mosaic import operators, sensors\n"
        "for package in (operators, sensors):\n"
        "    for name in package.__all__: getattr(package, name)"
    ),
    "the hook": "from airflow_provider_mosaic.hooks import MosaicHook",
    "a method of the hook": "MosaicHook.get_credits",
    "every trigger": (
        "from airflow_provider_mosaic import triggers\nfor name in triggers.__all__: getattr(triggers, name)"
    ),
}


#: Define ``load``, which imports all modules of a layer.
EVERY_MODULE = """
from importlib import import_module
from pkgutil import iter_modules
def load(layer):
    package = import_module(f"airflow_provider_mosaic.{layer}")
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
"""


def test_no_text_is_capitalized() -> None:
    """An id in the text would change."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("capitalize", "title", "swapcase")
    ]  # fmt: skip
    assert found == []


#: Modules of ``api`` that an operator's module imports.
VALIDATION = {"api.arguments", "api.media_types", "api.options", "api.post_options", "api.run_inputs"}


def loaded_by(*stages: str) -> list[set[str]]:
    """Return the modules that each stage adds to those before."""
    lines = ["import sys; before = set(sys.modules)"]
    for stage in stages:
        lines += [stage, "print('\\n ', *(set(sys.modules) - before)); before = set(sys.modules)"]
    code = "\n".join(lines)
    # Python puts the current directory first on sys.path.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tempfile.gettempdir()
    )
    return [set(line.split()) for line in done.stdout.splitlines() if line.startswith(" ")]


def ours(modules: set[str]) -> set[str]:
    return {
        name.removeprefix("airflow_provider_mosaic.") for name in modules if name.startswith("airflow_provider_mosaic.")
    }


def layers(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in ours(modules)}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    found = loaded_by(*STAGES.values())
    assert len(found) == len(STAGES)
    return dict(zip(STAGES, found, strict=True))


def test_importing_operators_loads_no_other_layer(loaded: dict[str, set[str]]) -> None:
    more = loaded["every operator and sensor"]
    assert {"operators.runs", "operators.assets", "operators.social", "sensors.runs"} <= ours(more)
    assert layers(more).isdisjoint({"clients", "hooks", "tasks", "triggers"})
    # Only the validators of constants, no models and no endpoints.
    assert {name for name in ours(more) if name.startswith("api.")} == VALIDATION
    foreign = {name.partition(".")[0] for name in more}
    assert foreign.isdisjoint({"requests", "urllib3", "fastapi", "uvicorn", "httpx", "pydantic", "fsspec", "tenacity"})


def test_validating_constants_loads_nothing_more() -> None:
    operators = (
        "from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator\n"
        "from airflow_provider_mosaic.sensors import MosaicRunSensor"
    )
    tasks = (
        "MosaicRunAgentOperator(task_id='run', agent_id='a', video_urls=['https://e.example/a.mp4'], timeout=5)\n"
        "MosaicSocialPostOperator(task_id='post', text='t', platforms=['x'], schedule_date='2030-01-01T00:00:00Z')\n"
        "MosaicRunSensor.partial(task_id='wait', poll_interval=5).expand(run_id=['a'])"
    )
    # On Airflow 3.1 the first task of any kind loads more of Airflow.
    plain = "BaseOperator(task_id='plain'); BaseSensorOperator.partial(task_id='mapped').expand(mode=['poke'])"
    _, _, _, more = loaded_by(STAGES["what any DAG file loads"], plain, operators, tasks)
    assert not ours(more)
    assert {"requests", "urllib3", "httpx", "jsonschema", "yaml", "fsspec"}.isdisjoint(more)


def test_the_plugin_loads_nothing_in_processes_that_serve_no_page() -> None:
    before = "import airflow.plugins_manager\nfrom airflow.providers.common.compat.sdk import conf"
    _, more = loaded_by(before, "import airflow_provider_mosaic.plugins.mosaic")
    assert ours(more) == {"page_address", "plugins", "plugins.mosaic"}
    assert {"fastapi", "httpx", "requests", "sqlalchemy"}.isdisjoint(name.partition(".")[0] for name in more)


def test_importing_the_hook_loads_no_transport(loaded: dict[str, set[str]]) -> None:
    assert "hooks.mosaic" in ours(loaded["the hook"])
    assert layers(loaded["the hook"]).isdisjoint({"clients", "tasks", "triggers"})
    assert "requests" not in loaded["the hook"]


def test_a_method_of_the_hook_loads_only_its_endpoint(loaded: dict[str, set[str]]) -> None:
    assert not [name for name in ours(loaded["the hook"]) if "endpoints." in name]
    assert ours(loaded["a method of the hook"]) == {"api.endpoints.billing"}


def test_importing_a_trigger_loads_no_tasks(loaded: dict[str, set[str]]) -> None:
    assert "triggers.runs" in ours(loaded["every trigger"])
    assert layers(loaded["every trigger"]).isdisjoint({"tasks"})


def test_importing_a_trigger_loads_no_sync_client() -> None:
    # Airflow imports a trigger on its event loop: a slow import stops all triggers.
    airflow = "import airflow.sdk, airflow.triggers.base\nfrom airflow.providers.common.compat.sdk import conf"
    _, more = loaded_by(f"{airflow}\nfrom airflow.sdk import BaseHook", STAGES["every trigger"])
    assert {"clients.async_client", "clients.error_mapper"} <= ours(more)
    assert "clients.sync_client" not in ours(more)
    assert {"requests", "urllib3"}.isdisjoint(more)


def test_the_async_client_needs_no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    [modules] = loaded_by(
        "from airflow_provider_mosaic.api.access import Access\n"
        "from airflow_provider_mosaic.clients.async_client import AsyncClient\n"
        "AsyncClient(Access(api_key='mk_a'))"
    )
    assert "clients.async_client" in ours(modules)
    assert {"requests", "urllib3"}.isdisjoint(modules)


def test_an_asset_watcher_loads_no_client() -> None:
    code = "from airflow_provider_mosaic.assets import finished_runs; finished_runs('agent')"
    _, more = loaded_by(STAGES["what any DAG file loads"], code)
    assert "triggers.finished_runs" in ours(more)
    assert layers(more).isdisjoint({"clients", "hooks", "tasks"})
    assert "api.endpoints.runs" not in ours(more)


def test_api_and_clients_need_no_airflow() -> None:
    [modules] = loaded_by(f"{EVERY_MODULE}\nload('api')\nload('clients')")
    assert not [name for name in modules if name == "airflow" or name.startswith("airflow.")]
    assert {"api.endpoints.runs", "clients.sync_client", "clients.async_client"} <= ours(modules)


def test_api_opens_no_sockets() -> None:
    [modules] = loaded_by(f"{EVERY_MODULE}\nload('api')")
    assert modules.isdisjoint({"requests", "httpx", "urllib3", "http.client"})


#: Distributions whose import has another name.
DISTRIBUTIONS = {"airflow": "apache-airflow", "yaml": "pyyaml", "typing_extensions": "typing-extensions"}
COMPAT = "apache-airflow-providers-common-compat"
#: Imports that the caller of the module provides.
BROUGHT = {
    "connection_form.py": {"wtforms", "wtforms.validators"},
}


def imported(path: Path) -> set[str]:
    """Return the names of the modules that a file imports from other distributions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            names.add(node.module or "")
    names -= BROUGHT.get(path.relative_to(ROOT).as_posix(), set())
    return {name for name in names if name.partition(".")[0] not in {*sys.stdlib_module_names, ROOT.name}}


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in requirements}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = declared(project["dependencies"])
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for path in ROOT.rglob("*.py")
        for name in imported(path)
        if (
            COMPAT
            if name.startswith("airflow.providers.common.compat")
            else DISTRIBUTIONS.get(name.partition(".")[0], name.partition(".")[0].replace("_", "-"))
        )
        not in requirements
    }
    assert undeclared == set()


def test_every_module_has_a_docstring_and_future_annotations() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        assert (
            "from __future__ import annotations" in text or not text.partition('"""')[2].partition('"""')[2].strip()
        ), path
        assert text.startswith('"""'), path
