"""
Measure what imports cost, over what any DAG file loads, beside dbt-cloud, databricks and anthropic.

    python benchmarks/imports.py [--rounds 9]

Two figures: the imports of a DAG file, and those of one execution on a worker (the DAG file, and what ``execute`` loads
until it defers). Each import runs in a new process, in turns, in one environment. CPU time depends little on the load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from dataclasses import dataclass

from goals import Row, report

from dev.paths import LOCAL, PEERS_PYTHON

#: CPU seconds over ``airflow.sdk``.
PARSE_GOAL = 0.02
EXECUTE_GOAL = 0.12
#: What any DAG file loads.
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, dag, task, task_group"
CHILD = """
import json, sys, time
wall, processor = time.perf_counter(), time.process_time()
{base}
base = time.perf_counter() - wall, time.process_time() - processor
before = len(sys.modules)
wall, processor = time.perf_counter(), time.process_time()
{imports}
print(json.dumps([*base, time.perf_counter() - wall, time.process_time() - processor, len(sys.modules) - before]))
"""
EVERYTHING_OF_OURS = """
from airflow_provider_mosaic import operators, sensors
for package in (operators, sensors):
    for name in package.__all__:
        getattr(package, name)
"""
PARSE = {
    "mosaic, every operator and sensor": EVERYTHING_OF_OURS,
    "dbt-cloud": (
        "from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator\n"
        "from airflow.providers.dbt.cloud.sensors.dbt import DbtCloudJobRunSensor"
    ),
    "databricks": (
        "from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator\n"
        "from airflow.providers.databricks.sensors.databricks import DatabricksSQLStatementsSensor"
    ),
    "anthropic": (
        "from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator\n"
        "from airflow.providers.anthropic.sensors.batch import AnthropicBatchSensor"
    ),
}
#: What ``execute`` of a deferrable operator loads after the DAG file.
EXECUTE = {
    "mosaic, every operator and sensor": (
        "from airflow_provider_mosaic.clients.sync_client import SyncClient\n"
        "from airflow_provider_mosaic.hooks.mosaic import MosaicHook\n"
        "from airflow_provider_mosaic.tasks.runs import RunTask\n"
        "from airflow_provider_mosaic.triggers import MosaicRunTrigger\n"
        "MosaicHook.get_run, MosaicHook.run_agent"
    ),
    "dbt-cloud": (
        "from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook\n"
        "from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger\n"
        "import requests"
    ),
    "databricks": (
        "from airflow.providers.databricks.hooks.databricks import DatabricksHook\n"
        "from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger\n"
        "import requests"
    ),
    "anthropic": (
        "from airflow.providers.anthropic.hooks.anthropic import AnthropicHook\n"
        "from airflow.providers.anthropic.triggers.batch import AnthropicBatchTrigger\n"
        "import anthropic"
    ),
}
DISTRIBUTIONS = (
    "airflow-provider-mosaic",
    "apache-airflow-core",
    "apache-airflow-task-sdk",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-databricks",
    "apache-airflow-providers-anthropic",
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of one import and of ``airflow.sdk`` before it, and the number of modules that the import loaded."""

    base_wall: float
    base_processor: float
    wall: float
    processor: float
    modules: int


def measure(python: str, imports: str) -> Cost:
    """Import in a new process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    ran = subprocess.run(
        [python, "-c", CHILD.format(base=BASE, imports=imports)],
        env=inherited | {"AIRFLOW_HOME": str(LOCAL / "benchmarks" / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    base_wall, base_processor, wall, processor, modules = json.loads(ran.stdout.splitlines()[-1])
    return Cost(
        base_wall=base_wall, base_processor=base_processor, wall=wall, processor=processor, modules=int(modules)
    )


def versions(python: str) -> str:
    """Return the versions of what is measured."""
    code = (
        "import platform\nfrom importlib.metadata import version\n"
        f"found = [f'{{name}} {{version(name)}}' for name in {DISTRIBUTIONS!r}]\n"
        "print('Python ' + platform.python_version(), *found, sep=', ')"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description="Measure the cost of imports.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds: int = parser.parse_args().rounds
    python = str(PEERS_PYTHON)
    print(f"{versions(python)}; {os.cpu_count()} cores, medians of {rounds} rounds")
    subjects = {
        ("DAG file", PARSE_GOAL): PARSE,
        ("execution", EXECUTE_GOAL): {name: f"{PARSE[name]}\n{imports}" for name, imports in EXECUTE.items()},
    }
    rows = []
    for (figure, goal), imports_of in subjects.items():
        for imports in imports_of.values():
            measure(python, imports)  # write the bytecode
        costs: dict[str, list[Cost]] = {name: [] for name in imports_of}
        for _ in range(rounds):
            for name, imports in imports_of.items():
                costs[name].append(measure(python, imports))
        print(f"\n{f'{figure}, over airflow.sdk':<36}{'processor':>12}{'seconds':>10}{'modules':>10}")
        medians = {name: statistics.median(cost.processor for cost in each) for name, each in costs.items()}
        for name, each in costs.items():
            print(
                f"{name:<36}{medians[name]:>10.3f} s{statistics.median(cost.wall for cost in each):>8.3f} s"
                f"{each[0].modules:>10}"
            )
        ours, *others = imports_of
        rows.append(
            Row(
                figure=f"imports: {figure}, over airflow.sdk, CPU s",
                ours=medians[ours],
                theirs={name: medians[name] for name in others},
                goal=f"at most {goal}",
                met=medians[ours] <= goal,
            )
        )
    print()
    report(rows)


if __name__ == "__main__":
    main()
