"""
Whether a task may have a cancelled run go on again: one that it has cancelled itself, or that it was told to resume.

Mosaic does not say who has cancelled a run. What somebody else has stopped, no retry sets going, and pays, unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.airflow_features import task_state_store

log = logging.getLogger(__name__)

_KEY = "mosaic_may_resume"
_VERSION = 1


class Permit:
    """
    The permit of one task instance, kept over its tries; on an Airflow without a task state store there is none.

    :param context: The task's context.
    :param durable: Whether anything is kept for the next try.
    """

    def __init__(self, context: Mapping[str, Any], *, durable: bool = True) -> None:
        self._store = task_state_store(context) if durable else None

    def give(self, run_id: str) -> None:
        """
        Permit it. A fault of the store is logged: what follows from it is only that a person is asked.

        :param run_id: The run.
        """
        if self._store is None:
            return
        try:
            self._store.set(_KEY, {"version": _VERSION, "run": run_id})
        except Exception:
            log.exception("Could not note that run %r may be resumed: if it is cancelled, no retry does so.", run_id)

    def holds(self, run_id: str) -> bool:
        """
        Whether it is permitted.

        :param run_id: The run.
        """
        stored = self._store.get(_KEY) if self._store else None
        return isinstance(stored, Mapping) and stored.get("version") == _VERSION and stored.get("run") == run_id

    def use(self) -> None:
        """The run goes on: who cancels it from now on means it. A fault of the store is logged."""
        if self._store is None:
            return
        try:
            self._store.delete(_KEY)
        except Exception:
            log.exception("Could not note that the run goes on again.")
