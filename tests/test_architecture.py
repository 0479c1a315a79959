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

#: What is loaded, one after the other, in a fresh interpreter.
STAGES = {
    "what any DAG file loads": "from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, task",
    "every operator and sensor": (
        "from airflow_provider_mosaic import operators, sensors\n"
        "for package in (operators, sensors):\n"
        "    for name in package.__all__: getattr(package, name)"
    ),
    "the hook": "from airflow_provider_mosaic.hooks import MosaicHook",
    "every trigger": (
        "from airflow_provider_mosaic import triggers\nfor name in triggers.__all__: getattr(triggers, name)"
    ),
}


#: ``load`` loads every module of a layer.
EVERY_MODULE = """
from importlib import import_module
from pkgutil import iter_modules
def load(layer):
    package = import_module(f"airflow_provider_mosaic.{layer}")
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
"""


def test_no_text_is_recased_as_a_whole() -> None:
    """A sentence that begins with an id, or holds one, would name another thing."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("capitalize", "title", "swapcase")
    ]  # fmt: skip
    assert found == []


#: The modules of the API that a DAG file with an operator loads.
VALIDATION = {"api.arguments", "api.media_types", "api.options", "api.post_options", "api.run_inputs", "api.validators"}


def loaded_by(*stages: str) -> list[set[str]]:
    """The modules that each of some stages of code has loaded more than those before."""
    lines = ["import sys; before = set(sys.modules)"]
    for stage in stages:
        lines += [stage, "print('\\n ', *(set(sys.modules) - before)); before = set(sys.modules)"]
    code = "\n".join(lines)
    # Elsewhere than here: the folder that Python is started in is the first one that it looks into.
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


def test_a_dag_file_loads_little(loaded: dict[str, set[str]]) -> None:
    more = loaded["every operator and sensor"]
    assert {"operators.runs", "operators.assets", "operators.social", "sensors.runs"} <= ours(more)
    assert layers(more).isdisjoint({"clients", "hooks", "tasks", "triggers"})
    # What constants are validated with, and neither the models nor the endpoints.
    assert {name for name in ours(more) if name.startswith("api.")} == VALIDATION
    foreign = {name.partition(".")[0] for name in more}
    assert foreign.isdisjoint({"requests", "urllib3", "fastapi", "uvicorn", "httpx", "pydantic", "fsspec", "tenacity"})


def test_validating_the_constants_of_a_dag_file_loads_nothing_more() -> None:
    operators = (
        "from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator\n"
        "from airflow_provider_mosaic.sensors import MosaicRunSensor"
    )
    tasks = (
        "MosaicRunAgentOperator(task_id='run', agent_id='a', video_urls=['https://e.example/a.mp4'], timeout=5)\n"
        "MosaicSocialPostOperator(task_id='post', text='t', platforms=['x'], schedule_date='2030-01-01T00:00:00Z')\n"
        "MosaicRunSensor.partial(task_id='wait', poll_interval=5).expand(run_id=['a'])"
    )
    # What any task costs: on Airflow 3.1 the first one loads its API.
    plain = "BaseOperator(task_id='plain'); BaseSensorOperator.partial(task_id='mapped').expand(mode=['poke'])"
    _, _, _, more = loaded_by(STAGES["what any DAG file loads"], plain, operators, tasks)
    assert not ours(more)
    assert {"requests", "urllib3", "httpx", "jsonschema", "yaml", "fsspec"}.isdisjoint(more)


def test_importing_the_hook_loads_no_transport(loaded: dict[str, set[str]]) -> None:
    assert "hooks.mosaic" in ours(loaded["the hook"])
    assert layers(loaded["the hook"]).isdisjoint({"clients", "tasks", "triggers"})
    assert "requests" not in loaded["the hook"]


def test_importing_a_trigger_loads_nothing_that_works_in_a_task(loaded: dict[str, set[str]]) -> None:
    assert "triggers.runs" in ours(loaded["every trigger"])
    assert layers(loaded["every trigger"]).isdisjoint({"tasks"})


def test_a_triggerer_does_not_load_what_workers_send_with() -> None:
    # Airflow imports a trigger on its event loop: whatever that takes stops everybody's triggers.
    airflow = "import airflow.sdk, airflow.triggers.base\nfrom airflow.providers.common.compat.sdk import conf"
    _, more = loaded_by(f"{airflow}\nfrom airflow.sdk import BaseHook", STAGES["every trigger"])
    assert {"clients.async_client", "clients.error_mapper"} <= ours(more)
    assert "clients.sync_client" not in ours(more)
    assert {"requests", "urllib3"}.isdisjoint(more)


def test_a_client_of_a_triggerer_is_made_without_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_dag_file_that_watches_runs_loads_nothing_that_does_the_watching() -> None:
    code = "from airflow_provider_mosaic.assets import finished_runs; finished_runs('agent')"
    _, more = loaded_by(STAGES["what any DAG file loads"], code)
    assert "triggers.finished_runs" in ours(more)
    assert layers(more).isdisjoint({"clients", "hooks", "tasks"})
    assert "api.endpoints.runs" not in ours(more)


def test_the_api_and_the_transports_run_without_airflow() -> None:
    [modules] = loaded_by(f"{EVERY_MODULE}\nload('api')\nload('clients')")
    assert not [name for name in modules if name == "airflow" or name.startswith("airflow.")]
    assert {"api.endpoints.runs", "clients.sync_client", "clients.async_client"} <= ours(modules)


def test_the_api_opens_no_sockets() -> None:
    [modules] = loaded_by(f"{EVERY_MODULE}\nload('api')")
    assert modules.isdisjoint({"requests", "httpx", "urllib3", "http.client"})


#: The name that is imported, where it is another one than that of the distribution.
DISTRIBUTIONS = {"airflow": "apache-airflow", "yaml": "pyyaml", "typing_extensions": "typing-extensions"}
COMPAT = "apache-airflow-providers-common-compat"
#: What is there whenever the module's code is called, since that is who calls it.
BROUGHT = {
    "connection_form.py": {"wtforms", "wtforms.validators"},
}


def imported(path: Path) -> set[str]:
    """Full names of what a module imports from outside the package."""
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


def test_whatever_is_imported_is_declared_or_comes_with_python() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    everywhere = declared(project["dependencies"])
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for path in ROOT.rglob("*.py")
        for name in imported(path)
        if (
            COMPAT
            if name.startswith("airflow.providers.common.compat")
            else DISTRIBUTIONS.get(name.partition(".")[0], name.partition(".")[0].replace("_", "-"))
        )
        not in everywhere
    }
    assert undeclared == set()


def test_every_module_begins_with_future_annotations_and_a_word_about_itself() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        assert (
            "from __future__ import annotations" in text or not text.partition('"""')[2].partition('"""')[2].strip()
        ), path
        assert text.startswith('"""'), path
