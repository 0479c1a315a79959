"""What the steps of a case act on: a DAG run on the shared Airflow, and an emulator of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import fixed_agents
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import living, members, poll
from mosaic_emulator.local_airflow.rest import RestError, TaskInstance

from .results import Outcome, count_effects

TASK_ID = "mosaic_task"
START_RUN = "/agent/{agent_id}/run"
LIST_RUNS = "/agent/{agent_id}/runs"
GET_RUN = "/agent_run/{run_id}"
CANCEL_RUN = "/agent_run/{run_id}/cancel"
RESUME_RUN = "/agent_run/{run_id}/resume"
CREATE_POST = "/social/post"
GET_POST = "/social/post/{post_id}"
CREATE_AGENT = "/agent/create"
UPDATE_AGENT = "/agent/{agent_id}/update"
CREATE_AVATAR = "/avatar-profiles/create"
FINALIZE_UPLOAD = "/uploads/{asset_type}/finalize_upload"

#: An agent with a video input.
AGENT_ID = "a0000000-0000-4000-8000-000000000001"
VIDEO_URL = "https://www.youtube.com/watch?v=aqz-KE-bpKQ"

_ENDED = ("success", "failed", "skipped")
#: Seconds for which the expected outcome must last. A second run or post may come late.
_STABLE_SECONDS = 4.0
#: By kind of task: the XCom key of the item's id, and the field of the id in the emulator.
_IDS = {
    "run": ("mosaic_run_id", "id"),
    "post": ("mosaic_post_id", "post_id"),
    "agent": ("mosaic_agent_id", "id"),
    "avatar": ("mosaic_avatar_profile_id", "id"),
    "upload": ("return_value", "id"),
}
#: Items of a new emulator, by kind.
_EXISTING = {"agent": len(fixed_agents())}


@dataclass(frozen=True, kw_only=True)
class TaskProcess:
    """A process of a task instance. ``method`` is ``execute``, or ``resume`` after a deferral."""

    pid: int
    try_number: int
    method: str


class Scenario:
    """
    The task and the emulator of a case.

    :param airflow: The Airflow that all cases share.
    :param mosaic: The emulator. No other case uses it at the same time.
    :param connection: The connection id of the emulator.
    :param control: The folder in which tasks record their processes.
    :param dag: The DAG, without its mode.
    :param mode: ``worker`` or ``deferred``: where the task waits.
    :param failpoints: The failpoints of the task.
    """

    def __init__(
        self,
        airflow: AirflowInstance,
        mosaic: Emulator,
        *,
        connection: str,
        control: Path,
        dag: str,
        mode: str,
        failpoints: tuple[str, ...] = (),
    ) -> None:
        self.airflow = airflow
        self.mosaic = mosaic
        self.mode = mode
        self.dag_id = f"{dag}_{mode}"
        self.run_id = f"case_{time.time_ns()}"
        self._folder = control / self.run_id
        self._folder.mkdir(parents=True)
        # The secrets backend of these connections fails on request.
        faulty = "failing_lookups" in failpoints
        self._connection = connection.replace("mosaic_", "faulty_") if faulty else connection
        self._failing_lookups = control / f"{self._connection}.failing"
        self._failing_lookups.unlink(missing_ok=True)
        self._failpoints = failpoints
        #: A run that exists before the task starts.
        self._existing_run = ""

    # The task

    def start(self) -> None:
        """Start the DAG run."""
        source = self._folder / "recording.mp4"
        source.write_bytes(os.urandom(200_000))
        conf = {
            "connection": self._connection,
            "failpoints": list(self._failpoints),
            "source": str(source),
            "text": f"Out now: {self.run_id}",
            "run": self._existing_run,
        }
        _change_airflow(lambda: self.airflow.trigger(self.dag_id, conf, run_id=self.run_id))

    def task(self) -> TaskInstance:
        """Return the task instance."""
        return self.airflow.rest.task_instance(self.dag_id, self.run_id, TASK_ID)

    def wait_for_state(self, *states: str, tries: int | None = None, timeout: float = 120) -> TaskInstance:
        """Wait until the task is in one of the states, with a try number if given."""

        def reached() -> TaskInstance | None:
            task = self.task()
            return task if task.state in states and tries in (None, task.try_number) else None

        return poll(reached, timeout=timeout, pause=0.4, what=f"{self.dag_id} is {' or '.join(states)}")

    def wait_for_dag_run(self) -> None:
        """Wait until the DAG run has ended."""
        poll(
            lambda: self.airflow.rest.dag_run(self.dag_id, self.run_id).ended or None,
            timeout=60,
            what=f"the end of {self.run_id}",
        )

    def wait_for_process(self, try_number: int = 1, method: str = "execute") -> TaskProcess:
        """Wait for the process of a try, and return it."""

        def read() -> TaskProcess | None:
            for path in sorted(self._folder.glob(f"{try_number}-{method}-*.json")):
                return TaskProcess(**json.loads(path.read_text()))
            return None

        return poll(read, timeout=90, pause=0.1, what=f"the process of try {try_number}, {method}")

    def signal(self, number: signal.Signals, process: TaskProcess) -> None:
        """Send a signal to a process of the task. Raise if the process does not belong to this Airflow."""
        if process.pid not in members(self.airflow.services["scheduler"].sessions):
            raise RuntimeError(f"process {process.pid} does not belong to this Airflow")
        os.kill(process.pid, number)

    def kill(self, try_number: int = 1, method: str = "execute") -> None:
        """Send SIGKILL to the task's process."""
        self.signal(signal.SIGKILL, self.wait_for_process(try_number, method))

    def kill_with_supervisor(self) -> None:
        """Send SIGKILL to the task's process and its supervisor, which would report the end of the process."""
        for process in self._processes():
            self.signal(signal.SIGKILL, process)

    def stall_with_supervisor(self) -> None:
        """Stop both processes until the retry polls the run. The supervisor then kills the task's process."""
        supervisor, process = self._processes()
        for each in (supervisor, process):
            self.signal(signal.SIGSTOP, each)
        try:
            polls = self.mosaic.counts().requests[f"GET {GET_RUN}"]
            self.wait_for_requests("GET", GET_RUN, polls + 2)
        finally:
            for each in (supervisor, process):
                self.signal(signal.SIGCONT, each)
        poll(lambda: process.pid not in living() or None, timeout=60, what="the end of the first try")

    def _processes(self) -> tuple[TaskProcess, TaskProcess]:
        """Return the supervisor of the task's process, and that process."""
        process = self.wait_for_process()
        supervisor = living()[process.pid].parent
        return TaskProcess(pid=supervisor, try_number=process.try_number, method="supervisor"), process

    def mark(self, state: str) -> None:
        """Mark the task as failed or success."""
        _change_airflow(lambda: self.airflow.rest.set_task_state(self.dag_id, self.run_id, TASK_ID, state))

    def clear(self) -> None:
        """Clear the task."""
        _change_airflow(lambda: self.airflow.rest.clear(self.dag_id, self.run_id, [TASK_ID]))

    def abort(self) -> None:
        """End the DAG run of a failed case."""
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"
        with contextlib.suppress(Exception):
            _change_airflow(lambda: self.airflow.rest.patch(path, {"state": "failed"}))
            self.wait_for_state(*_ENDED, timeout=30)

    # Mosaic

    def create_run(self) -> None:
        """Start a run outside Airflow. The task waits for it."""
        run = self._request("POST", START_RUN.format(agent_id=AGENT_ID), {"video_urls": [VIDEO_URL]})
        self._existing_run = run["run_id"]

    def create_failed_run(self) -> None:
        """Start a run outside Airflow and let it fail. The task resumes it."""
        self.create_run()
        self.mosaic.finish_run(self._existing_run, "failed", message="By hand")

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the emulator and return the response."""
        connection = json.loads(self.mosaic.airflow_connection())
        request = urllib.request.Request(
            connection["host"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {connection['password']}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def fail_lookups(self, times: int) -> None:
        """Let the next lookups of the connection fail."""
        self._failing_lookups.write_text(str(times))

    def wait_for_failed_lookups(self) -> None:
        """Wait until all these lookups have failed."""
        poll(lambda: self._failing_lookups.read_text() == "0" or None, timeout=90, pause=0.1, what="failed lookups")

    def hold_runs(self) -> None:
        """Keep runs and posts from ending."""
        self.mosaic.configure(hold_runs=True, hold_posts=True)

    def release_runs(self) -> None:
        """Let runs and posts end."""
        self.mosaic.configure(hold_runs=False, hold_posts=False)

    def wait_until(self, is_done: Callable[[], bool], what: str, *, timeout: float = 90) -> None:
        """Wait until the emulator has reached a state."""
        poll(lambda: is_done() or None, timeout=timeout, pause=0.1, what=what)

    def wait_for_requests(self, method: str, path: str, times: int = 1) -> None:
        """Wait until an endpoint has received a number of requests."""
        name = f"{method} {path}"
        self.wait_until(lambda: self.mosaic.counts().requests.get(name, 0) >= times, f"{times} times {name}")

    def wait_for_counts(self, **expected: int) -> None:
        """Wait until the emulator's counts have reached these values."""

        def reached() -> bool:
            counts = count_effects(self.mosaic)
            return all(counts[name] >= number for name, number in expected.items())

        self.wait_until(reached, str(expected))

    # The outcome

    def observe(self, expected: Outcome) -> Outcome:
        """
        Wait for the end of the task and return the outcome.

        The expected outcome has 20 seconds to appear, and must then last.
        """
        self.wait_for_state(*_ENDED, timeout=200)
        deadline = time.monotonic() + 20
        while self._read() != expected and time.monotonic() < deadline:
            time.sleep(0.5)
        stable_at = time.monotonic() + _STABLE_SECONDS
        observed = self._read()
        while observed == expected and time.monotonic() < stable_at:
            time.sleep(0.5)
            observed = self._read()
        return observed

    def _read(self) -> Outcome:
        task = self.task()
        # The logs are long, so they are only read if there was a second try.
        tries = task.try_number - (self.lost_tries() if task.try_number > 1 else 0)
        return Outcome(**count_effects(self.mosaic), state=str(task.state), tries=tries, xcom=self._xcom_position())

    def lost_tries(self) -> int:
        """
        Return how many tries Airflow itself lost, by the scheduler's log.

        If a trigger fires at once, the scheduler takes the end of the task's first process for that of its second.
        """
        lines = self.airflow.services["scheduler"].log.read_text(errors="replace").splitlines()
        return sum(self.run_id in line and "the task instance's state attribute is queued" in line for line in lines)

    def _xcom_position(self) -> int:
        """Return which item the task's XCom contains: 1 for the first, 0 for none, -1 for an unknown one."""
        kind = self.dag_id.partition("_")[0]
        key, field = _IDS[kind]
        items: list[dict[str, Any]]
        if kind == "avatar":
            items = self._request("GET", "/avatar-profiles")["avatar_profiles"]
        else:
            items = getattr(self.mosaic, f"{kind}s")()
        ids = [item.get(field) or item.get(f"{kind}_id") for item in items]
        try:
            xcom = self.airflow.rest.xcom(self.dag_id, self.run_id, TASK_ID, key)
        except RestError as error:
            if error.status != 404:
                raise
            return 0
        return ids.index(xcom) + 1 - _EXISTING.get(kind, 0) if xcom in ids else -1

    def log(self) -> str:
        """Return the logs of all tries."""
        texts = []
        for number in range(1, self.task().try_number + 1):
            try:
                text = self.airflow.rest.task_log(self.dag_id, self.run_id, TASK_ID, try_number=number)
            except RestError as error:
                text = str(error)
            texts.append(f"---- {self.dag_id} {self.run_id} try {number}\n{text}")
        return "\n".join(texts)


#: On SQLite, two changes at the same time block each other in the API server.
_change_lock = threading.Lock()


def _change_airflow(send: Callable[[], Any]) -> None:
    """Send a change to Airflow until it succeeds. Under load, the database is locked at times."""
    deadline = time.monotonic() + 30
    is_repeat = False
    while True:
        try:
            with _change_lock:
                send()
            return
        except RestError as error:
            if is_repeat and error.status == 409:
                return
            if error.status < 500 or time.monotonic() > deadline:
                raise
        is_repeat = True
        time.sleep(0.5)
