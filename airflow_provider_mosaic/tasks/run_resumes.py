"""
Resume a run that failed or was cancelled, and save which cancelled run a retry may resume.

Mosaic does not show who cancelled a run. No retry resumes, and pays for, a run that was cancelled outside Airflow: only
one that the task itself cancelled, or that a user named to be resumed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.airflow_compat import task_state_store, triggers_receive_kills
from airflow_provider_mosaic.api.endpoints.runs import Resumed, Run, RunStatus
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicConnectionError,
    MosaicNotFoundError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.metrics import RUNS_RESUMED, count
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.durable.failures import fail_exception, nothing_sent_error, save_best_effort
from airflow_provider_mosaic.durable.reads import read_known, read_until
from airflow_provider_mosaic.durable.task_state import read_entry, save_entry
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

if TYPE_CHECKING:
    from airflow_provider_mosaic.tasks.run_waits import RunWait

log = logging.getLogger(__name__)

_KEY = "mosaic_resume_permission"
_RESUMED = "in the task state store that the run was resumed"
_RESUMED_AGAIN = "If a user cancels it in Mosaic now, a retry would resume it."
#: Seconds in which a cancel is shown. A run that is running later was resumed since.
_LATEST_CANCEL = 120.0
#: Seconds before each further resume of a run that exists.
_PAUSES_AFTER_404 = (1.0, 2.0, 4.0)


class ResumePermission:
    """
    The permission of one task instance to resume a cancelled run, saved for its next attempts.

    Without a task state store it holds for this attempt alone.

    :param durable: Whether to save anything.
    :param clock_ahead: Returns the seconds by which this machine's clock is ahead of Mosaic's.
    """

    def __init__(
        self, context: Mapping[str, Any], *, durable: bool = True, clock_ahead: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._store = task_state_store(context) if durable else None
        self._clock_ahead = clock_ahead
        # The run that this attempt may resume.
        self._run_id: str | None = None

    def grant(self, run_id: str) -> None:
        """Allow to resume the run. If that can't be saved, log it: a retry fails for manual review then."""
        self._run_id = run_id
        if self._store is not None:
            store = self._store
            save_best_effort(
                lambda: save_entry(store, _KEY, {"run_id": run_id, "granted_at": self._now()}),
                what=f"in the task state store that run {run_id!r} may be resumed",
                consequence="If it is cancelled, no retry resumes it: the task fails and names it.",
            )

    def is_granted(self, run_id: str) -> bool:
        """
        Return whether the task may resume the run.

        :raises MosaicTransportError: The store could not be read.
        """
        try:
            return self._run_id == run_id or read_entry(self._store, _KEY).get("run_id") == run_id
        except Exception as error:
            event = f"Airflow's task state store does not return whether this task cancelled run {run_id!r}"
            raise nothing_sent_error(event, error) from error

    def revoke_if_resumed(self, run_id: str) -> None:
        """
        Revoke the permission of an earlier attempt for a run that is running, unless its cancel may be shown late.

        A user resumed the run since then: the next cancel is a user's.
        """
        if self._store is None:
            return
        store = self._store

        def revoke() -> None:
            entry = read_entry(store, _KEY)
            # An entry without a time counts as old.
            if entry.get("run_id") == run_id and self._now() - entry.get("granted_at", 0.0) > _LATEST_CANCEL:
                store.delete(_KEY)

        save_best_effort(revoke, what=_RESUMED, consequence=_RESUMED_AGAIN)

    def _now(self) -> float:
        """Return the time by Mosaic's clock: the attempts of a task may run on machines whose clocks differ."""
        return time.time() - self._clock_ahead()

    def revoke(self) -> None:
        """Revoke the permission, because the run was resumed: the next cancel is a user's."""
        self._run_id = None
        if self._store is not None:
            store = self._store
            save_best_effort(
                lambda: store.delete(_KEY),
                what=_RESUMED,
                consequence=_RESUMED_AGAIN,
            )


def ensure_resumed(run: Run, wait: RunWait, *, deadline: float | None) -> None:
    """
    Resume a run that failed or was cancelled, unless it was resumed already: only what is missing is done again.

    :param run: The run as it was read last.
    :param wait: The wait for the run. It reports a run that can't be resumed.
    :param deadline: When the wait stops, in seconds since the epoch.
    :raises MosaicError: The run is not resumed.
    """
    if deadline is not None and time.time() >= deadline:
        # The wait would end at once and cancel the run, which would still cost credits.
        raise fail_exception(wait.failure(run, "Its timeout has passed, so it is not resumed."))
    try:
        resumed = _send_resume(run.run_id, wait)
    except MosaicConnectionError:
        # A subclass of MosaicValidationError. Nothing was sent.
        raise
    except (MosaicConflictError, MosaicValidationError) as conflict:
        _fail_unless_resumed_elsewhere(run, wait, conflict)
    except MosaicAmbiguousOutcomeError as lost:
        _fail_unless_lost_resume_shows(run, wait, lost)
    else:
        wait.run_to_cancel = run.run_id
        count(RUNS_RESUMED)
        log.info(
            "Resumed run %r, which was %s. %d node(s) are queued again.", run.run_id, run.status, resumed.nodes_queued
        )
        _wait_until_shown(run, wait)
        return
    # The permission is for one resume, also of a run that failed before a cancel of this task reached it.
    wait.permission.revoke()


