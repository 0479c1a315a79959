"""Background tasks of runs, posts and avatar profiles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class BackgroundTasks:
    """One asyncio task per key. Tasks can wait for a change of the settings."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._settings_changed = asyncio.Event()

    def start(self, key: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background."""
        task = asyncio.create_task(coroutine)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key, None) if self._tasks.get(key) is done else None)

    def cancel(self, key: str) -> None:
        """Cancel the task with this key, if it is running."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def cancel_all(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def settings_changed(self) -> None:
        """Wake the tasks that wait for a setting."""
        self._settings_changed.set()
        self._settings_changed = asyncio.Event()

    async def wait_while(self, is_held: Callable[[], bool]) -> None:
        """Wait until the settings release the caller."""
        while is_held():
            await self._settings_changed.wait()
