"""
Run the nightly pipeline: create recordings, start the emulator and Airflow, run the DAG, check the edited videos.

Writes to a new folder under ``.local/demo/`` and stops all processes at the end. ``KEEP=1`` keeps Airflow and the
emulator running until Enter or Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mosaic_emulator import Emulator

from dev import recordings
from dev.airflow_instance import AirflowInstance
from dev.airflow_rest import TaskInstance
from dev.processes import DeadlineExceededError, descendants, living, poll

ROOT = Path(__file__).resolve().parents[1]
DAG_ID = "mosaic_nightly_pipeline"
CLOCK = time.monotonic()


class DemoFailedError(Exception):
    """A step failed. ``details`` contains logs."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


class StopRequested(BaseException):
    """The demo received SIGINT, SIGTERM or SIGHUP."""


def print_line(text: str = "") -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - CLOCK:6.1f} s  {text}" if text else "", flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the name of a step, and name it in its errors."""
    print_line(f"{name} ...")
    try:
        yield
    except DemoFailedError:
        raise
    except Exception as error:
        first, _, rest = str(error).partition("\n")
        raise DemoFailedError(f"{name} failed: {type(error).__name__}: {first}", rest) from error


def new_folder() -> Path:
    """Create a unique folder."""
    folder = ROOT / ".local" / "demo" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


# Pipeline


def print_state(task: TaskInstance) -> None:
    """Print the state of a task."""
    attempt = f" (attempt {task.try_number})" if task.try_number > 1 else ""
    notes = {"deferred": "   Mosaic edits; no worker slot is used"}
    print_line(f"  {task.name:<24} {task.state}{attempt}{notes.get(task.state or '', '')}")


def run_pipeline(airflow: AirflowInstance) -> None:
    """Run the DAG. Raise with the log of the failed task if it fails."""
    run_id = airflow.trigger(DAG_ID)
    run = airflow.wait_for_dag_run(DAG_ID, run_id, timeout=300, on_change=print_state)
    if run.state == "success":
        return
    for task in airflow.rest.task_instances(DAG_ID, run_id):
        if task.state == "failed":
            log = airflow.rest.task_log(
                DAG_ID, run_id, task.task_id, try_number=task.try_number, map_index=task.map_index
            )
            raise DemoFailedError(f"The task {task.name} of {DAG_ID} failed.", f"Its log:\n{log}")
    raise DemoFailedError(f"{DAG_ID} ended as {run.state}.")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A count that the DAG expects, and the count of the emulator."""

    name: str
    expected: int
    counted: int


def whole_files_served(mosaic: Emulator) -> int:
    """Return the number of complete downloads, without range requests."""
    media = [each for each in mosaic.requests() if each["template"].startswith("/mosaic-emulator-media/")]
    return sum(each["method"] == "GET" and each["status"] == 200 for each in media)


def compare(mosaic: Emulator, sources: list[Path], files: list[Path]) -> list[Comparison]:
    """Compare the counts: each recording is uploaded, edited and posted once, each file is downloaded once."""
    counts = mosaic.counts()
    expected = len(sources)
    size = sum(path.stat().st_size for path in sources)
    return [
        Comparison(name="uploads", expected=expected, counted=counts.uploads_finalized),
        Comparison(name="bytes uploaded", expected=size, counted=counts.bytes_stored),
        Comparison(name="runs started", expected=expected, counted=counts.runs_started),
        Comparison(name="files downloaded", expected=len(files), counted=whole_files_served(mosaic)),
        Comparison(name="posts created", expected=expected, counted=counts.posts_made),
    ]


def verify_page(mosaic: Emulator) -> None:
    """Raise if a run or a post is missing on the emulator's page."""
    # Never use a proxy for the emulator.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(mosaic.url, timeout=30) as response:
        text: str = response.read().decode()
    ids = [each["run_id"] for each in mosaic.runs()] + [each["post_id"] for each in mosaic.posts()]
    missing = [each for each in ids if each not in text]
    if missing:
        raise DemoFailedError(f"Mosaic's page at {mosaic.url} does not show {', '.join(missing)}.")


def show_results(results: Path, sources: list[Path]) -> list[Path]:
    """Print the properties of the edited videos. Raise if one is missing or not 9:16."""
    print("\nEdited videos, completely decoded:")
    files: list[Path] = []
    for source in sources:
        folder = results / source.stem
        found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "_SUCCESS")
        files += found
        videos = [path for path in found if path.suffix == ".mp4"]
        if not videos:
            raise DemoFailedError(f"{folder} contains no edited video of {source.name}.")
        for path in videos:
            video = recordings.inspect(path)
            print(f"  {path.relative_to(ROOT)}\n      {video}")
            if not video.is_9_to_16:
                raise DemoFailedError(f"{path} is {video.width}x{video.height}, but the agent reframes to 9:16.")
    return files


