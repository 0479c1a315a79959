"""Type-check what users write, as they do: against the built wheel, with mypy --strict and pyright, without exceptions.

    python -m dev.type_check

Checked are the example DAGs and the DAGs of the README and the docs. So that no error means something, both tools must
also find every error of ``tests/types/wrong.py``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dev import environment, interpreters

TYPES = environment.LOCAL / "types"
ENVIRONMENT = TYPES / "environment"
DAGS = TYPES / "dags"
WRONG = environment.ROOT / "tests" / "types" / "wrong.py"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IS_DAG = re.compile(r"^@dag\b|^with DAG\(", re.MULTILINE)
_LOCATION = re.compile(r"^\s*(\S+?\.py):(\d+):(?:\d+)?.*\berror\b", re.MULTILINE)
_MARK = "# wrong"

COMMANDS = {
    "mypy": ("-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(TYPES / "cache"), "."),
    "pyright": ("-m", "pyright", "--pythonpath", str(ENVIRONMENT / "bin" / "python"), "--project", "."),
}


def install_wheels() -> Path:
    """Install the wheels of the checkout into an environment with the type checkers, and return its interpreter."""
    constraint = environment.CONSTRAINTS / f"airflow-{environment.NEWEST_AIRFLOW}.txt"
    project = environment.ROOT / "pyproject.toml"
    wheels = environment.build_wheels(TYPES / "wheels")
    python = ENVIRONMENT / "bin" / "python"
    stamp = hashlib.sha256(constraint.read_bytes() + project.read_bytes()).hexdigest()
    stamp_file = ENVIRONMENT / "made-from"
    if not (python.exists() and stamp_file.exists() and stamp_file.read_text() == stamp):
        environment.run_uv("venv", "--quiet", "--clear", "--python", interpreters.usual().path, ENVIRONMENT)
        environment.run_uv(
            *("pip", "install", "--quiet", "--python", python, "--constraint", constraint),
            "--group",
            f"{project}:types",
            *wheels,
        )
        stamp_file.write_text(stamp)
    environment.run_uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--reinstall", *wheels)
    return python


def write_dags() -> int:
    """Write all DAGs into one folder, where the package of the checkout is not found, and return their number."""
    shutil.rmtree(DAGS, ignore_errors=True)
    DAGS.mkdir(parents=True)
    for path in sorted((environment.ROOT / "example_dags").glob("*.py")):
        shutil.copy(path, DAGS)
    for page in (environment.ROOT / "README.md", *sorted((environment.ROOT / "docs").glob("*.md"))):
        for number, code in enumerate(_BLOCK.findall(page.read_text(encoding="utf-8"))):
            if _IS_DAG.search(code) and "def test_" not in code:  # tests are seldom typed
                (DAGS / f"{page.stem.lower()}_{number}.py").write_text(code, encoding="utf-8")
    number = len(list(DAGS.glob("*.py")))
    shutil.copy(WRONG, DAGS)
    (DAGS / "pyrightconfig.json").write_text('{"include": ["."], "exclude": []}')  # by default no folder with a dot
    return number


def locations_of_errors(printed: str) -> set[tuple[str, int]]:
    """Return the files and lines in which a type checker found an error."""
    return {(Path(path).name, int(line)) for path, line in _LOCATION.findall(printed)}


def expected_locations() -> set[tuple[str, int]]:
    """Return the lines of the wrong DAG in which there is an error."""
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    return {(WRONG.name, number) for number, line in enumerate(lines, 1) if line.endswith(_MARK)}


def problem(python: Path, tool: str) -> str | None:
    """Run one type checker, and return what it found in good DAGs or missed in the wrong one."""
    ran = subprocess.run([python, *COMMANDS[tool]], cwd=DAGS, capture_output=True, text=True, check=False)
    found, expected = locations_of_errors(ran.stdout), expected_locations()
    if found == expected:
        return None
    missed = ", ".join(f"{file}:{line}" for file, line in sorted(expected - found)) or "none"
    return f"{tool}: errors that it should find and did not: {missed}\n{ran.stdout}{ran.stderr}"


def main() -> int:
    """Check everything; the exit code says whether all is well."""
    with environment.locked("types"):
        try:
            python = install_wheels()
        except environment.BuildError as error:
            print(error, file=sys.stderr)
            return 1
        number = write_dags()
        found = [text for tool in COMMANDS if (text := problem(python, tool))]
    print("\n".join(found) or f"{' and '.join(COMMANDS)}: no error in {number} DAGs, against the built wheel")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
