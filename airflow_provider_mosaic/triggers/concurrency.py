"""Limit how many polls run at the same time, without letting slow ones block the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds after which a poll gives its slot to another: a request that hangs delays only its own wait.
SLOW = 3.0
#: The same when many requests hang. Each holds a socket until its timeout, and the sockets of a process are limited.
SLOW_AMONG_MANY = 10.0
MANY = 200


class ConcurrencyLimit:
    """Slots for polls."""

    def __init__(self, slots: int, on_released: Callable[[], None]) -> None:
        #: Slots that are free.
        self.free = slots
        self._on_released = on_released
        self._hanging = 0

    def acquire(self) -> Callable[[], None]:
        """Take a slot, and return the function to call once when the poll has ended."""
        self.free -= 1
        holds_slot = True

        def give_up_slot() -> None:
            nonlocal holds_slot
            holds_slot = False
            self._hanging += 1
            self._release()

        def on_end() -> None:
            timer.cancel()
            if holds_slot:
                self._release()
            else:
                self._hanging -= 1

        slow = SLOW if self._hanging < MANY else SLOW_AMONG_MANY
        timer = asyncio.get_running_loop().call_later(slow, give_up_slot)
        return on_end

    def _release(self) -> None:
        self.free += 1
        self._on_released()
