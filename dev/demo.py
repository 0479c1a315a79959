"""The nightly pipeline from nothing: recordings, a local Mosaic, a real Airflow, and the edited films on disk.

Everything is written under ``.local/demo/``, each run in a folder of its own, and everything that is started is ended.
``KEEP=1`` leaves it up for a look until Enter or Ctrl-C.
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
    """One sentence that says which part failed, and what there is to read about it."""

    def __init__(self, sentence: str, evidence: str = "") -> None:
        super().__init__(sentence)
        self.evidence = evidence


class StopRequested(BaseException):
    """A person or the system wants it to end."""


def say(text: str = "") -> None:
    """Print a line at once, with the seconds since the beginning."""
    print(f"{time.monotonic() - CLOCK:6.1f} s  {text}" if text else "", flush=True)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Name the part of the demo that is under way, for the sentence that tells of its failure."""
    say(f"{name} ...")
    try:
        yield
    except DemoFailedError:
        raise
    except Exception as error:
        first, _, rest = str(error).partition("\n")
        raise DemoFailedError(f"{name} failed: {type(error).__name__}: {first}", rest) from error


def new_folder() -> Path:
    """A folder of this run alone, also when two demos start in the same second."""
    folder = ROOT / ".local" / "demo" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


# ------------------------------------------------------------------------------------------------------- the pipeline


def tell(task: TaskInstance) -> None:
    """Say what a task does now."""
    again = f" (try {task.try_number})" if task.try_number > 1 else ""
    notes = {"deferred": "   Mosaic edits; no worker is held"}
    say(f"  {task.name:<24} {task.state}{again}{notes.get(task.state or '', '')}")


def run_pipeline(airflow: AirflowInstance) -> None:
    """Run the DAG to its end; where it fails, raise with the log of the task that failed."""
    run_id = airflow.trigger(DAG_ID)
    run = airflow.wait_for_dag_run(DAG_ID, run_id, timeout=300, on_change=tell)
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
    """What the DAG asked for, beside what the emulator counted."""

    what: str
    asked: int
    counted: int


def whole_files_served(mosaic: Emulator) -> int:
    """How many stored files Mosaic handed out whole; a look at the first byte is none."""
    media = [each for each in mosaic.requests() if each["template"].startswith("/mosaic-emulator-media/")]
    return sum(each["method"] == "GET" and each["status"] == 200 for each in media)


def compare(mosaic: Emulator, sources: list[Path], files: list[Path]) -> list[Comparison]:
    """Count on both sides: each recording is uploaded, edited and posted once, each file on disk fetched once."""
    counts = mosaic.counts()
    asked = len(sources)
    size = sum(path.stat().st_size for path in sources)
    return [
        Comparison(what="uploads", asked=asked, counted=counts.uploads_finalized),
        Comparison(what="bytes uploaded", asked=size, counted=counts.bytes_stored),
        Comparison(what="runs started", asked=asked, counted=counts.runs_started),
        Comparison(what="files fetched", asked=len(files), counted=whole_files_served(mosaic)),
        Comparison(what="posts made", asked=asked, counted=counts.posts_made),
    ]


def verify_page(mosaic: Emulator) -> None:
    """Raise where the page that shows what Mosaic holds misses a run or a post."""
    # No proxy of the environment stands between the demo and its emulator.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(mosaic.url, timeout=30) as answer:
        text: str = answer.read().decode()
    things = [each["run_id"] for each in mosaic.runs()] + [each["post_id"] for each in mosaic.posts()]
    missing = [each for each in things if each not in text]
    if missing:
        raise DemoFailedError(f"Mosaic's page at {mosaic.url} does not show {', '.join(missing)}.")