def show_counts(comparisons: list[Comparison]) -> None:
    """Print the counts. Raise if they differ."""
    print(f"\n{'':<18}{'DAG':>15}{'Mosaic':>17}")
    for comparison in comparisons:
        print(f"  {comparison.name:<16}{comparison.expected:>15,}{comparison.counted:>17,}")
    different = [comparison.name for comparison in comparisons if comparison.expected != comparison.counted]
    if different:
        raise DemoFailedError(f"The counts of the DAG and the emulator differ: {', '.join(different)}.")


# Start and stop


def run_demo(folder: Path, started: set[int]) -> None:
    """Start all services, run the pipeline, print the results, and stop all services."""
    with step("Creating three recordings"):
        sources = recordings.make(folder / "recordings")
    for source in sources:
        print_line(f"  {source.name:<24} {recordings.inspect(source)}")
    with step("Starting the emulator"):
        emulator = Emulator(directory=folder / "mosaic", speed=1.0)
        mosaic = emulator.__enter__()
    try:
        print_line(f"  {mosaic.url}")
        airflow = AirflowInstance(
            folder / "airflow",
            dags=[ROOT / "example_dags"],
            environment={
                "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection(),
                "AIRFLOW_VAR_MOSAIC_AGENT_ID": mosaic.agent_id,
                "AIRFLOW_VAR_MOSAIC_RECORDINGS": str(folder / "recordings"),
                "AIRFLOW_VAR_MOSAIC_RESULTS": str(folder / "results"),
            },
        )
        try:
            with step("Starting Airflow (API server, scheduler, DAG processor, triggerer)"):
                airflow.start()
            print_line(f"  {airflow.url}")
            with step(f"Running {DAG_ID}"):
                run_pipeline(airflow)
            files = show_results(folder / "results", sources)
            show_counts(compare(mosaic, sources, files))
            print(f"\nAirflow's UI is at {airflow.url}/dags/{DAG_ID} (no password).")
            print(f"The emulator's page, with the videos, is at {mosaic.url}.")
            verify_page(mosaic)
            if os.environ.get("KEEP", "") not in ("", "0"):
                wait_for_user()
        finally:
            started |= descendants(os.getpid())
            with step("Stopping Airflow"):
                airflow.stop()
    finally:
        started |= descendants(os.getpid())
        with step("Stopping the emulator"):
            emulator.__exit__(None, None, None)


def wait_for_user() -> None:
    """Keep all services running until the user stops the demo."""
    if sys.stdin.isatty():
        print("All services keep running. Press Enter or Ctrl-C to stop them.", flush=True)
        sys.stdin.readline()
    else:
        print(f"All services keep running until `kill {os.getpid()}`.", flush=True)
        signal.pause()


def handle_signal(number: int, frame: FrameType | None) -> NoReturn:
    """Start the shutdown. Ignore further signals, which would interrupt it."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise StopRequested


def verify_processes_ended(started: set[int]) -> None:
    """Raise if a started process is still running."""

    def ended() -> bool:
        return not (started & living().keys())

    try:
        poll(lambda: ended() or None, timeout=10, what="the end of all processes")
    except DeadlineExceededError:
        raise DemoFailedError(f"Still running: {sorted(started & living().keys())}.") from None


def main() -> int:
    """Run the demo and return its exit status."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, handle_signal)
    folder = new_folder()
    started: set[int] = set()
    failure: DemoFailedError | None = None
    interrupted = False
    try:
        run_demo(folder, started)
    except DemoFailedError as error:
        failure = error
    except StopRequested:
        interrupted = True
    try:
        verify_processes_ended(started)
    except DemoFailedError as error:
        failure = failure or error
    if failure is not None:
        print(f"\n{failure.details}\n" if failure.details else "", file=sys.stderr)
        print(f"The demo failed. {failure} All files are in {folder.relative_to(ROOT)}.", file=sys.stderr)
        return 1
    print(f"All {len(started)} started processes have ended. Files: {folder.relative_to(ROOT)}")
    kept = os.environ.get("KEEP", "") not in ("", "0")
    return 130 if interrupted and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
