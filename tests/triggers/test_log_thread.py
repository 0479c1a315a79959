"""The thread that writes the log lines of waits."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.triggers import MosaicRunTrigger, base, log_thread, shared_pollers
from airflow_provider_mosaic.triggers.log_thread import log_in_thread, wait_until_logged

from .any_run_server import RUNNING, AnyRuns, Runs, start_waits

task = contextvars.ContextVar("task", default="")


@pytest.fixture(autouse=True)
def _new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a thread for each test: one that a test blocks would hold up the lines of the others."""
    monkeypatch.setattr(log_thread, "_threads", {})


class FullSocket(logging.Handler):
    """Blocks the writer, as a full socket to the supervisor does, until it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = threading.Event()
        self.is_read = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.blocks.set()
        assert self.is_read.wait(20)


@pytest.fixture
def full_socket() -> Iterator[FullSocket]:
    handler, level = FullSocket(), base.log.level
    base.log.addHandler(handler)
    base.log.setLevel(logging.INFO)
    yield handler
    handler.is_read.set()
    base.log.removeHandler(handler)
    base.log.setLevel(level)


def test_full_socket_to_the_supervisor_blocks_no_wait(server: Runs, full_socket: FullSocket) -> None:
    server.run = lambda run_id: (200, {}, RUNNING | {"run_id": run_id})

    async def scenario() -> list[str]:
        waits = start_waits(3)
        assert await asyncio.to_thread(full_socket.blocks.wait, 20)
        server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})
        events = await asyncio.gather(*waits)
        assert not full_socket.is_read.is_set()
        return [event.payload["status"] for event in events]

    assert run_bounded(scenario()) == ["completed"] * 3


class Cancels(AnyRuns):
    """A client that records cancels."""

    def __init__(self) -> None:
        super().__init__("running")
        self.cancelled: list[str] = []

    async def send(self, call: Call[Any]) -> Any:
        self.cancelled.append(call.ids["run_id"])
        return call.read({})


def test_full_socket_to_the_supervisor_blocks_no_kill(full_socket: FullSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Cancels()
    monkeypatch.setattr(shared_pollers, "SharedClient", lambda look_up: client)
    monkeypatch.setattr(log_thread, "_MAX_DELAY", 0.05)

    async def scenario() -> None:
        for run_id in ("r0", "r1"):
            await MosaicRunTrigger(run_id=run_id, cancel_on_kill=True).on_kill()
        assert full_socket.blocks.is_set()
        assert not full_socket.is_read.is_set()

    run_bounded(scenario())
    assert client.cancelled == ["r0", "r1"]


def test_lines_are_written_in_order_and_in_the_context_of_their_task() -> None:
    lines: list[tuple[str, str]] = []
    log = partial(log_in_thread, lambda line: lines.append((task.get(), line)))

    async def scenario() -> None:
        for name in ("first", "second"):
            task.set(name)
            log("is running")
        await wait_until_logged()

    run_bounded(scenario())
    assert lines == [("first", "is running"), ("second", "is running")]


def test_many_lines_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_thread, "_SECONDS_PER_LINE", 0.02)
    written: list[float] = []
    are_queued = threading.Event()

    def write(line: str) -> None:
        assert are_queued.wait(20)
        written.append(time.monotonic())

    log = partial(log_in_thread, write)
    for number in range(30):
        log(str(number))
    are_queued.set()
    until(lambda: len(written) == 30)
    assert written[-1] - written[0] > 0.9 * 29 * 0.02


def test_lines_that_nothing_reads_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_thread, "_MAX_LINES", 5)
    written: list[str] = []
    is_writing, is_read = threading.Event(), threading.Event()

    def write(line: str) -> None:
        is_writing.set()
        assert is_read.wait(20)
        written.append(line)

    log = partial(log_in_thread, write)
    log("blocks")
    assert is_writing.wait(20)
    for number in range(20):
        log(str(number))
    is_read.set()
    until(lambda: len(written) == 6)
    until(lambda: "15 log lines of waits were left out" in caplog.text)
    log("last")
    until(lambda: written[-1] == "last")
    assert written == ["blocks", *map(str, range(5)), "last"]
