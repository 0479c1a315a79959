"""The Python interpreters of this machine that the provider supports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")

# An interpreter that was built without one of these modules can't run Airflow.
PROBE = (
    "import json, sys, ssl, sqlite3, ctypes; print(json.dumps([sys.version_info[:3], sys.base_prefix == sys.prefix]))"
)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python that can run Airflow."""

    path: str
    version: tuple[int, int, int]
    is_base: bool

    @property
    def minor(self) -> str:
        """The version as the provider's classifiers write it, like ``3.12``."""
        return f"{self.version[0]}.{self.version[1]}"


def _probe(path: str) -> Interpreter | None:
    """Run the interpreter, since a name on PATH proves nothing: version managers put stubs there."""
    try:
        ran = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
        version, is_base = json.loads(ran.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    major, minor, patch = version
    return Interpreter(path=path, version=(major, minor, patch), is_base=is_base)


def _candidates() -> list[str]:
    found = [sys.executable]
    found += [path for minor in SUPPORTED if (path := shutil.which(f"python{minor}"))]
    found += [path for name in ("python3", "python") if (path := shutil.which(name))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found += [str(path) for minor in SUPPORTED for path in sorted(pyenv.glob(f"versions/{minor}.*/bin/python{minor}"))]
    return list(dict.fromkeys(found))


@cache
def installed() -> dict[str, Interpreter]:
    """The newest patch of each supported Python that is installed here, oldest first.

    The interpreter that runs this comes before others of its version; environments count only where no base is found.
    """
    best: dict[str, Interpreter] = {}
    for path in _candidates():
        found = _probe(path)
        if found is None or found.minor not in SUPPORTED:
            continue
        known = best.get(found.minor)
        if known is None or (found.is_base, found.version) > (known.is_base, known.version):
            best[found.minor] = found
    return {minor: best[minor] for minor in SUPPORTED if minor in best}


def usual() -> Interpreter:
    """The interpreter that runs this when it is supported, else the newest one installed."""
    here = installed()
    if not here:
        raise SystemExit(f"No usable Python was found: one of {', '.join(SUPPORTED)} with ssl and sqlite3 is needed.")
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return here.get(mine) or list(here.values())[-1]
