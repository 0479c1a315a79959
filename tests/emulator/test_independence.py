from __future__ import annotations

import ast
from pathlib import Path

import airflow_provider_mosaic.emulator as package

ROOT = Path(package.__file__).parent


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module or "")
    return names


def test_the_emulator_reads_the_facts_by_itself() -> None:
    for path in ROOT.rglob("*.py"):
        for name in imported(path):
            assert not name.startswith("airflow_provider_mosaic") or name.startswith(
                "airflow_provider_mosaic.emulator"
            ), f"{path.name} imports {name}"
            assert name.partition(".")[0] != "airflow", f"{path.name} imports {name}"
