"""
Environments and test runs. ``make`` is the usual way in; ``nox --list`` shows the sessions.

Each Airflow has a constraint file in ``constraints/``. The session ``dev`` installs the checkout editable. The others
install the built wheels into a new environment, and run the tests from a copy of the checkout without the packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nox

ROOT = Path(__file__).parent
LOCAL = ROOT / ".local"
PACKAGES = ("airflow_provider_mosaic", "mosaic_emulator")
AIRFLOWS = ("3.1", "3.2", "3.3")
NEWEST = AIRFLOWS[-1]
SUPPORTED_PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: By Airflow, if it does not support all of them; ``next`` is constraints/next.in.
OLDEST_PYTHON = {"next": "3.11"}

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.envdir = str(LOCAL / "nox")
nox.options.error_on_missing_interpreters = True

# pyenv's shims run only the versions that are switched on: prefer the interpreters themselves.
_pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
_interpreters = [str(each) for each in sorted(_pyenv.glob("versions/3.*/bin"))]
# uv is installed beside nox.
os.environ["PATH"] = os.pathsep.join([*_interpreters, os.environ["PATH"], str(Path(sys.executable).parent)])
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# uv does not read the configuration of pip.
for setting, variable in (("global.index-url", "UV_DEFAULT_INDEX"), ("global.cert", "SSL_CERT_FILE")):
    if not {variable, "UV_INDEX_URL", "UV_CONFIG_FILE"} & os.environ.keys():
        found = subprocess.run([sys.executable, "-m", "pip", "config", "get", setting], capture_output=True, text=True)
        if found.stdout.strip():
            os.environ[variable] = found.stdout.strip()
# Containers often set it; without bytecode, each process of Airflow compiles what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PYTHONS = [each for each in SUPPORTED_PYTHONS if shutil.which(f"python{each}")]
_running = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = _running if _running in SUPPORTED_PYTHONS else PYTHONS[-1]
# Each Airflow and each Python once; the oldest Python takes the oldest dependencies, PYTHON the newest Airflow.
_other_pythons = [each for each in PYTHONS[1:] if each != PYTHON] or [PYTHON]
COMPATIBILITY_PAIRS = [
    (airflow, _other_pythons[min(index, len(_other_pythons) - 1)]) for index, airflow in enumerate(AIRFLOWS[:-1])
]
ALL_PAIRS = [
    (airflow, python)
    for airflow in AIRFLOWS
    for python in PYTHONS
    if python not in SUPPORTED_PYTHONS[: SUPPORTED_PYTHONS.index(OLDEST_PYTHON.get(airflow, SUPPORTED_PYTHONS[0]))]
]

UNIT = "not airflow and not alone and not exhaustive and not browser"
# Tests wait for more than half of their time: five processes keep two cores busy.
PARALLEL = ("-n", "5", "--dist", "worksteal")
# Each process has an Airflow of its own.
PARALLEL_AIRFLOWS = ("-n", "2", "--dist", "loadgroup", "-m", "airflow and not bursts")
#: The wheels, once they are built.
_wheels: list[str] = []
#: Tests of what touches Airflow.
COMPATIBILITY_TESTS = (
    "tests/airflow/test_discovery.py",
    "tests/airflow/test_example_dags.py",
    "tests/durable",
    "tests/hooks",
    "tests/operators",
    "tests/plugins/test_webhooks.py",
    "tests/sensors",
    "tests/tasks",
    "tests/triggers",
    "tests/test_airflow_compat.py",
    "tests/test_architecture.py",
    "tests/test_provider_info.py",
    "tests/test_pytest_plugin.py",
    "tests/test_retry_policy.py",
    "tests/test_webhook_address.py",
    "tests/test_webhook_receiver.py",
    # The methods of the endpoints and the poller of many waits touch no Airflow.
    "--ignore=tests/hooks/test_every_shape.py",
    "--ignore=tests/hooks/test_bad_arguments.py",
    "--ignore=tests/hooks/test_error_responses.py",
    "--ignore=tests/triggers/test_fleet.py",
    "--ignore=tests/triggers/test_list_scans.py",
    "--ignore=tests/triggers/test_poller.py",
    "--ignore=tests/triggers/test_rate_limits.py",
)
REAL_AIRFLOW_TESTS = (
    "tests/airflow/test_quick_start.py",
    "tests/airflow/test_readme.py",
    "tests/airflow/test_connection_form.py",
    "tests/airflow/test_finished_runs.py",
)
FLOOR_TESTS = (
    "tests/agents_as_code",
    "tests/api",
    "tests/clients",
    "tests/airflow/test_example_dags.py",
    "tests/operators/test_lineage.py",
    "tests/test_architecture.py",
)


def install(
    session: nox.Session, *requirements: str, constraint: str, group: str, compile_bytecode: bool = True
) -> None:
    """Install requirements and a dependency group."""
    session.install(
        *(["--compile-bytecode"] if compile_bytecode else []),
        *("--constraint", str(ROOT / "constraints" / f"{constraint}.txt")),
        *("--group", f"{ROOT / 'pyproject.toml'}:{group}"),
        *requirements,
    )


def build_wheels(session: nox.Session) -> list[str]:
    """Build the wheels of the provider and the emulator, from their source distributions, once for all sessions."""
    if not _wheels:
        target = LOCAL / "wheels" / session.name
        shutil.rmtree(target, ignore_errors=True)
        for project in (ROOT, ROOT / "emulator"):
            session.run_install("uv", "build", "--quiet", "--out-dir", str(target), str(project), external=True)
        _wheels.extend(str(wheel) for wheel in sorted(target.glob("*.whl")))
    return _wheels


def copy_checkout(session: nox.Session, *without: str) -> Path:
    """Copy the checkout, without caches and the given names."""
    copy = LOCAL / "checkouts" / session.name
    shutil.rmtree(copy, ignore_errors=True)
    ignored = shutil.ignore_patterns(".git", ".local", "build", "dist", "*_cache", "__pycache__", *without)
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


def install_runtime(session: nox.Session) -> None:
    """Install both wheels with nothing but their dependencies."""
    session.install(*build_wheels(session), "--constraint", str(ROOT / "constraints" / f"airflow-{NEWEST}.txt"))


def install_wheels(session: nox.Session, *, constraint: str, group: str = "test") -> None:
    """Install both wheels, and work in a copy of the checkout from which only the wheels can be imported."""
    wheels = build_wheels(session)
    install(session, *wheels, constraint=constraint, group=group)
    # For tests/test_wheels.py.
    session.env["WHEELS"] = str(Path(wheels[0]).parent)
    session.chdir(copy_checkout(session, *PACKAGES))


def pytest(session: nox.Session, *arguments: str, silent: bool = False) -> Any:
    """Run pytest without the cache, which all sessions would share. Return its output if it is silent."""
    return session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *arguments, silent=silent)


def pytest_beside_airflow(session: nox.Session, *arguments: str) -> None:
    """Run tests in parallel, and beside them those with a running Airflow: both wait for much of their time."""
    with ThreadPoolExecutor() as pool:
        with_airflow = pool.submit(pytest, session, *PARALLEL_AIRFLOWS, *REAL_AIRFLOW_TESTS, silent=True)
        pytest(session, *PARALLEL, "-m", UNIT, *arguments)
    session.log(with_airflow.result())


def install_editable(session: nox.Session, *, airflow: str, group: str) -> None:
    """Install both distributions editable, with a dependency group."""
    install(session, "--editable", "emulator", "--editable", ".", constraint=f"airflow-{airflow}", group=group)


@nox.session(python=PYTHON, reuse_venv=True)
@nox.parametrize("airflow", AIRFLOWS, ids=AIRFLOWS)
def dev(session: nox.Session, airflow: str) -> None:
    """Make the environment for development with one Airflow."""
    install_editable(session, airflow=airflow, group="dev")


@nox.session(python=PYTHON, reuse_venv=True)
@nox.parametrize("group", ["peers", "distributed"], ids=["peers", "distributed"])
def extended(session: nox.Session, group: str) -> None:
    """Make the environment of the benchmarks (peers), or of `make distributed`."""
    install_editable(session, airflow=NEWEST, group=group)


@nox.session(python=PYTHON, reuse_venv=True)
@nox.parametrize("airflow", AIRFLOWS, ids=AIRFLOWS)
def browser(session: nox.Session, airflow: str) -> None:
    """Drive the system's Chromium through the pages in a real Airflow."""
    install_editable(session, airflow=airflow, group="browser")
    pytest(session, "-m", "browser", *(session.posargs or ("tests/browser",)))


