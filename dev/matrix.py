"""Tests of the built wheel, in clean environments that hold nothing of the checkout but its tests.

    python -m dev.matrix         # the oldest dependencies, and the other pairs of an Airflow and a Python
    python -m dev.matrix unit    # all unit tests, on the newest Airflow with the Python that runs this
    python -m dev.matrix floors  # the oldest dependencies: the API and its clients
    python -m dev.matrix next    # unit and compatibility tests on the pre-release in constraints/next.in

Every Airflow and every Python is tested once; ``FULL=1`` takes every Airflow with every Python that is installed here.
What touches no Airflow is tested once, by ``unit``; the API and its clients once more with the oldest dependencies that
``pyproject.toml`` allows, on the oldest Python, where every module is imported and every example DAG parsed. What needs
a running Airflow is tested on the newest one by ``make e2e``, and here on the others.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from dev import environment, interpreters
from dev.processes import tail

MATRIX = environment.LOCAL / "matrix"
PACKAGES = ("airflow_provider_mosaic", "mosaic_emulator")

# Prints where the provider is imported from, and the versions that the table shows.
WHAT_IS_INSTALLED = f"""
import importlib.metadata, platform, {", ".join(PACKAGES)}
print({PACKAGES[0]}.__file__, importlib.metadata.version("apache-airflow-core"), platform.python_version(), sep="\\n")
"""

# Seconds after which a step is ended that hangs where pytest itself notices nothing; the longest takes 5 minutes.
LONGEST_STEP = 1500

# Two processes: most of a test's time is spent waiting, and two cores are what such machines have.
PARALLEL = ("-n", "2", "--dist", "worksteal")

# What touches Airflow, and may be different on another one.
COMPATIBILITY = (
    "tests/airflow/test_discovery.py",
    "tests/airflow/test_example_dags.py",
    "tests/hooks/test_hostile_storage.py",
    "tests/hooks/test_mosaic_hook.py",
    "tests/hooks/test_paths.py",
    "tests/durable",
    "tests/operators",
    "tests/sensors",
    "tests/tasks",
    "tests/triggers",
    "tests/test_architecture.py",
    "tests/test_provider_info.py",
    "tests/test_pytest_plugin.py",
    "tests/test_retry_policy.py",
    "tests/test_webhook_receiver.py",
)

REAL_AIRFLOW = (
    "tests/airflow/test_quick_start.py",
    "tests/airflow/test_connection_form.py",
    "tests/airflow/test_finished_runs.py",
)


class CheckFailedError(Exception):
    """A step of a job failed; the text says how."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of pytest."""

    name: str
    arguments: tuple[str, ...]


ALL_UNIT_TESTS = (
    Step(name="tests", arguments=(*PARALLEL, "--durations=20", "-m", "not airflow and not alone and not exhaustive")),
    Step(name="alone", arguments=("--durations=5", "-m", "alone")),
    Step(name="emulator", arguments=("-c", "emulator/pyproject.toml", *PARALLEL, "--durations=5", "emulator/tests")),
)
COMPATIBILITY_TESTS = Step(
    name="tests", arguments=(*PARALLEL, "-m", "not airflow and not alone and not exhaustive", *COMPATIBILITY)
)
REAL_AIRFLOW_TESTS = Step(name="real Airflow", arguments=("-m", "airflow and not bursts", *REAL_AIRFLOW))
API_TESTS = Step(
    name="tests",
    arguments=(
        *(*PARALLEL, "-m", "not airflow and not alone and not exhaustive"),
        *(
            "tests/api",
            "tests/clients",
            "tests/agents_as_code/test_definition.py",
            "tests/agents_as_code/test_diff.py",
            "tests/agents_as_code/test_matching.py",
            "tests/airflow/test_example_dags.py",
            "tests/test_architecture.py",
        ),
    ),
)


@dataclass(kw_only=True)
class MatrixJob:
    """A constraint file with one Python, the steps that are run on them, and how they went."""

    constraint: str
    python: str
    steps: Sequence[Step]
    results: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.constraint}-py{self.python}"


