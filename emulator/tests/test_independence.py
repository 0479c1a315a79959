from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import mosaic_emulator as package

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(package.__file__).parent
#: The demo's DAG is for Airflow; no module imports it.
MODULES = [path for path in ROOT.rglob("*.py") if path.parent != ROOT / "demo" / "dags"]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module or "")
    return names


def test_emulator_imports_neither_the_provider_nor_airflow() -> None:
    for path in MODULES:
        for name in imported(path):
            assert name.partition(".")[0] not in ("airflow_provider_mosaic", "airflow"), f"{path.name} imports {name}"


def test_imports_are_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!~\[ ]", each)[0].replace("-", "_") for each in project["dependencies"]}
    for path in MODULES:
        # pytest loads its plugin.
        brought = {"pytest"} if path.name == "pytest_plugin.py" else set()
        names = {name.partition(".")[0] for name in imported(path)}
        assert names <= {*declared, *brought, *sys.stdlib_module_names, ROOT.name, ""}, path.name


def test_loading_the_pytest_plugin_loads_no_server() -> None:
    code = "import pytest, mosaic_emulator.pytest_plugin, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tempfile.gettempdir()
    ).stdout.split()
    assert {"fastapi", "uvicorn", "httpx", "pydantic", "airflow", "requests"}.isdisjoint(loaded)