@nox.session(python=PYTHON)
def unit(session: nox.Session) -> None:
    """Run everything that needs no running Airflow, real sockets included, on the newest Airflow."""
    install_wheels(session, constraint=f"airflow-{NEWEST}")
    # First, since it caches the compiled test modules for the parallel processes.
    pytest(session, "--durations=5", "-m", "alone")
    pytest(session, *PARALLEL, "--durations=20", "-m", UNIT)
    pytest(session, "-c", "emulator/pyproject.toml", *PARALLEL, "--durations=5", "emulator/tests")


@nox.session(python=PYTHONS)
@nox.parametrize("airflow", AIRFLOWS, ids=AIRFLOWS)
def compatibility(session: nox.Session, airflow: str) -> None:
    """Run what touches Airflow on one Airflow, with a real one too unless `make e2e` has it."""
    install_wheels(session, constraint=f"airflow-{airflow}")
    if airflow == NEWEST:
        pytest(session, *PARALLEL, "-m", UNIT, *COMPATIBILITY_TESTS)
    else:
        pytest_beside_airflow(session, *COMPATIBILITY_TESTS)


@nox.session(python=PYTHONS[0])
def floors(session: nox.Session) -> None:
    """Run the tests of the API and its clients, or those named after ``--``, with the oldest dependencies allowed."""
    install_wheels(session, constraint="floors")
    pytest(session, *(session.posargs or (*PARALLEL, "-m", UNIT, *FLOOR_TESTS)))


