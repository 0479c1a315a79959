"""What the oldest dependencies are tested with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_floors_are_those_of_pyproject() -> None:
    pins = (ROOT / "constraints" / "floors.txt").read_text().splitlines()
    tested = {re.sub(r"\[.*\]", "", pin.partition("==")[0]): pin.partition("==")[2] for pin in pins}
    for path in ("pyproject.toml", "emulator/pyproject.toml"):
        for requirement in tomllib.loads((ROOT / path).read_text())["project"]["dependencies"]:
            name, _, version = requirement.partition(">=")
            padded = version + ".0" * (tested[name].count(".") - version.count("."))
            assert tested[name] == padded, f"constraints/floors.txt differs from {path}: {requirement}"
