"""Where one case is played: its own DAG run on the shared Airflow, and a local Mosaic that counts for it alone."""

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

from dev.airflow_instance import AirflowInstance
from dev.airflow_rest import RestError, TaskInstance
from dev.processes import living, members, poll

from .ledger import Outcome, seen_by

TASK = "effect"
START = "/agent/{agent_id}/run"
LIST = "/agent/{agent_id}/runs"
LOOK = "/agent_run/{run_id}"
POST = "/social/post"
POST_LOOK = "/social/post/{post_id}"
AGENT = "/agent/create"
AGENT_UPDATE = "/agent/{agent_id}/update"
AVATAR = "/avatar-profiles/create"
RESUME = "/agent_run/{run_id}/resume"
#: An agent that takes a film.
SOME_AGENT = "a0000000-0000-4000-8000-000000000001"
FINALIZE = "/uploads/{asset_type}/finalize_upload"

_ENDED = ("success", "failed", "skipped")
#: How long everything must stand as it should before it is believed: what comes too much comes late.
_QUIET = 4.0
#: Where a task names what it began, and the field by which the local Mosaic does.
_KINDS = {
    "run": ("mosaic_run_id", "id"),
    "post": ("mosaic_post_id", "post_id"),
    "agent": ("mosaic_agent_id", "id"),
    "avatar": ("mosaic_avatar_profile_id", "id"),
    "upload": ("return_value", "id"),
}
#: Agents that every local Mosaic has from its start; of all else there is nothing.
_THERE_BEFORE = {"agent": len(fixed_agents())}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of a task: a try's beginning, or its going on after a deferral."""

    pid: int
    try_number: int
    part: str