def show_results(results: Path, sources: list[Path]) -> list[Path]:
    """Print the edited films with their facts; raise where one is missing or not upright."""
    print("\nEdited films, decoded from beginning to end:")
    files: list[Path] = []
    for source in sources:
        folder = results / source.stem
        found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "_SUCCESS")
        files += found
        films = [path for path in found if path.suffix == ".mp4"]
        if not films:
            raise DemoFailedError(f"There is no edited film of {source.name} in {folder}.")
        for path in films:
            film = recordings.inspect(path)
            print(f"  {path.relative_to(ROOT)}\n      {film}")
            if not film.is_9_to_16:
                raise DemoFailedError(f"{path} is {film.width}x{film.height}, and the agent reframes to 9:16.")
    return files


def show_counts(comparisons: list[Comparison]) -> None:
    """Print both sides; raise where they differ."""
    print(f"\n{'':<18}{'the DAG asked':>15}{'Mosaic counted':>17}")
    for line in comparisons:
        print(f"  {line.what:<16}{line.asked:>15,}{line.counted:>17,}")
    wrong = [line.what for line in comparisons if line.asked != line.counted]
    if wrong:
        raise DemoFailedError(f"The emulator counted other {', '.join(wrong)} than the DAG asked for.")


# ------------------------------------------------------------------------------------------------------- up and down


def play(folder: Path, started: set[int]) -> None:
    """Bring everything up, run the pipeline, show what came out; end everything."""
    with part("Making three recordings with picture and sound"):
        sources = recordings.make(folder / "recordings")
    for source in sources:
        say(f"  {source.name:<24} {recordings.inspect(source)}")
    with part("Starting the local Mosaic"):
        emulator = Emulator(directory=folder / "mosaic", speed=1.0)
        mosaic = emulator.__enter__()
    try:
        say(f"  {mosaic.url}")
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
            with part("Starting Airflow (API server, scheduler, DAG processor, triggerer)"):
                airflow.start()
            say(f"  {airflow.url}")
            with part(f"Running {DAG_ID}"):
                run_pipeline(airflow)
            files = show_results(folder / "results", sources)
            show_counts(compare(mosaic, sources, files))
            print(f"\nAirflow's UI is at {airflow.url}/dags/{DAG_ID} (no password).")
            print(f"What Mosaic holds, with the films: {mosaic.url} (a page, and the API's address)")
            verify_page(mosaic)
            if os.environ.get("KEEP", "") not in ("", "0"):
                keep()
        finally:
            started |= descendants(os.getpid())
            with part("Ending Airflow"):
                airflow.stop()
    finally:
        started |= descendants(os.getpid())
        with part("Ending the local Mosaic"):
            emulator.__exit__(None, None, None)


def keep() -> None:
    """Leave everything up until a person has seen enough."""
    if sys.stdin.isatty():
        print("Everything stays up. Press Enter or Ctrl-C to end it.", flush=True)
        sys.stdin.readline()
    else:
        print(f"Everything stays up until `kill {os.getpid()}`.", flush=True)
        signal.pause()


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """End the demo in good order, once: a second signal must not break off the ending."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise StopRequested


def verify_nothing_runs(started: set[int]) -> None:
    """Raise when a process lives on that the demo started."""

    def ended() -> bool:
        return not (started & living().keys())

    try:
        poll(lambda: ended() or None, timeout=10, what="the end of all processes")
    except DeadlineExceededError:
        raise DemoFailedError(f"Still running: {sorted(started & living().keys())}.") from None


def main() -> int:
    """Run the demo and say how it went."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    folder = new_folder()
    started: set[int] = set()
    failure: DemoFailedError | None = None
    interrupted = False
    try:
        play(folder, started)
    except DemoFailedError as error:
        failure = error
    except StopRequested:
        interrupted = True
    try:
        verify_nothing_runs(started)
    except DemoFailedError as error:
        failure = failure or error
    if failure is not None:
        print(f"\n{failure.evidence}\n" if failure.evidence else "", file=sys.stderr)
        print(f"The demo failed. {failure} Everything it wrote is in {folder.relative_to(ROOT)}.", file=sys.stderr)
        return 1
    print(f"Nothing that was started is still running ({len(started)} processes). Files: {folder.relative_to(ROOT)}")
    kept = os.environ.get("KEEP", "") not in ("", "0")
    return 130 if interrupted and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
