"""How many looks may be under way at the same time; one that takes long gives its place to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds after which a look no longer counts: what hangs harms only itself.
SLOW = 3.0
#: The same while many hang already. Each holds a socket until its time is over, and a process has only so many.
SLOW_AMONG_MANY = 10.0
MANY = 200


class ConcurrencyLimit:
    """
    Places for looks.

    :param most: How many there are.
    :param freed: Is told when there is one again.
    """

    def __init__(self, most: int, freed: Callable[[], None]) -> None:
        #: How many are free.
        self.free = most
        self._freed = freed
        self._hanging = 0

    def acquire(self) -> Callable[[], None]:
        """Take a place; what is returned says that the look has ended, and is called once."""
        self.free -= 1
        counts = True

        def count_no_longer() -> None:
            nonlocal counts
            counts = False
            self._hanging += 1
            self._release()

        def end() -> None:
            timer.cancel()
            if counts:
                self._release()
            else:
                self._hanging -= 1

        slow = SLOW if self._hanging < MANY else SLOW_AMONG_MANY
        timer = asyncio.get_running_loop().call_later(slow, count_no_longer)
        return end

    def _release(self) -> None:
        self.free += 1
        self._freed()
