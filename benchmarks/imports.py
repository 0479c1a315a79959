"""
What a DAG file's imports cost, over what any DAG file loads: ours beside dbt-cloud's, databricks' and anthropic's.

    python benchmarks/imports.py [--rounds 9]

Every import is measured in a process of its own, after ``airflow.sdk``, in turns, in the environment of the peers.
Processor time is the figure: it hardly depends on what else the machine does. Medians; nothing here passes or fails.
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

#: Seconds that ours may cost over airflow.sdk alone.
GOAL = 0.02
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
SUBJECTS = {
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
    """Seconds of one import, and of ``airflow.sdk`` before it; modules that it added."""

    base_wall: float
    base_processor: float
    wall: float
    processor: float
    modules: int


def measure(python: str, imports: str) -> Cost:
    """Import in a new process."""
    # No plugin or provider is looked for: only what a DAG file's own imports load.
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
    """The versions of what is measured."""
    code = (
        "import platform\nfrom importlib.metadata import version\n"
        f"told = [f'{{name}} {{version(name)}}' for name in {DISTRIBUTIONS!r}]\n"
        "print('Python ' + platform.python_version(), *told, sep=', ')"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description="What a DAG file's imports cost.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds: int = parser.parse_args().rounds
    python = str(PEERS_PYTHON)
    for imports in SUBJECTS.values():
        measure(python, imports)  # the first time, bytecode is written
    costs: dict[str, list[Cost]] = {name: [] for name in SUBJECTS}
    for _ in range(rounds):
        for name, imports in SUBJECTS.items():
            costs[name].append(measure(python, imports))
    print(f"{versions(python)}; {os.cpu_count()} cores, medians of {rounds} rounds")
    base = [cost for each in costs.values() for cost in each]
    print(
        f"airflow.sdk alone: {statistics.median(cost.base_processor for cost in base):.3f} s of a processor, "
        f"{statistics.median(cost.base_wall for cost in base):.3f} s"
    )
    print(f"\n{'over airflow.sdk':<36}{'processor':>12}{'seconds':>10}{'modules':>10}")
    middle = {name: statistics.median(cost.processor for cost in each) for name, each in costs.items()}
    for name, each in costs.items():
        print(
            f"{name:<36}{middle[name]:>10.3f} s{statistics.median(cost.wall for cost in each):>8.3f} s"
            f"{each[0].modules:>10}"
        )
    print()
    ours, *others = SUBJECTS
    report(
        [
            Row(
                figure="imports of a DAG file over airflow.sdk, CPU s",
                ours=middle[ours],
                theirs={name: middle[name] for name in others},
                goal=f"at most {GOAL}",
                met=middle[ours] <= GOAL,
            )
        ]
    )


if __name__ == "__main__":
    main()
