"""Check that the workflows run what the Makefile and nox have."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def matrices(workflow: str) -> list[dict[str, list[str]]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(WORKFLOWS[workflow])["jobs"]
    return [job["strategy"]["matrix"] for job in jobs.values() if "strategy" in job]


def test_every_make_target_of_a_workflow_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9\-]*):", makefile, re.MULTILINE))
    run = {target for text in WORKFLOWS.values() for target in re.findall(r"run: make ([a-z][a-z\-]*)", text)}
    run |= {target for name in WORKFLOWS for matrix in matrices(name) for target in matrix.get("target", [])}
    assert {"unit", "test-pair", "site", "dist"} <= run <= targets


def test_the_matrix_has_every_supported_airflow_and_python() -> None:
    assigned = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    }
    [matrix] = [each for each in matrices("tests") if "airflow" in each]
    assert tuple(matrix["airflow"]) == ast.literal_eval(assigned["AIRFLOWS"])
    assert tuple(matrix["python"]) == ast.literal_eval(assigned["SUPPORTED_PYTHONS"])


def test_every_action_is_pinned_to_a_commit() -> None:
    uses = [line for text in WORKFLOWS.values() for line in re.findall(r"uses: (.+)", text)]
    assert [line for line in uses if not re.fullmatch(r"\./\S+|\S+@[0-9a-f]{40} # v[\d.]+", line)] == []
