"""A program that started processes is ended by a signal: it stops them, and further signals don't interrupt that."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dev.interrupts import interrupt_on_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    handlers = {each: signal.getsignal(each) for each in SIGNALS}
    yield
    for each, handler in handlers.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_only_the_first_signal_interrupts(number: signal.Signals) -> None:
    interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    for each in SIGNALS:
        signal.raise_signal(each)
