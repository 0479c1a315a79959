"""Environments with one Airflow each, made by uv from the committed constraint files.

    python -m dev.environment 3.3                 # .local/airflow-3.3, the checkout installed editable
    python -m dev.environment 3.1 --python 3.10   # .local/airflow-3.1-py3.10
    python -m dev.environment --group distributed # .local/airflow-3.3-distributed
    python -m dev.environment --compile           # refresh constraints/*.txt

Needs nothing but a Python: where there is no uv, pip brings it into an environment of its own. An environment is used
again while its constraint file and ``pyproject.toml`` stay as they are. Where packages come from is the machine's own
pip or uv configuration.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dev import interpreters

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
CONSTRAINTS = ROOT / "constraints"
# The two distributions of this repository.
PROVIDER = ROOT
EMULATOR = ROOT / "emulator"
NEWEST_AIRFLOW = "3.3"
OLDEST_PYTHON = "3.10"
# Airflow 3.4 gives up Python 3.10.
NEXT_OLDEST_PYTHON = "3.11"

# Seconds: an index that never answers is told, not waited for.
LONGEST_COMMAND = 900

# `uv pip install --group` and `uv pip compile --group` read `pyproject.toml` from this version on.
OLDEST_UV = (0, 8)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with one Airflow and the provider."""

    path: Path
    airflow: str
    python_minor: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


class BuildError(Exception):
    """A command that makes an environment failed."""


def airflows() -> list[str]:
    """The Airflow versions that have a constraint file, oldest first."""
    names = [path.stem.removeprefix("airflow-") for path in CONSTRAINTS.glob("airflow-*.txt")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this checkout, so that two commands at once don't build the same thing."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run a command quietly; show what it printed only when it fails, or is not over after a quarter of an hour."""
    words = [str(word) for word in command]
    try:
        ran = subprocess.run(
            words,
            env=env,
            cwd=cwd,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST_COMMAND,
        )
    except subprocess.TimeoutExpired as late:
        # What came until then is bytes, whatever `text` says, until that is mended:
        # https://github.com/python/cpython/issues/87597
        printed = late.output.decode(errors="replace") if isinstance(late.output, bytes) else late.output or ""
        raise BuildError(f"{' '.join(words)}\nwas not over after {LONGEST_COMMAND} s:\n{printed.strip()}") from None
    if ran.returncode != 0:
        raise BuildError(f"{' '.join(words)}\nended with {ran.returncode}:\n{ran.stdout.strip()}")


# ----------------------------------------------------------------------------------------------------------- uv itself


def _uv_is_new_enough(path: str) -> bool:
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"(\d+)\.(\d+)", ran.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST_UV


@cache
def uv() -> str:
    """The uv of this machine, or one that pip brings into ``.local/uv``."""
    found = shutil.which("uv")
    if found and _uv_is_new_enough(found):
        return found
    home = LOCAL / "uv"
    own = str(home / "bin" / "uv")
    with locked("uv"):
        if not _uv_is_new_enough(own):
            base = interpreters.usual().path
            shutil.rmtree(home, ignore_errors=True)
            try:
                run(base, "-m", "venv", home)
                run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "uv")
            except BuildError as error:
                raise BuildError(f"uv is not installed, and pip could not bring it into {home}.\n{error}") from error
    return own


