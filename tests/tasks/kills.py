"""Kill a task as Airflow does, when the server has received a request."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mosaic_emulator import Emulator

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


def received(mosaic: Emulator, method: str, template: str) -> Callable[[], bool]:
    """Return what tells whether the server has received a request since now, also one that it has not answered."""

    def count() -> int:
        return sum((each["method"], each["template"]) == (method, template) for each in mosaic.requests())

    before = count()
    return lambda: count() > before
