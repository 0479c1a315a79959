"""How many looks may be under way at the same time; one that takes long gives its place to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds after which a look no longer counts: what hangs harms only itself.
SLOW = 10.0


class Slots:
    """
    Places for looks.

    :param most: How many there are.
    :param freed: Is told when there is one again.
    """

    def __init__(self, most: int, freed: Callable[[], None]) -> None:
        #: How many are free.
        self.free = most
        self._freed = freed

    def take(self) -> Callable[[], None]:
        """Take a place; what is returned gives it back, and may be called twice."""
        self.free -= 1
        taken = True

        def give_back() -> None:
            nonlocal taken
            timer.cancel()
            if taken:
                taken = False
                self.free += 1
                self._freed()

        timer = asyncio.get_running_loop().call_later(SLOW, give_back)
        return give_back
