"""
Cancel a run, and save that the task did it.

Mosaic does not show who cancelled a run. No retry resumes, and pays for, a run that was cancelled outside Airflow: only
one that the task itself cancelled, or that a user named to be resumed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.airflow_compat import task_state_store
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.durable.failures import nothing_sent_error, save_best_effort
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_with_timeout

log = logging.getLogger(__name__)

_KEY = "mosaic_resume_permission"
_VERSION = 1
#: Seconds between reads of a cancelled run, at the end of a wait and in the task that cancels a run. It is not
#: documented whether cancelling is synchronous.
_PAUSES_AT_THE_END = (0.5, 1.0, 2.0, 4.0)
_PAUSES = (*_PAUSES_AT_THE_END, 8.0, 15.0, 30.0)


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


@dataclass(frozen=True)
class CancelResult:
    """
    What became of the run of a task that ends early.

    :param text: The result, as a sentence.
    :param is_accepted: Whether Mosaic accepted a cancel of this task.
    """

    text: str
    is_accepted: bool = False


def cancel_at_kill(hook: MosaicHook, run_id: str) -> CancelResult:
    """Cancel the run of a killed task with one short request: Airflow ends the process five seconds later."""
    try:
        cancel_with_timeout(hook.access, run_id)
    except MosaicError as error:
        return _failed_cancel(run_id, error, has_ended=isinstance(error, MosaicConflictError))
    # There is no time to read the run: the cancel must be saved.
    return CancelResult(f"Mosaic accepted the cancel of run {run_id!r}.", is_accepted=True)


def cancel_at_end_of_wait(hook: MosaicHook, run_id: str) -> CancelResult:
    """Cancel a run that nothing waits for any more, and read whether it is cancelled."""
    try:
        hook.cancel_run(run_id)
    except MosaicError as error:
        has_ended = isinstance(error, MosaicConflictError)
        try:
            has_ended = run_outcome(hook.get_run(run_id)).ended
        except MosaicError as unread:
            # A new run may not be found by one of the two requests.
            if isinstance(error, MosaicNotFoundError) and isinstance(unread, MosaicNotFoundError):
                return CancelResult(f"Run {run_id!r} does not exist any more.")
        return _failed_cancel(run_id, error, has_ended=has_ended)
    run = _read_after_cancel(hook, run_id, _PAUSES_AT_THE_END)
    if run is None:
        text = f"Mosaic accepted the cancel of run {run_id!r}. The run could not be read since."
    elif run.status == RunStatus.CANCELLED:
        text = f"Run {run_id!r} is cancelled."
    elif run_outcome(run).ended:
        text = f"Run {run_id!r} had ended already, as {run.status}."
    else:
        text = _still_running(run, _PAUSES_AT_THE_END) + " It may cost credits: check it in the editor."
    return CancelResult(text, is_accepted=True)


def cancel(hook: MosaicHook, run_id: str) -> str:
    """
    Cancel a run for ``MosaicCancelRunOperator``, and read it until it has ended. A run that has ended stays as it is.

    :returns: The run id.
    :raises MosaicError: The run still runs, or is unknown.
    """
    try:
        hook.cancel_run(run_id)
    except MosaicConnectionError:
        # A subclass of MosaicValidationError. Nothing was sent.
        raise
    except (
        MosaicConflictError,
        MosaicValidationError,
        MosaicResponseError,
        MosaicServerError,
        MosaicTransportError,
    ) as error:
        # It is not documented how Mosaic rejects the cancel of a run that has ended. After a lost response the run may
        # be cancelled.
        run = hook.get_run(run_id)
        if not run_outcome(run).ended:
            raise error
        log.info("Run %r had ended already, as %s. There is nothing to cancel.", run_id, run.status)
        return run_id
    now = _read_after_cancel(hook, run_id, _PAUSES)
    if now is None:
        log.warning(
            "Mosaic accepted the cancel of run %r, but the run could not be read since. If it still runs, it costs "
            "credits: check it in the editor.",
            run_id,
        )
    elif now.status == RunStatus.CANCELLED:
        log.info("Run %r is cancelled.", run_id)
    elif run_outcome(now).ended:
        log.info("Run %r had ended already, as %s. There is nothing to cancel.", run_id, now.status)
    else:
        raise MosaicError(
            _still_running(now, _PAUSES),
            means="It may keep running and cost credits.",
            to_do="Retry this task, which cancels it once more, or cancel it in the editor.",
            transient=True,
        )
    return run_id


def _failed_cancel(run_id: str, error: MosaicError, *, has_ended: bool) -> CancelResult:
    # It is not documented how Mosaic rejects the cancel of a run that has ended.
    if has_ended:
        return CancelResult(f"Run {run_id!r} had ended already.")
    return CancelResult(
        f"Run {run_id!r} could not be cancelled and may keep running: cancel it in the editor. ({error.what})"
    )


def _read_after_cancel(hook: MosaicHook, run_id: str, pauses: Iterable[float]) -> Run | None:
    """Read a run after its cancel, until it has ended. Return it as it was read last; None if it was not read."""
    run = None
    for pause in (0.0, *pauses):
        time.sleep(pause)
        try:
            run = hook.get_run(run_id)
        except MosaicError as error:
            log.info("Run %r could not be read after its cancel: %s", run_id, error)
            if not error.transient:
                return None
        if run is not None and run_outcome(run).ended:
            break
    return run


def _still_running(run: Run, pauses: Iterable[float]) -> str:
    return (
        f"Mosaic accepted the cancel of run {run.run_id!r}, but {sum(pauses):g} s later the run is still {run.status}."
    )
