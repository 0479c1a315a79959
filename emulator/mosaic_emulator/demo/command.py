"""Run the nightly pipeline on a real Airflow and the emulator, with failures that heal, and show the result."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mosaic_emulator.core.counters import Counts
from mosaic_emulator.demo import recordings
from mosaic_emulator.demo.page import write_page
from mosaic_emulator.demo.pipeline import DAG_ID, Pipeline
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.process import Emulator

_CLOCK = time.monotonic()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INSTALL = "pip install 'airflow-provider-mosaic[emulator]'"
_DAGS = Path(__file__).with_name("dags")
#: The page of the provider in Airflow's UI.
_LAST_NIGHT = "/plugin/mosaic_last_night"


class StopRequested(BaseException):
    """The demo received a signal."""


def main(*, directory: Path | None, keep: bool) -> int:
    """
    Run the demo and return its exit status.

    :param directory: Where to create a folder for the recordings, the edited files and the page. By default the
        directory for temporary files.
    :param keep: Whether to leave everything running until Enter is pressed or a signal arrives.
    """
    try:
        airflow_version = version("apache-airflow-core")
        version("airflow-provider-mosaic")
    except PackageNotFoundError as error:
        sys.stderr.write(f"The demo needs {error.name} in the same environment. Install it: {_INSTALL}\n")
        return 1
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="mosaic-demo-", dir=directory)).resolve()
    except OSError as error:
        sys.stderr.write(f"The demo could not create its folder: {error}\n")
        return 1
    previous = {each: signal.signal(each, _request_stop) for each in _SIGNALS}
    try:
        _run(folder, airflow_version, keep=keep)
    except StopRequested:
        sys.stderr.write(f"The demo was stopped. Nothing is left running. All files are in {folder}.\n")
        return 130
    except Exception as error:
        sentence, _, details = str(error).partition("\n")
        sys.stderr.write(f"{details}\n\nThe demo failed: {sentence}\nAll files are in {folder}.\n".lstrip())
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    print(f"Nothing is left running. The files stay in {folder}: remove them with rm -r.")
    return 0


def _run(folder: Path, airflow_version: str, *, keep: bool) -> None:
    """Start the services, run the pipeline, show the results, and stop the services."""
    # Of Airflow and the emulator. Removed if the demo succeeds.
    services = folder / "services"
    _print_step("Start the emulator, and create three recordings")
    with Emulator(directory=services / "mosaic") as mosaic, ThreadPoolExecutor() as threads:
        creation = threads.submit(recordings.create_all, folder / "recordings")
        airflow = AirflowInstance(
            services / "airflow",
            dags=[_DAGS],
            environment={
                **{name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__METRICS__")},
                "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection(),
                "AIRFLOW_VAR_MOSAIC_AGENT_ID": mosaic.agent_id,
                "AIRFLOW_VAR_MOSAIC_RECORDINGS": str(folder / "recordings"),
                "AIRFLOW_VAR_MOSAIC_RESULTS": str(folder / "edited"),
            },
        )
        _print_step(f"Start Airflow {airflow_version}: API server, scheduler, DAG processor, triggerer")
        try:
            airflow.start()
            sources = creation.result()
            _print_step(f"Run {DAG_ID}. Airflow: {airflow.url}  Mosaic: {mosaic.url}")
            pipeline = Pipeline(
                mosaic, airflow, sources, tile_fails=_retries_resume(airflow_version), print_line=_print_step
            )
            pipeline.run()
            edited = pipeline.edited_files(folder / "edited")
            page = write_page(folder / "index.html", sources, edited, pipeline.story, mosaic.counts())
            _print_results(edited, page, mosaic.counts())
            if keep:
                _print_addresses(airflow.url, mosaic.url)
                _wait_for_enter()
        finally:
            _ignore_signals()
            # The terminal may be closed.
            with contextlib.suppress(OSError):
                _print_step("Stop Airflow and the emulator")
            airflow.stop()
    shutil.rmtree(services)


def _retries_resume(airflow_version: str) -> bool:
    """Return whether this Airflow has a task state store, without which a retry does not know the run."""
    major, minor = airflow_version.split(".")[:2]
    return (int(major), int(minor)) >= (3, 3)


def _print_step(text: str) -> None:
    print(f"{time.monotonic() - _CLOCK:5.1f} s  {text}", flush=True)


def _print_results(edited: dict[str, list[Path]], page: Path, counts: Counts) -> None:
    print("\nEdited files:")
    for path in (path for paths in edited.values() for path in paths):
        print(f"  {path}")
    print(
        f"\nMosaic has counted {counts.uploads_finalized} uploads, {counts.runs_started} started runs, "
        f"{counts.runs_resumed} resumed, {counts.posts_made} posts.\n\nBefore and after: {page.as_uri()}\n"
    )


def _print_addresses(airflow: str, mosaic: str) -> None:
    print(
        f"Last night: {airflow}{_LAST_NIGHT} (Browse > Mosaic; no password)\n"
        f"Airflow:    {airflow}/dags/{DAG_ID}\n"
        f"Mosaic:     {mosaic}\n"
        "All of them keep running until you press Enter or Ctrl-C.",
        flush=True,
    )


def _wait_for_enter() -> None:
    """Wait for Enter or a signal. Standard input may be no terminal, and end at once."""
    with contextlib.suppress(StopRequested):
        if sys.stdin is None or not (sys.stdin.readline() or sys.stdin.isatty()):
            signal.pause()


def _ignore_signals() -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def _request_stop(number: int, frame: FrameType | None) -> NoReturn:
    """Start the shutdown, which further signals do not interrupt."""
    _ignore_signals()
    raise StopRequested
