"""Kill a task as Airflow does, when the server has received a request, and let its supervisor die."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder
from mosaic_emulator import Emulator

from airflow_provider_mosaic.clients.sync_client import SyncClient
from tasks.fakes import TaskRunner
from tasks.fixtures import InBackground, until


@contextmanager
def killed_once(is_time: Callable[[], object], task: TaskRunner, *, signals: int = 1) -> Iterator[None]:
    """
    Send a signal during the block, once something holds.

    The handler calls ``on_kill`` like Airflow's, in the main thread, and the code continues.
    """
    main = threading.main_thread()
    assert threading.current_thread() is main

    def on_signal(*_: object) -> None:
        for _ in range(signals):
            task.operator.on_kill()

    before = signal.signal(signal.SIGALRM, on_signal)

    def kill() -> None:
        until(is_time)
        signal.pthread_kill(main.ident or 0, signal.SIGALRM)

    try:
        with InBackground(kill):
            yield
    finally:
        signal.signal(signal.SIGALRM, before)


@contextmanager
def killed_during(
    method: str, path: str, task: TaskRunner, monkeypatch: pytest.MonkeyPatch, *, is_answered: bool = True
) -> Iterator[None]:
    """
    Kill a task in its next request to an endpoint, as a signal in the main thread does.

    :param path: The template of the path.
    :param is_answered: Whether the server has answered by then, and the client has not returned. Otherwise the client
        has decided to send the request, and the server has not received it.
    """
    request_over, left = SyncClient._request_over, [task]

    def request_and_kill(client: SyncClient, session: Any, call: Any, url: str) -> Any:
        if not left or (call.method, call.path) != (method, path):
            return request_over(client, session, call, url)
        killed = left.pop()
        if not is_answered:
            killed.operator.on_kill()
        response = request_over(client, session, call, url)
        if is_answered:
            killed.operator.on_kill()
        return response

    with monkeypatch.context() as patch:
        patch.setattr(SyncClient, "_request_over", request_and_kill)
        yield
    assert not left, "the request was never sent"


def received(mosaic: Emulator, method: str, template: str) -> Callable[[], bool]:
    """Return what tells whether the server has received a request since now, also one that it has not answered."""

    def count() -> int:
        return sum((each["method"], each["template"]) == (method, template) for each in mosaic.requests())

    before = count()
    return lambda: count() > before


class Comms(CommsDecoder[Any, Any]):
    """The connection to a supervisor that answers each request with nothing."""

    def send(self, msg: Any) -> Any:
        """Send nothing."""


@pytest.fixture
def supervisor(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Run the test as a task with a supervisor. Return the supervisor's end of their socket: it dies when it closes."""
    # An API server that responds: a kill is no outage.
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{mosaic.url}/execution/")
    here, there = socket.socketpair()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(socket=here), raising=False)
    with closing(here), closing(there):
        yield there


def fork_supervisor(act: Callable[[], object], there: socket.socket) -> tuple[int, int]:
    """
    Fork a supervisor, which forks the process of a task.

    :param act: What the task does.
    :param there: The supervisor's end of its socket with the task.
    :returns: The supervisor's process id, and a pipe that ends with the process of the task. It contains the error.
    """
    reading, writing = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        try:
            # A lock that another thread held at the fork is never released. The alarm ends the process then.
            signal.alarm(30)
            if os.fork() > 0:
                signal.pause()
            signal.alarm(30)
            there.close()
            act()
        except BaseException as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    there.close()
    return supervisor, reading
