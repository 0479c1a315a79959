"""How `make distributed` tells what became of a lost triggerer's waits and of a lost worker's tasks."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from dev.distributed import AGENTS, LostWork, TakeOver, make_nights
from dev.distributed_watch import Slice, Watch
from dev.redis import Redis


class Told:
    """A database that says what the test wants."""

    def __init__(self, holders: dict[int, int | None], tasks: dict[str, tuple[str, int]]) -> None:
        self._holders = holders
        self._tasks = tasks

    def holders(self, waits: Iterable[int]) -> dict[int, int | None]:
        return {wait: self._holders[wait] for wait in waits if wait in self._holders}

    def state_and_try(self, lost: Slice) -> tuple[str, int]:
        return self._tasks[lost.task_id]


def watch(holders: dict[int, int | None] | None = None, **tasks: tuple[str, int]) -> Watch:
    return cast("Watch", Told(holders or {}, tasks))


def test_waits_are_taken_over_when_the_dead_holds_none_of_them() -> None:
    seen = TakeOver(lost="triggerer", waits={1, 2, 3}, at=time.monotonic())
    seen.look(watch({1: 7, 2: 7, 3: 7}), dead=7)
    assert (seen.first, seen.last) == (None, None)
    seen.look(watch({1: 8, 2: 7, 3: 7}), dead=7)
    assert seen.first is not None
    assert seen.last is None
    # The first has come to its end by now, and its wait is gone.
    seen.look(watch({2: 8, 3: 8}), dead=7)
    assert seen.last is not None
    assert seen.last >= seen.first


def test_a_lost_task_has_gone_on_when_a_later_try_runs() -> None:
    slices = [
        Slice(run_id="night-1", task_id=task, map_index=0, try_number=1, pid=1) for task in ("upload", "edit", "fetch")
    ]
    seen = LostWork(lost="worker-1", slices=slices, at=time.monotonic())
    seen.look(watch(upload=("running", 1), edit=("up_for_retry", 1), fetch=("queued", 2)))
    assert seen.went_on == {}
    seen.look(watch(upload=("up_for_retry", 1), edit=("deferred", 2), fetch=("running", 2)))
    assert set(seen.went_on) == {"edit[night-1 0]", "fetch[night-1 0]"}


@pytest.mark.parametrize("number", [3, 20, 200])
def test_the_nights_hold_every_recording_once_in_the_order_of_their_mapping(tmp_path: Path, number: int) -> None:
    nights = make_nights(tmp_path, number)
    assert [night.agent for night in nights] == list(AGENTS)
    assert sum(len(night.pipelines) for night in nights) == number
    contents: set[bytes] = set()
    for night in nights:
        files = sorted(night.recordings.glob("*.mp4"))
        assert [path.stem for path in files] == [pipeline.name for pipeline in night.pipelines]
        contents |= {path.read_bytes() for path in files}
    assert len(contents) == number


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_comes_up_for_those_who_know_its_password_and_goes_without_a_trace(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis, socket.create_connection(("127.0.0.1", redis.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
        port = redis.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
