"""Run the nightly pipeline, cause its two failures, and print what happens to each recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.rest import TaskInstance
from mosaic_emulator.process import Emulator

DAG_ID = "mosaic_nightly_pipeline"
FAILED_TILE = "Captions"
_START = "/agent/{agent_id}/run"
_LOST_RESPONSE = "response_lost"
_GROUP = "recording."
_EVENTS = {
    ("upload", "success"): "uploaded",
    ("edit", "deferred"): "Mosaic edits it; the task is deferred and holds no worker",
    ("edit", "up_for_retry"): "the task has failed; Airflow retries it",
    ("edit", "success"): "edited",
    ("download", "success"): "downloaded",
    ("post", "success"): "posted",
}


class PipelineFailedError(Exception):
    """The DAG run failed, or Mosaic counted something else than the pipeline needs. Further lines have details."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a recording."""

    recording: str
    text: str


class Pipeline:
    """
    A DAG run of the nightly pipeline.

    The response to one start is lost: the task searches for the run. A tile of another run fails: the retry resumes
    the run.

    :param tile_fails: Whether to let a tile fail, which heals only if a retry knows its run.
    """

    def __init__(
        self,
        mosaic: Emulator,
        airflow: AirflowInstance,
        sources: list[Path],
        *,
        tile_fails: bool,
        print_line: Callable[[str], None],
    ) -> None:
        self._mosaic = mosaic
        self._airflow = airflow
        # The order of the DAG's mapped tasks.
        self._names = sorted(source.name for source in sources)
        self._print_line = print_line
        self._tile_fails = tile_fails
        self._run_id = ""
        #: The recording whose start lost its response, and the recording whose tile failed.
        self._lost: str | None = None
        self._failed: str | None = None
        self.story: list[Event] = []

    def run(self) -> None:
        """
        Run the DAG until its end.

        :raises PipelineFailedError: It failed, or an effect did not happen exactly once.
        """
        self._mosaic.inject(_LOST_RESPONSE, method="POST", path=_START)
        self._run_id = self._airflow.trigger(DAG_ID)
        ended = self._airflow.wait_for_dag_run(DAG_ID, self._run_id, timeout=300, on_change=self._on_change)
        if ended.state != "success":
            raise PipelineFailedError(f"{DAG_ID} ended as {ended.state}.\n{self._failed_logs()}")
        counts = self._mosaic.counts()
        effects = {"uploads": counts.uploads_finalized, "runs": counts.runs_started, "posts": counts.posts_made}
        wrong = {name: count for name, count in effects.items() if count != len(self._names)}
        if wrong:
            raise PipelineFailedError(f"{len(self._names)} recordings, but Mosaic has counted {wrong}.")

    def edited_files(self, folder: Path) -> dict[str, list[Path]]:
        """
        Return the edited videos by recording.

        :raises PipelineFailedError: A recording has none.
        """
        edited = {name: sorted((folder / name).glob("*.mp4")) for name in self._names}
        for name, files in edited.items():
            if not files:
                raise PipelineFailedError(f"{folder / name} contains no edited video.")
        return edited

    def _on_change(self, task: TaskInstance) -> None:
        if task.map_index < 0:
            return
        name, step = self._names[task.map_index], task.task_id.removeprefix(_GROUP)
        self._report_lost_response()
        text = _EVENTS.get((step, task.state or ""))
        if (step, task.state) == ("edit", "deferred") and task.try_number > 1:
            text = f"the run is resumed: only {FAILED_TILE} is edited again"
        if (step, task.state, name) == ("edit", "success", self._lost):
            text = "edited: the search has found the run, and no second one was started"
        if text is not None:
            self._tell(name, text)
        elif task.state == "failed":
            self._tell(name, f"{step} has failed")
        if (step, task.state, task.try_number) == ("edit", "deferred", 1) and name != self._lost:
            self._fail_tile(task.map_index)

    def _report_lost_response(self) -> None:
        """Find the recording to whose start the emulator did not respond."""
        if self._lost is not None:
            return
        for request in self._mosaic.requests():
            if request["fault"] == _LOST_RESPONSE:
                self._lost = self._names[self._uploaded(request["body"]["video_ids"][0])]
                self._tell(self._lost, "FAULT: the response to the start of its run is lost; the task searches for it")

    def _uploaded(self, asset_id: str) -> int:
        """Return the map index of the upload of an asset."""
        for index in range(len(self._names)):
            if self._airflow.rest.xcom(DAG_ID, self._run_id, f"{_GROUP}upload", map_index=index) == asset_id:
                return index
        raise PipelineFailedError(f"No upload has returned the asset {asset_id}.")

    def _fail_tile(self, map_index: int) -> None:
        """Let a tile of a run fail, once."""
        if self._failed is not None or not self._tile_fails:
            return
        self._failed = self._names[map_index]
        run_id = self._airflow.rest.xcom(DAG_ID, self._run_id, f"{_GROUP}edit", "mosaic_run_id", map_index)
        message = "The speech service did not answer"
        self._mosaic.finish_run(run_id, "failed", message=message, failed=[FAILED_TILE])
        self._tell(self._failed, f"FAULT: its tile {FAILED_TILE} fails: {message}")

    def _tell(self, name: str, text: str) -> None:
        self.story.append(Event(recording=name, text=text))
        self._print_line(f"  {name:<18} {text}")

    def _failed_logs(self) -> str:
        rest = self._airflow.rest
        failed = [task for task in rest.task_instances(DAG_ID, self._run_id) if task.state == "failed"]
        return "\n".join(
            f"Log of {task.name}:\n"
            + rest.task_log(DAG_ID, self._run_id, task.task_id, try_number=task.try_number, map_index=task.map_index)
            for task in failed
        )