class Scenario:
    """
    One case.

    :param airflow: The Airflow that all cases share.
    :param mosaic: The local Mosaic, which no other case uses meanwhile.
    :param connection: The name under which Airflow knows it.
    :param control: The folder in which tasks say which processes they are.
    :param shape: How the task is set up.
    :param mode: Where it waits.
    :param seams: The seams that its processes set.
    """

    def __init__(
        self,
        airflow: AirflowInstance,
        mosaic: Emulator,
        *,
        connection: str,
        control: Path,
        shape: str,
        mode: str,
        seams: tuple[str, ...] = (),
    ) -> None:
        self.airflow = airflow
        self.mosaic = mosaic
        self.mode = mode
        self.dag_id = f"{shape}_{mode}"
        self.run_id = f"case_{time.time_ns()}"
        self._folder = control / self.run_id
        self._folder.mkdir(parents=True)
        # One whose lookups fail when they are told to.
        faulty = "faulty_lookups" in seams
        self._connection = connection.replace("mosaic_", "faulty_") if faulty else connection
        self._away = control / f"{self._connection}.away"
        self._away.unlink(missing_ok=True)
        self._seams = seams
        #: A run that was there before the task.
        self.earlier_run = ""

    # The task

    def start(self) -> None:
        """Start the DAG run."""
        source = self._folder / "recording.mp4"
        source.write_bytes(os.urandom(200_000))
        conf = {
            "connection": self._connection,
            "seams": list(self._seams),
            "source": str(source),
            "text": f"Out now: {self.run_id}",
            "run": self.earlier_run,
        }
        _insist(lambda: self.airflow.trigger(self.dag_id, conf, run_id=self.run_id))

    def task(self) -> TaskInstance:
        """The task as Airflow shows it."""
        return self.airflow.rest.task_instance(self.dag_id, self.run_id, TASK)

    def until_state(self, *states: str, tries: int | None = None, timeout: float = 120) -> TaskInstance:
        """Wait until the task is in one of the states, in a certain try if that matters."""

        def reached() -> TaskInstance | None:
            task = self.task()
            return task if task.state in states and tries in (None, task.try_number) else None

        return poll(reached, timeout=timeout, pause=0.4, what=f"{self.dag_id} is {' or '.join(states)}")

    def until_done(self) -> None:
        """Wait until the DAG run has ended."""
        poll(
            lambda: self.airflow.rest.dag_run(self.dag_id, self.run_id).ended or None,
            timeout=60,
            what=f"the end of {self.run_id}",
        )

    def process(self, try_number: int = 1, part: str = "execute") -> Part:
        """The process of a try, once it is there."""

        def there() -> Part | None:
            for path in sorted(self._folder.glob(f"{try_number}-{part}-*.json")):
                said = json.loads(path.read_text())
                return Part(pid=said["pid"], try_number=said["try"], part=said["part"])
            return None

        return poll(there, timeout=90, pause=0.1, what=f"the process of try {try_number}, {part}")

    def signal(self, number: signal.Signals, part: Part) -> None:
        """Send a signal to a task's process, which must be one of our scheduler's."""
        if part.pid not in members(self.airflow.services["scheduler"].sessions):
            raise RuntimeError(f"process {part.pid} is none of our scheduler's")
        os.kill(part.pid, number)

    def kill(self, try_number: int = 1, part: str = "execute") -> None:
        """SIGKILL the task's process."""
        self.signal(signal.SIGKILL, self.process(try_number, part))

    def lose_machine(self) -> None:
        """SIGKILL the task's process and the one that watches over it: nobody is left to say that it died."""
        part = self.process()
        watcher = living()[part.pid].parent
        self.signal(signal.SIGKILL, Part(pid=watcher, try_number=part.try_number, part="watcher"))
        self.signal(signal.SIGKILL, part)

    def mark(self, state: str) -> None:
        """Mark the task, as a person does."""
        _insist(lambda: self.airflow.rest.set_task_state(self.dag_id, self.run_id, TASK, state))

    def clear(self) -> None:
        """Clear the task, as a person does who wants it done again."""
        _insist(lambda: self.airflow.rest.clear(self.dag_id, self.run_id, [TASK]))

    def give_up(self) -> None:
        """End a DAG run that did not go as it should."""
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"
        with contextlib.suppress(Exception):
            _insist(lambda: self.airflow.rest.patch(path, {"state": "failed"}))
            self.until_state(*_ENDED, timeout=30)

    # Mosaic

    def start_and_fail_run(self) -> None:
        """Somebody has started a run, which has failed, and the task is to resume it."""
        body = {"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}
        self.earlier_run = self._ask("POST", START.format(agent_id=SOME_AGENT), body)["run_id"]
        self.mosaic.finish_run(self.earlier_run, "failed", message="By hand")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request of somebody's to the local Mosaic, as its documentation has it."""
        connection = json.loads(self.mosaic.airflow_connection())
        request = urllib.request.Request(
            connection["host"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {connection['password']}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def start_run(self) -> None:
        """Somebody has started a run, and the task is to wait for it."""
        body = {"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}
        self.earlier_run = self._ask("POST", START.format(agent_id=SOME_AGENT), body)["run_id"]

    def lookups_fail(self, times: int) -> None:
        """The next lookups of the connection fail."""
        self._away.write_text(str(times))

    def until_lookups_failed(self) -> None:
        """Wait until all of them have failed."""
        poll(lambda: self._away.read_text() == "0" or None, timeout=90, pause=0.1, what="lookups that failed")

    def hold_runs(self) -> None:
        """Runs go on until they are let go."""
        self.mosaic.configure(hold_runs=True, hold_posts=True)

    def let_go(self) -> None:
        """What is held goes on to its end."""
        self.mosaic.configure(hold_runs=False, hold_posts=False)

    def until(self, look: Callable[[], bool], what: str, *, timeout: float = 90) -> None:
        """Wait for something of the emulator's."""
        poll(lambda: look() or None, timeout=timeout, pause=0.1, what=what)

    def until_request(self, method: str, path: str, times: int = 1) -> None:
        """Wait until a request has come in so many times."""
        name = f"{method} {path}"
        self.until(lambda: self.mosaic.counts().requests.get(name, 0) >= times, f"{times} times {name}")

    def until_counted(self, **wanted: int) -> None:
        """Wait until the emulator has counted so much."""
        self.until(lambda: all(seen_by(self.mosaic)[name] >= number for name, number in wanted.items()), str(wanted))

    # The end

    def outcome(self, expected: Outcome) -> Outcome:
        """How it ended: as soon as it stands as expected, and still does a while later; or after a time of waiting."""
        self.until_state(*_ENDED, timeout=200)
        deadline = time.monotonic() + 20
        while self._read() != expected and time.monotonic() < deadline:
            time.sleep(0.5)
        quiet = time.monotonic() + _QUIET
        seen = self._read()
        while seen == expected and time.monotonic() < quiet:
            time.sleep(0.5)
            seen = self._read()
        return seen

    def _read(self) -> Outcome:
        task = self.task()
        # Read only where there are more tries than one: the logs are long.
        lost = sum(self.lost_tries().values()) if task.try_number > 1 else 0
        return Outcome(**seen_by(self.mosaic), state=str(task.state), tries=task.try_number - lost, names=self._named())

    def lost_tries(self) -> dict[str, int]:
        """
        Tries that Airflow lost by itself, by what its logs say of it. They are no part of what is promised.

        The scheduler takes the end of a task's first part for that of its second, when a trigger fires at once.
        """
        requeued = self.airflow.services["scheduler"].log.read_text(errors="replace").splitlines()
        lost = sum(self.run_id in line and "the task instance's state attribute is queued" in line for line in requeued)
        return {"took a resumed part for ended": lost} if lost else {}

    def _named(self) -> int:
        kind = self.dag_id.partition("_")[0]
        key, field = _KINDS[kind]
        there: list[dict[str, Any]]
        if kind == "avatar":
            there = self._ask("GET", "/avatar-profiles")["avatar_profiles"]
        else:
            there = getattr(self.mosaic, f"{kind}s")()
        ids = [each.get(field) or each.get(f"{kind}_id") for each in there]
        try:
            named = self.airflow.rest.xcom(self.dag_id, self.run_id, TASK, key)
        except RestError as error:
            if error.status != 404:
                raise
            return 0
        return ids.index(named) + 1 - _THERE_BEFORE.get(kind, 0) if named in ids else -1

    def log(self) -> str:
        """What every try logged."""
        texts = []
        for number in range(1, self.task().try_number + 1):
            try:
                text = self.airflow.rest.task_log(self.dag_id, self.run_id, TASK, try_number=number)
            except RestError as error:
                text = str(error)
            texts.append(f"---- {self.dag_id} {self.run_id} try {number}\n{text}")
        return "\n".join(texts)


#: With SQLite, two changes at the same time lock each other out in the API server, each waiting in the same thread.
_one_change = threading.Lock()


def _insist(ask: Callable[[], Any]) -> None:
    """Ask Airflow for a change until it is made: under load its database is locked at times."""
    deadline = time.monotonic() + 30
    again = False
    while True:
        try:
            with _one_change:
                ask()
            return
        except RestError as error:
            if again and error.status == 409:
                return
            if error.status < 500 or time.monotonic() > deadline:
                raise
        again = True
        time.sleep(0.5)
