"""How `make distributed` measures the recovery from a killed triggerer and a killed worker."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from dev.distributed import AGENTS, LostTasks, Takeover, make_batches
from dev.metadata_reader import MetadataReader, RunningTask
from dev.redis import Redis


class FakeReader:
    """A fake metadata reader with given triggers and tasks."""

    def __init__(self, triggerers_of: dict[int, int | None], tasks: dict[str, tuple[str, int]]) -> None:
        self._holders = triggerers_of
        self._tasks = tasks

    def triggerers_of(self, triggers: Iterable[int]) -> dict[int, int | None]:
        return {trigger: self._holders[trigger] for trigger in triggers if trigger in self._holders}

    def state_and_try(self, lost: RunningTask) -> tuple[str, int]:
        return self._tasks[lost.task_id]


def reader(triggerers_of: dict[int, int | None] | None = None, **tasks: tuple[str, int]) -> MetadataReader:
    return cast("MetadataReader", FakeReader(triggerers_of or {}, tasks))


def test_takeover_ends_when_the_killed_triggerer_has_no_triggers() -> None:
    state = Takeover(lost="triggerer", triggers={1, 2, 3}, at=time.monotonic())
    state.update(reader({1: 7, 2: 7, 3: 7}), dead=7)
    assert (state.first, state.last) == (None, None)
    state.update(reader({1: 8, 2: 7, 3: 7}), dead=7)
    assert state.first is not None
    assert state.last is None
    # The first run has ended, and its trigger is deleted.
    state.update(reader({2: 8, 3: 8}), dead=7)
    assert state.last is not None
    assert state.last >= state.first


def test_lost_task_is_restarted_when_a_later_attempt_runs() -> None:
    tasks = [
        RunningTask(run_id="night-1", task_id=task, map_index=0, try_number=1, pid=1)
        for task in ("upload", "edit", "fetch")
    ]
    state = LostTasks(lost="worker-1", tasks=tasks, at=time.monotonic())
    state.update(reader(upload=("running", 1), edit=("up_for_retry", 1), fetch=("queued", 2)))
    assert state.restarted_after == {}
    state.update(reader(upload=("up_for_retry", 1), edit=("deferred", 2), fetch=("running", 2)))
    assert set(state.restarted_after) == {"edit[night-1 0]", "fetch[night-1 0]"}


@pytest.mark.parametrize("number", [3, 20, 200])
def test_batches_contain_each_recording_once(tmp_path: Path, number: int) -> None:
    batches = make_batches(tmp_path, number)
    assert [batch.agent for batch in batches] == list(AGENTS)
    assert sum(len(batch.pipelines) for batch in batches) == number
    contents: set[bytes] = set()
    for batch in batches:
        files = sorted(batch.recordings.glob("*.mp4"))
        assert [path.stem for path in files] == [pipeline.name for pipeline in batch.pipelines]
        contents |= {path.read_bytes() for path in files}
    assert len(contents) == number


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_requires_its_password_and_stops(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis, socket.create_connection(("127.0.0.1", redis.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
        port = redis.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