def pairs_to_test(
    airflows: Sequence[str], pythons: Sequence[str], tested: tuple[str, str], *, full: bool
) -> list[tuple[str, str]]:
    """Return the pairs of an Airflow and a Python to test, oldest first.

    :param tested: the pair that ``make test`` has tested; it is left out.
    :param full: every Airflow with every Python; otherwise every Airflow and every Python once, but for the oldest
        Python, which is that of the oldest dependencies.
    """
    if full:
        return [pair for pair in product(airflows, pythons) if pair != tested]
    left = [python for python in pythons[1:] if python != tested[1]] or list(pythons)
    older = airflows[:-1]
    pairs = [(airflow, left[min(place, len(left) - 1)]) for place, airflow in enumerate(older)]
    return [*pairs, *((airflows[-1], python) for python in left[len(older) :])]


def unit_jobs() -> list[MatrixJob]:
    """Return the job of ``make unit``."""
    constraint = f"airflow-{environment.NEWEST_AIRFLOW}"
    return [MatrixJob(constraint=constraint, python=interpreters.usual().minor, steps=ALL_UNIT_TESTS)]


def matrix_jobs() -> list[MatrixJob]:
    """Return the jobs of ``make test-matrix`` on this machine."""
    jobs = floor_jobs()
    pythons = list(interpreters.installed())
    tested = (environment.NEWEST_AIRFLOW, interpreters.usual().minor)
    full = os.environ.get("FULL", "") not in ("", "0")
    for airflow, python in pairs_to_test(environment.airflows(), pythons, tested, full=full):
        steps = [COMPATIBILITY_TESTS]
        if airflow != environment.NEWEST_AIRFLOW:
            steps.append(REAL_AIRFLOW_TESTS)
        jobs.append(MatrixJob(constraint=f"airflow-{airflow}", python=python, steps=steps))
    return jobs


def floor_jobs() -> list[MatrixJob]:
    """Return the job of ``make test-floors``: the oldest dependencies, on the oldest Python."""
    return [MatrixJob(constraint="floors", python=next(iter(interpreters.installed())), steps=[API_TESTS])]


def next_jobs() -> list[MatrixJob]:
    """Return the job of ``make test-next``."""
    newest_python = list(interpreters.installed())[-1]
    return [MatrixJob(constraint="next", python=newest_python, steps=[*ALL_UNIT_TESTS, REAL_AIRFLOW_TESTS])]


def closing_line(log: Path) -> str:
    """Return pytest's own last line; Airflow may have written more as the process ended."""
    lines = re.findall(r"^=+ (.* in [\d.]+s.*?) =+$", log.read_text(errors="replace"), re.MULTILINE)
    return str(lines[-1]) if lines else tail(log, 1)


def copy_checkout(target: Path) -> None:
    """Copy the checkout without the packages, so that nothing but the installed wheels can be imported."""
    here = (".git", ".local", "dist", "build")

    def left_out(folder: str, names: list[str]) -> list[str]:
        top = here if Path(folder) == environment.ROOT else ()
        return [name for name in names if name in (*top, *PACKAGES, "__pycache__") or name.endswith("_cache")]

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(environment.ROOT, target, ignore=left_out)