@nox.session(python=PYTHONS[-1])
def next_airflow(session: nox.Session) -> None:
    """Run all tests on the pre-release of Airflow in constraints/next.in."""
    install_wheels(session, constraint="next")
    pytest_beside_airflow(session)


@nox.session(python=PYTHON)
def matrix(session: nox.Session) -> None:
    """Queue the oldest dependencies and the other Airflows; FULL=1 takes every Airflow with every Python."""
    pairs = ALL_PAIRS if os.environ.get("FULL", "0") != "0" else COMPATIBILITY_PAIRS
    session.notify("floors")
    for airflow, python in pairs:
        session.notify(f"compatibility-{python}({airflow})")


@nox.session(python=PYTHON, reuse_venv=True)
@nox.parametrize("airflow", AIRFLOWS, ids=AIRFLOWS)
def quick_start(session: nox.Session, airflow: str) -> None:
    """Type the README's quick start in a new environment, with pip."""
    wheels = build_wheels(session)
    session.install(*wheels[1:], "--constraint", f"constraints/airflow-{airflow}.txt")
    session.run("python", "-m", "dev.quick_start", "--airflow", airflow, "--wheels", str(Path(wheels[0]).parent))


@nox.session(python=PYTHON, reuse_venv=True)
def types(session: nox.Session) -> None:
    """Check the DAGs of the docs and the examples with mypy and pyright, against the built wheels."""
    wheels = build_wheels(session)
    # The checkers import nothing of it.
    install(session, *wheels, constraint=f"airflow-{NEWEST}", group="types", compile_bytecode=False)
    session.install("--no-deps", "--reinstall", *wheels)
    session.run("python", "-m", "dev.type_check")


