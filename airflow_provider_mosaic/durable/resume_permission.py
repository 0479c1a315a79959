"""
Whether a task may have a cancelled run go on again: one that it has cancelled itself, or that it was told to resume.

Mosaic does not say who has cancelled a run. What somebody else has stopped, no retry sets going, and pays, unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import task_state_store
from airflow_provider_mosaic.api.errors import MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.durable.xcoms import save_best_effort

_KEY = "mosaic_may_resume"
_VERSION = 1


class ResumePermission:
    """
    The permit of one task instance, kept over its tries; on an Airflow without a task state store there is none.

    :param context: The task's context.
    :param durable: Whether anything is kept for the next try.
    """

    def __init__(self, context: Mapping[str, Any], *, durable: bool = True) -> None:
        self._store = task_state_store(context) if durable else None

    def grant(self, run_id: str) -> None:
        """
        Permit it. A fault of the store is logged: what follows from it is only that a person is asked.

        :param run_id: The run.
        """
        if self._store is None:
            return
        store = self._store
        save_best_effort(
            lambda: store.set(_KEY, {"version": _VERSION, "run": run_id}),
            what=f"in the task state store that run {run_id!r} may be resumed",
            consequence="If it is cancelled, no retry resumes it: the task fails and names it.",
        )

    def is_granted(self, run_id: str) -> bool:
        """
        Whether it is permitted.

        :param run_id: The run.
        :raises MosaicTransportError: The store could not be read.
        """
        try:
            stored = self._store.get(_KEY) if self._store else None
        except Exception as error:
            raise MosaicTransportError(
                f"Airflow's task state store could not be read ({type(error).__name__}: {one_line(str(error))}). Run "
                f"{run_id!r} is cancelled, and the store has whether this task did that; nothing was sent. A retry "
                "reads it again.",
                effect_unknown=False,
            ) from error
        return isinstance(stored, Mapping) and stored.get("version") == _VERSION and stored.get("run") == run_id

    def revoke(self) -> None:
        """The run goes on: who cancels it from now on means it. A fault of the store is logged."""
        if self._store is None:
            return
        store = self._store
        save_best_effort(
            lambda: store.delete(_KEY),
            what="in the task state store that the run is going on again",
            consequence="Should somebody cancel it in Mosaic now, a retry would resume it.",
        )