class JobRunner:
    """Runs the steps of one job.

    :param stream: print what pytest prints, instead of keeping it in a file.
    """

    def __init__(self, job: MatrixJob, wheels: Sequence[Path], *, stream: bool) -> None:
        self.job = job
        self.wheels = wheels
        self.stream = stream
        self.folder = MATRIX / job.name
        self.checkout = self.folder / "checkout"
        self._started = time.monotonic()

    def run(self) -> None:
        """Run all steps; tests that fail do not keep the next step from being run."""
        failures: list[str] = []
        try:
            python = self._install()
            for step in self.job.steps:
                try:
                    self._pytest(python, step)
                except CheckFailedError as error:
                    failures.append(str(error))
        except (CheckFailedError, environment.BuildError) as error:
            failures.append(str(error))
        self.job.failure = "\n".join(failures) or None
        self.job.seconds = time.monotonic() - self._started

    def _install(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        copy_checkout(self.checkout)
        interpreter = environment.clean_with_wheels(
            self.wheels, self.job.constraint, self.job.python, path=self.folder / "environment"
        )
        asked = subprocess.run(
            [interpreter, "-c", WHAT_IS_INSTALLED], cwd=self.checkout, capture_output=True, text=True, check=False
        )
        if asked.returncode != 0:
            raise CheckFailedError(f"the installed provider can't be imported:\n{asked.stderr}")
        origin, airflow, python = asked.stdout.split("\n")[:3]
        if not Path(origin).resolve().is_relative_to((self.folder / "environment").resolve()):
            raise CheckFailedError(f"the provider was imported from {origin}, not from the wheel")
        self._record("wheel", "installed")
        self.job.results |= {"airflow": airflow, "python": python}
        return interpreter

    def _record(self, step: str, result: str) -> None:
        """Save how a step went, and print it at once: it shows where an interrupted matrix was."""
        self.job.results[step] = result
        print(f"  {time.monotonic() - self._started:5.0f} s  {step}: {result}", flush=True)

    def _pytest(self, python: Path, step: Step) -> None:
        log = self.folder / f"{step.name.replace(' ', '-')}.log"
        left_out = ("AIRFLOW", "PYTEST", "PYTHONDONTWRITEBYTECODE")
        variables = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        try:
            with log.open("w") as output:
                ran = subprocess.run(
                    [python, "-m", "pytest", "-p", "no:cacheprovider", *step.arguments],
                    cwd=self.checkout,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=None if self.stream else output,
                    stderr=None if self.stream else subprocess.STDOUT,
                    timeout=LONGEST_STEP,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            self._record(step.name, "HANGS")
            raise CheckFailedError(f"{step.name}: not over after {LONGEST_STEP} s\n{tail(log, 60)}") from None
        closing = "" if self.stream else closing_line(log)
        passed = re.search(r"(\d+) passed", closing)
        if ran.returncode != 0 or (passed is None and not self.stream):
            self._record(step.name, "FAILED")
            raise CheckFailedError(f"{step.name}: {closing}\n{tail(log, 60)}")
        skipped = re.search(r"(\d+) skipped", closing)
        counts = [f"{passed[1]} passed" if passed else "passed", f"{skipped[1]} skipped" if skipped else ""]
        self._record(step.name, ", ".join(filter(None, counts)))


def table(jobs: Sequence[MatrixJob]) -> str:
    """Return the results of all jobs as text."""
    steps = list(dict.fromkeys(step.name for job in jobs for step in job.steps))
    head = ("job", "Airflow", "Python", "wheel", *steps, "result", "time")
    rows = [
        (
            job.name,
            *(job.results.get(column, "-") for column in ("airflow", "python", "wheel", *steps)),
            "good" if job.failure is None else "FAILED",
            f"{job.seconds:.0f} s",
        )
        for job in jobs
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))
    return "\n".join(lines)


JOBS = {"matrix": matrix_jobs, "unit": unit_jobs, "floors": floor_jobs, "next": next_jobs}


def main() -> int:
    """Run the jobs; the exit code says whether all are good."""
    parser = argparse.ArgumentParser(prog="python -m dev.matrix", description="Tests of the built wheel.")
    parser.add_argument("jobs", nargs="?", choices=sorted(JOBS), default="matrix")
    asked = parser.parse_args().jobs
    with environment.locked("matrix"):
        try:
            wheels = environment.build_wheels(MATRIX / "wheels")
        except environment.BuildError as error:
            print(f"The wheels could not be built.\n{error}", file=sys.stderr)
            return 1
        print(f"Built {', '.join(wheel.name for wheel in wheels)}", flush=True)
        jobs = JOBS[asked]()
        for job in jobs:
            print(f"{job.name} ...", flush=True)
            JobRunner(job, wheels, stream=asked == "unit").run()
            if job.failure is not None:
                print(f"{job.name} failed: {job.failure}", flush=True)
    failed = sum(job.failure is not None for job in jobs)
    print(f"\n{table(jobs)}\n\n{asked}: {len(jobs) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
