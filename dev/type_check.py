"""
Type-check the example DAGs and the DAGs of the docs with mypy --strict and pyright, against the installed wheels.

Both tools must also find every error of ``tests/types/wrong.py``. ``make types`` runs it in an environment of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from dev.paths import LOCAL, ROOT

TYPES = LOCAL / "types"
DAGS = TYPES / "dags"
WRONG = ROOT / "tests" / "types" / "wrong.py"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IS_DAG = re.compile(r"^@dag\b|^with DAG\(", re.MULTILINE)
_LOCATION = re.compile(r"^\s*(\S+?\.py):(\d+):(?:\d+)?.*\berror\b", re.MULTILINE)
_MARK = "# wrong"

COMMANDS = {
    "mypy": ("-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(TYPES / "cache"), "."),
    "pyright": ("-m", "pyright", "--pythonpath", sys.executable, "--project", "."),
}


def write_dags() -> int:
    """Write all DAGs into one folder, where the package of the checkout is not found, and return their number."""
    shutil.rmtree(DAGS, ignore_errors=True)
    DAGS.mkdir(parents=True)
    for path in sorted((ROOT / "example_dags").glob("*.py")):
        shutil.copy(path, DAGS)
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
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


def problem(tool: str) -> str | None:
    """Run one type checker, and return what it found in good DAGs or missed in the wrong one."""
    ran = subprocess.run([sys.executable, *COMMANDS[tool]], cwd=DAGS, capture_output=True, text=True, check=False)
    found, expected = locations_of_errors(ran.stdout), expected_locations()
    if found == expected:
        return None
    missed = ", ".join(f"{file}:{line}" for file, line in sorted(expected - found)) or "none"
    return f"{tool}: errors that it should find and did not: {missed}\n{ran.stdout}{ran.stderr}"


def main() -> int:
    """Check everything and return the exit code."""
    number = write_dags()
    found = [text for tool in COMMANDS if (text := problem(tool))]
    print("\n".join(found) or f"{' and '.join(COMMANDS)}: no error in {number} DAGs, against the built wheels")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