def _send_resume(run_id: str, wait: RunWait) -> Resumed:
    """Send the resume. The task is responsible for the run from now on, unless the request fails."""
    known_id, wait.item_id = wait.item_id, run_id
    # A kill from now on must cancel the run after it is resumed, also if the task resumed it before.
    wait.run_to_cancel = None
    try:
        return _resume_while_found(run_id, wait)
    except Exception:
        wait.item_id = known_id
        raise


def _resume_while_found(run_id: str, wait: RunWait) -> Resumed:
    """Send the resume. Repeat it after a 404 while the run can be read: a gateway without a route answers 404 too."""
    for pause in _PAUSES_AFTER_404:
        try:
            return wait.hook.resume_run(run_id)
        except MosaicNotFoundError as error:
            wait.hook.get_run(run_id)
            log.warning("Run %r is not resumed yet, and is resumed again in %g s. %s", run_id, pause, error)
        wait.sleep(pause)
    return wait.hook.resume_run(run_id)


def _fail_unless_resumed_elsewhere(
    run: Run, wait: RunWait, conflict: MosaicConflictError | MosaicValidationError
) -> None:
    """Fail without retries after a rejected resume, unless a user or an earlier attempt has resumed the run."""
    # An earlier attempt that was killed may have resumed it a moment ago.
    now = _read_until_changed(wait, run)
    if run_outcome(now).ended and now.status == run.status:
        why = conflict.detail or "its state does not allow it"
        raise fail_exception(wait.failure(now, f"It can't be resumed: {why}.")) from conflict
    log.info("Run %r was resumed outside this task. The task continues with it.", run.run_id)


def _fail_unless_lost_resume_shows(run: Run, wait: RunWait, lost: MosaicAmbiguousOutcomeError) -> None:
    """Raise the error of a resume whose response was lost, unless the run shows that it was resumed."""
    wait.item_id = run.run_id
    # A short run may already have ended, with another status.
    if _read_until_changed(wait, run).status == run.status:
        raise (lost.__cause__ or lost) from None
    log.info("Run %r was resumed, although the response was lost.", run.run_id)


def _wait_until_shown(run: Run, wait: RunWait) -> None:
    """Wait until the run shows an accepted resume, and revoke the permission for it."""
    is_shown = True
    try:
        # The wait must not read the old status as the end of the run.
        is_shown = _read_until_changed(wait, run).status != run.status
    finally:
        # The next cancel is a user's, also if the reads failed. After a kill, an accepted cancel grants it again.
        if is_shown or wait.is_stopped():
            wait.permission.revoke()


def resume_after_late_kill(run_id: str, wait: RunWait, *, deadline: float | None) -> None:
    """
    Resume a run that the trigger of a cleared deferral cancels, because the cleared task continues with the same run.

    Airflow kills that trigger a little after the new attempt has started.

    :param deadline: When the wait stops, in seconds since the epoch.
    """
    if not (wait.can_cancel_earlier_run and triggers_receive_kills()):
        return
    # Measured: the kill came 1.1 and 1.4 s after the start of the new attempt. This waits up to 15 s for it.
    run = read_until(
        lambda: _read_resumed(wait.hook, run_id),
        lambda run: run_outcome(run).ended or wait.is_stopped(),
        sleep=wait.sleep,
    )
    if run.status != RunStatus.CANCELLED:
        return
    if wait.is_stopped():
        # The trigger or the kill of this attempt cancelled it: a retry resumes it.
        wait.permission.grant(run_id)
        return
    log.info("Run %r was cancelled by the trigger from before the clear. Resuming it.", run_id)
    ensure_resumed(run, wait, deadline=deadline)


def _read_until_changed(wait: RunWait, run: Run) -> Run:
    """Read a run that may have been resumed: it may still show its old status for some seconds."""
    # Mosaic does not resume a run that ended partly: its status does not change.
    can_change = run_outcome(run).outcome is Outcome.FAILED
    return read_until(
        lambda: _read_resumed(wait.hook, run.run_id),
        lambda now: now.status != run.status or not can_change or wait.is_stopped(),
        sleep=wait.sleep,
    )


def _read_resumed(hook: MosaicHook, run_id: str) -> Run:
    """Read a run that costs credits again: a single 404 or refusal must not end the task."""
    return read_known(hook, lambda: hook.get_run(run_id), name=f"Run {run_id!r}")
