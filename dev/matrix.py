"""The built wheel in clean environments of every supported Airflow: discovery, tests, and the quick start to its end.

Each Airflow is tried with one Python, from the oldest with the oldest to the newest with the newest; ``FULL=1`` tries
every Airflow with every Python that is installed here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev import environment, interpreters
from dev.processes import tail

MATRIX = environment.LOCAL / "matrix"
PACKAGE = "airflow_provider_mosaic"

# Prints where the provider is imported from, and the versions that the table shows.
WHAT_IS_INSTALLED = f"""
import importlib.metadata, platform, {PACKAGE}
print({PACKAGE}.__file__, importlib.metadata.version("apache-airflow-core"), platform.python_version(), sep="\\n")
"""

# Seconds after which a step is ended that hangs where pytest itself notices nothing; the longest takes 9 to 17 minutes.
LONGEST_STEP = 1500

REAL_AIRFLOW = (
    "tests/airflow/test_quick_start.py",
    "tests/airflow/test_connection_form.py",
    "tests/airflow/test_finished_runs.py",
)


class CheckFailedError(Exception):
    """A step of a combination failed; the text says how."""


@dataclass(kw_only=True)
class Combination:
    """One Airflow with one Python, and how it went."""

    airflow: str
    python: str
    results: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"airflow-{self.airflow}-py{self.python}"


def spread(airflows: Sequence[str], pythons: Sequence[str]) -> list[Combination]:
    """Give each Airflow one Python, so that the oldest meet, the newest meet, and the others lie between."""
    steps = max(len(airflows) - 1, 1)
    return [
        Combination(airflow=airflow, python=pythons[(place * (len(pythons) - 1) + steps // 2) // steps])
        for place, airflow in enumerate(airflows)
    ]


def combinations() -> list[Combination]:
    """The combinations to try on this machine."""
    airflows, pythons = environment.airflows(), list(interpreters.installed())
    if not pythons:
        raise SystemExit(f"No usable Python was found: one of {', '.join(interpreters.SUPPORTED)} is needed.")
    if os.environ.get("FULL", "") not in ("", "0"):
        return [Combination(airflow=airflow, python=python) for airflow in airflows for python in pythons]
    return spread(airflows, pythons)


def copy_checkout(target: Path) -> None:
    """Copy the checkout without the package, so that nothing but the installed wheel can be imported."""
    here = (".git", ".local", PACKAGE, "dist", "build")

    def left_out(folder: str, names: list[str]) -> list[str]:
        top = here if Path(folder) == environment.ROOT else ()
        return [name for name in names if name in top or name == "__pycache__" or name.endswith("_cache")]

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(environment.ROOT, target, ignore=left_out)


class Trial:
    """The steps of one combination."""

    def __init__(self, combination: Combination, wheel: Path) -> None:
        self.combination = combination
        self.wheel = wheel
        self.folder = MATRIX / combination.name
        self.checkout = self.folder / "checkout"
        self._began = time.monotonic()

    def run(self) -> None:
        """Go through all steps; tests that fail don't keep the quick start from being tried."""
        failures: list[str] = []
        try:
            self._install()
            for step, arguments in (
                ("tests", ("-m", "not airflow")),
                ("quick start", ("-m", "airflow", *REAL_AIRFLOW)),
            ):
                try:
                    self._pytest(step, *arguments)
                except CheckFailedError as error:
                    failures.append(str(error))
        except (CheckFailedError, environment.BuildError) as error:
            failures.append(str(error))
        self.combination.failure = "\n".join(failures) or None
        self.combination.seconds = time.monotonic() - self._began

    def _install(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        copy_checkout(self.checkout)
        made = environment.clean_with_wheel(
            self.wheel, self.combination.airflow, self.combination.python, path=self.folder / "environment"
        )
        self.python = made.python
        asked = subprocess.run(
            [self.python, "-c", WHAT_IS_INSTALLED], cwd=self.checkout, capture_output=True, text=True, check=False
        )
        if asked.returncode != 0:
            raise CheckFailedError(f"the installed provider can't be imported:\n{asked.stderr}")
        origin, airflow, python = asked.stdout.split("\n")[:3]
        if not Path(origin).resolve().is_relative_to((self.folder / "environment").resolve()):
            raise CheckFailedError(f"the provider was imported from {origin}, not from the wheel")
        self._went("wheel", "installed")
        self.combination.results |= {"airflow": airflow, "python": python}

    def _went(self, step: str, result: str) -> None:
        """Note how a step went, and say so at once: of a matrix that is broken off, one wants to know where it was."""
        self.combination.results[step] = result
        print(f"  {time.monotonic() - self._began:5.0f} s  {step}: {result}", flush=True)

    def _pytest(self, step: str, *arguments: str) -> None:
        log = self.folder / f"{step.replace(' ', '-')}.log"
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTEST"))}
        try:
            with log.open("w") as output:
                ran = subprocess.run(
                    [self.python, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
                    cwd=self.checkout,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=LONGEST_STEP,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            self._went(step, "HANGS")
            raise CheckFailedError(f"{step}: not over after {LONGEST_STEP} s\n{tail(log, 60)}") from None
        closing = tail(log, 1).strip("= ")
        passed = re.search(r"(\d+) passed", closing)
        if ran.returncode != 0 or passed is None:
            self._went(step, "FAILED")
            raise CheckFailedError(f"{step}: {closing}\n{tail(log, 60)}")
        skipped = re.search(r"(\d+) skipped", closing)
        self._went(step, f"{passed[1]} passed" + (f", {skipped[1]} skipped" if skipped else ""))


def table(tried: Sequence[Combination]) -> str:
    """Airflow x Python x result."""
    head = ("Airflow", "Python", "wheel", "tests", "quick start", "result", "time")
    rows = [
        (
            combination.results.get("airflow", combination.airflow),
            combination.results.get("python", combination.python),
            *(combination.results.get(step, "-") for step in ("wheel", "tests", "quick start")),
            "good" if combination.failure is None else "FAILED",
            f"{combination.seconds:.0f} s",
        )
        for combination in tried
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))
    return "\n".join(lines)


def main() -> int:
    """Try all combinations; the exit code says whether all are good."""
    with environment.locked("matrix"):
        try:
            wheel = environment.build_wheel(MATRIX / "wheel")
        except environment.BuildError as error:
            print(f"The wheel could not be built.\n{error}", file=sys.stderr)
            return 1
        print(f"Built {wheel.name}", flush=True)
        tried = combinations()
        for combination in tried:
            print(f"Airflow {combination.airflow}, Python {combination.python} ...", flush=True)
            Trial(combination, wheel).run()
            if combination.failure is not None:
                print(f"{combination.name} failed: {combination.failure}", flush=True)
    failed = sum(combination.failure is not None for combination in tried)
    print(f"\n{table(tried)}\n\nmatrix: {len(tried) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
