"""
Whether a task may resume a cancelled run: it cancelled the run itself, or a user named the run to be resumed.

Mosaic does not show who cancelled a run. No retry resumes, and pays for, a run that was cancelled outside Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import task_state_store
from airflow_provider_mosaic.durable.failures import nothing_sent_error
from airflow_provider_mosaic.durable.xcoms import save_best_effort

_KEY = "mosaic_resume_permission"
_VERSION = 1


class ResumePermission:
    """
    The permission of one task instance, saved for its next attempts. Without a task state store it is never granted.

    :param durable: Whether to save anything.
    """

    def __init__(self, context: Mapping[str, Any], *, durable: bool = True) -> None:
        self._store = task_state_store(context) if durable else None

    def grant(self, run_id: str) -> None:
        """Let a retry resume the run. If that can't be saved, log it: the retry fails for manual review then."""
        if self._store is None:
            return
        store = self._store
        save_best_effort(
            lambda: store.set(_KEY, {"version": _VERSION, "run_id": run_id}),
            what=f"in the task state store that run {run_id!r} may be resumed",
            consequence="If it is cancelled, no retry resumes it: the task fails and names it.",
        )

    def is_granted(self, run_id: str) -> bool:
        """
        Return whether the task may resume the run.

        :raises MosaicTransportError: The store could not be read.
        """
        try:
            stored = self._store.get(_KEY) if self._store else None
        except Exception as error:
            event = f"Airflow's task state store does not return whether this task cancelled run {run_id!r}"
            raise nothing_sent_error(event, error) from error
        return isinstance(stored, Mapping) and stored.get("version") == _VERSION and stored.get("run_id") == run_id

    def revoke(self) -> None:
        """Revoke the permission, because the run was resumed: the next cancel is a user's."""
        if self._store is None:
            return
        store = self._store
        save_best_effort(
            lambda: store.delete(_KEY),
            what="in the task state store that the run was resumed",
            consequence="If a user cancels it in Mosaic now, a retry would resume it.",
        )
