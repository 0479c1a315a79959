"""
Type the README's quick start as it stands, in a new environment with the two wheels and nothing else.

``make quick-start AIRFLOW=3.1`` runs it and prints the seconds of each command. ``HOME`` is a new folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mosaic_emulator.local_airflow.processes import free_port

from dev.paths import LOCAL, ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(readme: str, *, folder: Path, port: int) -> Iterator[str]:
    """
    Yield the quick start's commands for bash.

    :param folder: Used instead of ``/tmp``.
    :param port: Used instead of the emulator's default.
    """
    section = readme.partition("## Quick start\n")[2].partition("\n## ")[0].replace("/tmp/", f"{folder}/")
    [name] = re.findall(r"Save this DAG as `([^`]+)`", section)
    for language, text in _BLOCK.findall(section):
        if language == "python":
            yield f"cat > {name} <<'END'\n{text}END"
        else:
            port_text = text.replace("mosaic-emulator &", f"mosaic-emulator --port {port} &").replace(
                ":8765", f":{port}"
            )
            yield from port_text.splitlines()


def run(folder: Path, *, programs: Path, environment: dict[str, str], install: bool) -> list[tuple[str, float]]:
    """
    Run the commands with bash, and return each with its seconds.

    :param folder: ``HOME``, and the place of all files.
    :param programs: The folder with ``pip`` and ``airflow``.
    :param install: Whether to run ``pip``.
    :raises subprocess.CalledProcessError: A command failed. It has the output.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = [
        each for each in commands(readme, folder=folder, port=free_port()) if install or not each.startswith("pip ")
    ]
    script = folder / "quick-start.sh"
    script.write_text(
        "set -e\ntrap 'kill $(jobs -p)' EXIT\n"
        + "\n".join(f"{each}\necho SECONDS {index} $SECONDS" for index, each in enumerate(typed))
    )
    done = subprocess.run(
        ["bash", str(script)],
        env={"HOME": str(folder), "PATH": f"{programs}{os.pathsep}{os.defpath}", **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (folder / "quick-start.log").write_text(done.stdout)
    done.check_returncode()
    ends = [float(seconds) for seconds in re.findall(r"^SECONDS \d+ (\d+)$", done.stdout, re.MULTILINE)]
    return [(each, end - start) for each, start, end in zip(typed, [0.0, *ends], ends, strict=False)]


def main() -> int:
    """Create the environment, run the quick start, and print the seconds."""
    parser = argparse.ArgumentParser(prog="python -m dev.quick_start", description=__doc__)
    parser.add_argument("--airflow", required=True, help="a file constraints/airflow-<version>.txt")
    parser.add_argument("--wheels", required=True, help="the folder of the two wheels")
    chosen = parser.parse_args()
    folder = LOCAL / "quick-start" / chosen.airflow
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.endswith("_proxy")}
    environment["PIP_FIND_LINKS"] = " ".join(filter(None, [chosen.wheels, os.environ.get("PIP_FIND_LINKS")]))
    environment["PIP_CONSTRAINT"] = str(ROOT / "constraints" / f"airflow-{chosen.airflow}.txt")
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(folder / "environment")], check=True)
    try:
        measured = run(folder, programs=folder / "environment" / "bin", environment=environment, install=True)
    except subprocess.CalledProcessError as error:
        print(error.stdout[-5000:], file=sys.stderr)
        return 1
    for command, seconds in measured:
        print(f"{seconds:5.0f} s  {command.splitlines()[0]}")
    edited = sorted((folder / "edited").glob("*.mp4"))
    print(f"{time.monotonic() - started:5.0f} s  in all, on Airflow {chosen.airflow}: {', '.join(map(str, edited))}")
    return 0 if edited else 1


if __name__ == "__main__":
    sys.exit(main())