@nox.session(python=PYTHON, reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Build the site in .local/site. A warning, for example about a broken link, is an error."""
    install(session, constraint="docs", group="docs")
    session.run("mkdocs", *(session.posargs or ("build", "--clean")), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=PYTHON)
def sbom(session: nox.Session) -> None:
    """Write the bill of materials and the licenses of all that the two wheels install to .local/sbom."""
    install_runtime(session)
    target = LOCAL / "sbom"
    target.mkdir(parents=True, exist_ok=True)
    python = str(Path(session.bin) / "python")
    bill = ("environment", python, "--output-reproducible", "--output-file", str(target / "sbom.json"))
    session.run("uv", "tool", "run", "--from", "cyclonedx-bom", "cyclonedx-py", *bill, external=True)
    licenses = ("--python", python, "--order", "license", "--format", "markdown", "--with-urls")
    output = ("--output-file", str(target / "licenses.md"))
    session.run("uv", "tool", "run", "pip-licenses", *licenses, *output, external=True)


@nox.session(python=PYTHON)
def audit(session: nox.Session) -> None:
    """Fail if pypi.org has an advisory about a version that the two wheels install, or cannot be asked."""
    install_runtime(session)
    # They are not on the index before their release.
    distributions = ("airflow-provider-mosaic", "airflow-provider-mosaic-emulator")
    session.run("uv", "pip", "uninstall", *distributions, external=True)
    [packages] = Path(session.virtualenv.location).glob("lib/python*/site-packages")
    session.run("uv", "tool", "run", "pip-audit", "--path", str(packages), "--strict", external=True)


@nox.session(venv_backend="none")
def dist(session: nox.Session) -> None:
    """
    Build what a release publishes in .local/dist, twice: both builds must be the same bytes.

    SOURCE_URL makes the links of the README absolute.
    """
    target = LOCAL / "dist"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    copy = copy_checkout(session)
    prepare = ("prepare", str(copy / "README.md"), str(target / "notes.md"))
    session.run(sys.executable, "-m", "dev.release", *prepare)
    for name, project in (("provider", copy), ("emulator", copy / "emulator")):
        again = target / "again" / name
        for folder in (target / name, again):
            session.run("uv", "build", "--quiet", "--out-dir", str(folder), str(project))
        for first, second in zip(sorted((target / name).iterdir()), sorted(again.iterdir()), strict=True):
            if first.read_bytes() != second.read_bytes():
                session.error(f"Two builds of {first.name} differ.")
            if first.suffix in (".whl", ".gz"):
                session.log(f"{hashlib.sha256(first.read_bytes()).hexdigest()}  {first.name}")
    shutil.rmtree(target / "again")


@nox.session(venv_backend="none")
def constraints(session: nox.Session) -> None:
    """Resolve the constraint files again, without the address of an index in them."""
    distributions = ("pyproject.toml", "emulator/pyproject.toml")

    def resolve(target: str, python: str, *arguments: str) -> None:
        session.run(
            *("uv", "pip", "compile", "--quiet", "--upgrade", "--no-emit-index-url", "--no-emit-find-links"),
            *("--no-header", "--no-annotate", "--python-version", python),
            *arguments,
            *("--output-file", f"constraints/{target}.txt"),
        )

    groups = ("--group", "browser", "--group", "distributed", "--group", "peers", "--group", "types")
    for airflow in AIRFLOWS:
        source = f"constraints/airflow-{airflow}.in"
        oldest = OLDEST_PYTHON.get(airflow, SUPPORTED_PYTHONS[0])
        resolve(f"airflow-{airflow}", oldest, "--universal", *distributions, *groups, source)
    projects = [nox.project.load_toml(path)["project"] for path in distributions]
    floors = {each.replace(">=", "==") for project in projects for each in project["dependencies"]}
    with tempfile.NamedTemporaryFile("w", suffix=".in") as pins:
        pins.write("\n".join(sorted(floors)))
        pins.flush()
        resolve("floors", SUPPORTED_PYTHONS[0], *distributions, "--group", "test", pins.name, "constraints/floors.in")
    resolve("next", OLDEST_PYTHON["next"], "--universal", *distributions, "--group", "test", "constraints/next.in")
    resolve("docs", SUPPORTED_PYTHONS[0], "--universal", "--group", "pyproject.toml:docs")
