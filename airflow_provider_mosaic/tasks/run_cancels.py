"""
Cancel a run, and save that the task did it.

Mosaic does not show who cancelled a run. No retry resumes, and pays for, a run that was cancelled outside Airflow: only
one that the task itself cancelled, or that a user named to be resumed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.airflow_compat import TaskStateStore, task_state_store
from airflow_provider_mosaic.api.endpoints.runs import RunStatus
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.durable.failures import nothing_sent_error, save_best_effort
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_with_timeout

log = logging.getLogger(__name__)

_KEY = "mosaic_resume_permission"
_VERSION = 1
#: Seconds between reads of a cancelled run. It is not documented whether cancelling is synchronous.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: The same at the end of a wait.
_SHORT_PAUSES = _PAUSES[:4]


class ResumePermission:
    """
    The permission of one task instance to resume a cancelled run, saved for its next attempts.

    Without a task state store it is never granted.

    :param durable: Whether to save anything.
    """

    def __init__(self, context: Mapping[str, Any], *, durable: bool = True) -> None:
        self._store = task_state_store(context) if durable else None

    def grant(self, run_id: str) -> None:
        """Let a retry resume the run. If that can't be saved, log it: the retry fails for manual review then."""
        self._save(
            lambda store: store.set(_KEY, {"version": _VERSION, "run_id": run_id}),
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
        self._save(
            lambda store: store.delete(_KEY),
            what="in the task state store that the run was resumed",
            consequence="If a user cancels it in Mosaic now, a retry would resume it.",
        )

    def _save(self, save: Callable[[TaskStateStore], None], *, what: str, consequence: str) -> None:
        store = self._store
        if store is not None:
            save_best_effort(lambda: save(store), what=what, consequence=consequence)


@dataclass(frozen=True)
class CancelResult:
    """
    What a cancel did.

    :param text: The result, as a sentence.
    :param is_accepted: Whether Mosaic accepted it.
    :param error: Why the run may still run, or does not exist; None if it has ended or could not be read.
    """

    text: str
    is_accepted: bool = False
    error: MosaicError | None = None


def cancel(hook: MosaicHook, run_id: str) -> str:
    """
    Cancel a run for ``MosaicCancelRunOperator``, and read it until it has ended. A run that has ended stays as it is.

    :returns: The run id.
    :raises MosaicError: The run still runs, or is unknown.
    """
    result = cancel_and_read(hook, run_id, _PAUSES)
    if result.error is not None:
        raise result.error
    log.info("%s", result.text)
    return run_id


def cancel_and_read(hook: MosaicHook, run_id: str, pauses: Sequence[float] = _SHORT_PAUSES) -> CancelResult:
    """Cancel a run, and read it until it has ended. Raise nothing."""
    run = None
    try:
        hook.cancel_run(run_id)
    except MosaicError as error:
        # It is not documented how Mosaic rejects the cancel of a run that has ended. After a lost response the run may
        # be cancelled. A new run may not be found by one of the two requests.
        try:
            run = hook.get_run(run_id)
        except MosaicError as unread:
            if isinstance(error, MosaicNotFoundError) and isinstance(unread, MosaicNotFoundError):
                return CancelResult(f"Run {run_id!r} does not exist any more.", error=error)
            return _failed_cancel(run_id, error, unread)
        if run_outcome(run).ended:
            return CancelResult(f"Run {run_id!r} had ended already, as {run.status}.")
        return _failed_cancel(run_id, error, error)
    for pause in (0.0, *pauses):
        time.sleep(pause)
        try:
            run = hook.get_run(run_id)
        except MosaicError as error:
            log.warning("Run %r could not be read after its cancel. %s", run_id, error)
            if not error.transient:
                run = None
                break
        if run is not None and run_outcome(run).ended:
            break
    accepted = f"Mosaic accepted the cancel of run {run_id!r}"
    if run is None:
        text = f"{accepted}, but the run could not be read since. It may cost credits: check it in the editor."
    elif run.status == RunStatus.CANCELLED:
        text = f"Run {run_id!r} is cancelled."
    elif run_outcome(run).ended:
        text = f"Run {run_id!r} had ended already, as {run.status}."
    else:
        running = MosaicError(
            f"{accepted}, but {sum(pauses):g} s later the run is still {run.status}.",
            means="It may keep running and cost credits.",
            to_do="Retry this task, which cancels it once more, or cancel it in the editor.",
            transient=True,
        )
        text = f"{running.what} It may cost credits: check it in the editor."
        return CancelResult(text, is_accepted=True, error=running)
    return CancelResult(text, is_accepted=True)


def cancel_at_kill(hook: MosaicHook, run_id: str) -> CancelResult:
    """Cancel the run of a killed task with one short request: Airflow ends the process five seconds later."""
    try:
        cancel_with_timeout(hook.access, run_id)
    except MosaicConflictError:
        return CancelResult(f"Run {run_id!r} had ended already.")
    except MosaicError as error:
        return _failed_cancel(run_id, error, error)
    # There is no time to read the run: the cancel must be saved.
    return CancelResult(f"Mosaic accepted the cancel of run {run_id!r}.", is_accepted=True)


def _failed_cancel(run_id: str, error: MosaicError, reason: MosaicError) -> CancelResult:
    text = f"Run {run_id!r} could not be cancelled and may keep running: cancel it in the editor. ({error.what})"
    return CancelResult(text, error=reason)