def _pip_setting(name: str) -> str | None:
    """A setting of the machine's pip, from its environment variable or its configuration files."""
    from_environment = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if from_environment:
        return from_environment
    base = interpreters.usual().path
    for section in ("install", "global"):
        ran = subprocess.run(
            [base, "-m", "pip", "config", "get", f"{section}.{name}"], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0 and ran.stdout.strip():
            return ran.stdout.strip()
    return None


@cache
def uv_settings() -> dict[str, str]:
    """The process environment for uv; pip's configuration, which uv doesn't read, is handed over."""
    left_out = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    settings = {key: value for key, value in os.environ.items() if key not in left_out}
    settings["UV_PYTHON_DOWNLOADS"] = "never"
    if not any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")):
        index = _pip_setting("index-url")
        if index:
            settings["UV_DEFAULT_INDEX"] = index
    if "SSL_CERT_FILE" not in os.environ:
        certificates = _pip_setting("cert")
        if certificates:
            settings["SSL_CERT_FILE"] = certificates
    return settings


def run_uv(*arguments: str | Path) -> None:
    """Run uv with this machine's settings."""
    run(uv(), *arguments, env=uv_settings())


# -------------------------------------------------------------------------------------------------------- environments


def _stamp(constraint: Path, group: str, python: str) -> str:
    projects = [(project / "pyproject.toml").read_bytes() for project in (PROVIDER, EMULATOR)]
    parts = [constraint.read_bytes(), *projects, group.encode(), python.encode()]
    # An editable installation points to this folder: a moved checkout needs a new one.
    parts.append(str(ROOT).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _python_of(path: Path) -> str | None:
    try:
        ran = subprocess.run(
            [path / "bin" / "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()


def _constraint(name: str) -> Path:
    constraint = CONSTRAINTS / f"{name}.txt"
    if not constraint.exists():
        known = ", ".join(sorted(path.stem for path in CONSTRAINTS.glob("*.txt")))
        raise BuildError(f"There is no {constraint.relative_to(ROOT)}; known are {known}.")
    return constraint


def _interpreter(python: str | None) -> interpreters.Interpreter:
    if python is None:
        return interpreters.usual()
    here = interpreters.installed()
    if python not in here:
        raise BuildError(f"Python {python} is not installed here; found: {', '.join(here) or 'none'}.")
    return here[python]


def _install(path: Path, requirement: list[str | Path], constraint: Path, group: str) -> None:
    # Compiled once: otherwise each of the many processes of Airflow spends most of its start compiling.
    run_uv(
        *("pip", "install", "--quiet", "--compile-bytecode"),
        *("--python", path / "bin" / "python", "--constraint", constraint),
        *("--group", f"{ROOT / 'pyproject.toml'}:{group}", *requirement),
    )


def ensure(airflow: str = NEWEST_AIRFLOW, *, python: str | None = None, group: str = "dev") -> Environment:
    """Make or renew the environment of one Airflow, with the checkout installed editable and a group of tools."""
    constraint = _constraint(f"airflow-{airflow}")
    parts = [f"airflow-{airflow}", f"py{python}" if python else "", group if group != "dev" else ""]
    name = "-".join(filter(None, parts))
    path = LOCAL / name
    with locked(name):
        minor = _python_of(path)
        if minor not in interpreters.SUPPORTED:
            minor = None
        stamp_file = path / "made-from"
        if minor and stamp_file.exists() and stamp_file.read_text() == _stamp(constraint, group, minor):
            return Environment(path=path, airflow=airflow, python_minor=minor)
        if minor is None:
            base = _interpreter(python)
            print(f"Making {path.relative_to(ROOT)} (Python {base.minor}) ...", file=sys.stderr, flush=True)
            run_uv("venv", "--quiet", "--clear", "--python", base.path, path)
            minor = base.minor
        else:
            print(f"Renewing {path.relative_to(ROOT)} (Python {minor}) ...", file=sys.stderr, flush=True)
        _install(path, ["--editable", EMULATOR, "--editable", PROVIDER], constraint, group)
        stamp_file.write_text(_stamp(constraint, group, minor))
    return Environment(path=path, airflow=airflow, python_minor=minor)


def clean_with_wheels(wheels: Sequence[Path], constraint: str, python: str, *, path: Path) -> Path:
    """Make an environment from nothing that holds the wheels, as a user's does, and what the tests need.

    :param constraint: the name of a constraint file, like ``airflow-3.1``.
    :returns: its interpreter.
    """
    run_uv("venv", "--quiet", "--clear", "--python", _interpreter(python).path, path)
    _install(path, [*wheels], _constraint(constraint), "test")
    return path / "bin" / "python"


def build_wheels(directory: Path) -> list[Path]:
    """Build the wheels of the provider and the emulator from the checkout."""
    shutil.rmtree(directory, ignore_errors=True)
    for project in (PROVIDER, EMULATOR):
        run_uv("build", "--quiet", "--wheel", "--python", interpreters.usual().path, "--out-dir", directory, project)
    return sorted(directory.glob("*.whl"))


def _compile(target: Path, *sources: str | Path) -> None:
    """Resolve the newest packages that fit, without naming where they come from."""
    print(f"Resolving {target.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    run_uv(
        *("pip", "compile", "--quiet", "--upgrade", "--no-emit-index-url", "--no-emit-find-links"),
        *("--no-header", "--no-annotate", "pyproject.toml", "emulator/pyproject.toml", *sources),
        *("--output-file", target.relative_to(ROOT)),
    )


def floors() -> list[str]:
    """Return the oldest version of each dependency that the two distributions allow, as pinned requirements."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # comes with pytest

    projects = [tomllib.loads((each / "pyproject.toml").read_text())["project"] for each in (PROVIDER, EMULATOR)]
    return sorted({each.replace(">=", "==") for project in projects for each in project["dependencies"]})


def compile_constraints() -> None:
    """Resolve the packages of each Airflow, of the floors on the oldest Python, and of the next Airflow."""
    for source in sorted(CONSTRAINTS.glob("airflow-*.in")):
        everything = ("--group", "distributed", "--group", "peers", "--group", "types", source.relative_to(ROOT))
        _compile(source.with_suffix(".txt"), "--universal", "--python-version", OLDEST_PYTHON, *everything)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as pins:
        pins.write("\n".join(floors()))
        pins.flush()
        oldest = ("--python-version", OLDEST_PYTHON, "--group", "test", pins.name, "constraints/floors.in")
        _compile(CONSTRAINTS / "floors.txt", *oldest)
    next_airflow = ("--group", "test", "constraints/next.in")
    _compile(CONSTRAINTS / "next.txt", "--universal", "--python-version", NEXT_OLDEST_PYTHON, *next_airflow)


def main() -> int:
    """Make what the command line asks for and print its path."""
    parser = argparse.ArgumentParser(prog="python -m dev.environment", description="Environments for development.")
    parser.add_argument("airflow", nargs="?", default=NEWEST_AIRFLOW, help=f"one of {', '.join(airflows())}")
    parser.add_argument("--python", help="a Python version like 3.10; default: the one that runs this")
    parser.add_argument("--group", default="dev", help="a dependency group of pyproject.toml; default: %(default)s")
    parser.add_argument("--compile", action="store_true", help="refresh the constraint files instead")
    arguments = parser.parse_args()
    try:
        if arguments.compile:
            compile_constraints()
        else:
            print(ensure(arguments.airflow, python=arguments.python, group=arguments.group).path)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
