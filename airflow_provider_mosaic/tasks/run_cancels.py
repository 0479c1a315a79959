"""Cancel a run, and tell whether this task cancelled it: Mosaic does not show who did."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_provider_mosaic.airflow_compat import supervisor_is_gone
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.runs import Cancelled, Run, RunStatus, cancel_run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRunCancelledError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.sync_client import send_with_deadline
from airflow_provider_mosaic.durable.outages import api_server_is_unreachable, is_replaced
from airflow_provider_mosaic.durable.task_state import can_save_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.run_ends import push_end
from airflow_provider_mosaic.tasks.run_resumes import ResumePermission

log = logging.getLogger(__name__)

#: Seconds to check Airflow's API server and the state of the task. Airflow ends a killed task after five.
_CHECK_TIMEOUT = 1.5
#: Seconds of the last request of a task. Airflow kills a task five seconds after SIGTERM.
_LAST_REQUEST_TIMEOUT = 3.0
#: Seconds before a cancel in these seconds is sent again after a 404.
_NOT_FOUND_PAUSE = 0.5

#: Seconds between reads of a cancelled run. It is not documented whether cancelling is synchronous.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Seconds between reads of a cancelled run at the end of a wait.
_SHORT_PAUSES = _PAUSES[:4]


class OwnCancels:
    """
    The runs that this task cancelled or may have cancelled: a response was lost, or Airflow interrupted the request.

    :param was_running: Returns whether the last poll showed the run running. Otherwise a user may have cancelled it
        before a cancel whose response was lost.
    """

    def __init__(self, was_running: Callable[[], bool] = lambda: False) -> None:
        self.was_running = was_running
        self._run_ids: set[str] = set()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._run_ids

    def send(self, run_id: str, send: Callable[[Callable[[MosaicError], None]], Cancelled]) -> Cancelled:
        """
        Cancel a run.

        :param send: Sends the cancel. It is called with what collects the errors after which the cancel is sent again.
        """
        errors: list[MosaicError] = []
        was_running = self.was_running()
        try:
            cancelled = send(errors.append)
            if not cancelled.had_no_effect:
                self._run_ids.add(run_id)
            return cancelled
        except MosaicError as error:
            errors.append(error)
            raise
        except BaseException:
            # Airflow interrupted the request. It may have had an effect.
            if was_running:
                self._run_ids.add(run_id)
            raise
        finally:
            if was_running and any(error.effect_unknown for error in errors):
                self._run_ids.add(run_id)


@dataclass(frozen=True)
class CancelResult:
    """
    What a cancel did.

    :param text: The result, as a sentence.
    :param is_accepted: Whether Mosaic accepted it, and did not report that there was nothing to cancel; or whether a
        response was lost, and the run is cancelled.
    :param error: Why the run may still run, or does not exist; None if it has ended, or if Mosaic accepted the cancel
        and only the reads failed.
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


def cancel_and_read(
    hook: MosaicHook, run_id: str, pauses: Sequence[float] = _SHORT_PAUSES, *, own: OwnCancels | None = None
) -> CancelResult:
    """Cancel a run, and read it until it has ended. Raise nothing."""
    own = own or OwnCancels()
    try:
        cancelled = _send_cancel(hook, run_id, pauses, own)
    except MosaicError as error:
        return _read_after_failed_cancel(hook, run_id, error, own)
    run = _read_until_ended(hook, run_id, pauses)
    # A user may have cancelled a run that this cancel had no effect on.
    is_accepted = not cancelled.had_no_effect
    if run is not None and run_outcome(run).ended:
        return _ended(run, own, is_accepted=is_accepted)
    response = "accepted the cancel of" if is_accepted else "found nothing to cancel in"
    since = f"{sum(pauses):g} s later the run is still {run.status}" if run else "the run could not be read since"
    may_run = MosaicError(
        f"Mosaic {response} run {run_id!r}, but {since}.",
        means="It may keep running and cost credits.",
        to_do="Retry this task, which cancels it once more, or cancel it in the editor.",
        transient=True,
    )
    text = f"{may_run.what} It may cost credits: check it in the editor."
    return CancelResult(text, is_accepted=is_accepted, error=None if is_accepted and run is None else may_run)


def _send_cancel(hook: MosaicHook, run_id: str, pauses: Sequence[float], own: OwnCancels) -> Cancelled:
    """Cancel a run. Repeat that after a 404 if the run may still run: a gateway without a route answers 404 too."""

    def send() -> Cancelled:
        return own.send(run_id, lambda on_retry: hook.client.send(cancel_run(run_id), on_retry=on_retry))

    for pause in pauses:
        try:
            return send()
        except MosaicNotFoundError as error:
            if not _may_run(hook, run_id, own):
                raise
            log.warning("Run %r is not cancelled yet, and is cancelled again in %g s. %s", run_id, pause, error)
        time.sleep(pause)
    return send()


def _may_run(hook: MosaicHook, run_id: str, own: OwnCancels) -> bool:
    try:
        return not run_outcome(hook.send(get_run(run_id), retries=ONCE)).ended
    except MosaicError:
        return own.was_running()


def _read_after_failed_cancel(hook: MosaicHook, run_id: str, error: MosaicError, own: OwnCancels) -> CancelResult:
    # It is not documented how Mosaic rejects the cancel of a run that has ended. After a lost response the run may be
    # cancelled. A new run may not be found by one of the two requests.
    try:
        run = hook.get_run(run_id)
    except MosaicError as unread:
        is_missing = isinstance(error, MosaicNotFoundError) and isinstance(unread, MosaicNotFoundError)
        if is_missing and not own.was_running():
            return CancelResult(f"Run {run_id!r} does not exist any more.", error=error)
        return _failed_cancel(run_id, error, unread=unread)
    return _ended(run, own) if run_outcome(run).ended else _failed_cancel(run_id, error)


def _ended(run: Run, own: OwnCancels, *, is_accepted: bool = False) -> CancelResult:
    if run.status == RunStatus.CANCELLED and run.run_id in own:
        return cancelled_result(run.run_id)
    return CancelResult(f"Run {run.run_id!r} had ended already, as {run.status}.", is_accepted=is_accepted)


def cancelled_result(run_id: str) -> CancelResult:
    """Return the result for a run that a cancel of this task has ended."""
    return CancelResult(f"Run {run_id!r} is cancelled.", is_accepted=True)


def _read_until_ended(hook: MosaicHook, run_id: str, pauses: Sequence[float]) -> Run | None:
    """Return a cancelled run when it has ended, or as it was read last. None if it can't be read."""
    run = None
    for pause in (0.0, *pauses):
        time.sleep(pause)
        try:
            run = hook.get_run(run_id)
        except MosaicError as error:
            log.warning("Run %r could not be read after its cancel. %s", run_id, error)
            if not error.transient:
                return None
        else:
            if run_outcome(run).ended:
                break
    return run


def cancel_at_kill(hook: MosaicHook, run_id: str, own: OwnCancels) -> CancelResult:
    """Cancel the run of a killed task within three seconds: Airflow ends the process five seconds later."""
    try:
        cancelled = own.send(run_id, lambda _: _cancel_within_seconds(hook.access, run_id))
    except MosaicConflictError:
        return CancelResult(f"Run {run_id!r} had ended already.")
    except MosaicError as error:
        return _failed_cancel(run_id, error)
    if cancelled.had_no_effect:
        return CancelResult(
            f"Mosaic found nothing to cancel in run {run_id!r}: most likely it had ended already. If it runs, cancel "
            "it in the editor."
        )
    # There is no time to read the run: the cancel must be saved.
    return CancelResult(f"Mosaic accepted the cancel of run {run_id!r}.", is_accepted=True)


def _failed_cancel(run_id: str, error: MosaicError, *, unread: MosaicError | None = None) -> CancelResult:
    """
    Return the result of a cancel that failed.

    :param unread: Why the run could not be read after that. A task fails with it: only a read shows whether the run has
        ended.
    """
    text = f"Run {run_id!r} could not be cancelled and may keep running: cancel it in the editor. ({error.what})"
    return CancelResult(text, error=unread or error)


def _cancel_within_seconds(access: Access, run_id: str) -> Cancelled:
    """
    Cancel a run at a kill within three seconds: with one request, or with several after a 404.

    A request uses its own connection, because the signal may have interrupted the hook's client.
    """
    deadline = time.monotonic() + _LAST_REQUEST_TIMEOUT
    while True:
        try:
            return send_with_deadline(deadline - time.monotonic(), access, cancel_run(run_id))
        except MosaicNotFoundError:
            # A gateway without a route to Mosaic answers 404 too, and a new run may not be found yet.
            if deadline - time.monotonic() < 2 * _NOT_FOUND_PAUSE:
                raise
        time.sleep(_NOT_FOUND_PAUSE)


def _read_within_seconds(access: Access, run_id: str) -> Run:
    """Return a run at the end of a task, with one request of at most three seconds on its own connection."""
    return send_with_deadline(_LAST_REQUEST_TIMEOUT, access, get_run(run_id))


class EarlyEndCancels:
    """
    The cancels of a run whose task is killed or out of time.

    A kill is a signal in the middle of any line. :meth:`kill` cancels the run with one request if its id is known. The
    wait finds :attr:`is_killed`, and fails with :meth:`killed_error`, which saves the cancel. If the id becomes known
    after the kill, that also cancels the run.

    :param enabled: The operator's ``cancel_on_kill``: otherwise the run keeps running.
    :param kinds: See :class:`CompletionWaiter`.
    :param was_running: See :class:`~airflow_provider_mosaic.tasks.run_cancels.OwnCancels`.
    """

    def __init__(
        self,
        hook: MosaicHook,
        context: Mapping[str, Any],
        *,
        enabled: bool,
        durable: bool,
        kinds: Iterable[str],
        was_running: Callable[[], bool],
    ) -> None:
        self._hook = hook
        self._context = context
        self._enabled = enabled
        self._durable = durable
        self._kinds = kinds
        self._was_running = was_running
        #: Whether the task was killed.
        self.is_killed = False
        #: Whether Mosaic accepted a cancel of this attempt.
        self.is_cancelled = False
        # Whether Airflow ended the task because its API server is away. The run must keep running then.
        self._in_outage = False
        # Whether Airflow ended this attempt because another one has replaced it, which continues with the run.
        self._is_replaced = False
        # What became of the run at the kill; None if its id was unknown then.
        self._result_of_kill: CancelResult | None = None

    @cached_property
    def _own(self) -> OwnCancels:
        return OwnCancels(self._was_running)

    @property
    def _is_saved(self) -> bool:
        """Whether another attempt knows the run."""
        return can_save_state(self._context, durable=self._durable)

    @cached_property
    def permission(self) -> ResumePermission:
        """The task's permission to resume a cancelled run."""
        return ResumePermission(self._context, durable=self._durable, clock_ahead=lambda: self._hook.client.clock_ahead)

    def kill(self, run_id: str | None, *, is_in_signal: bool) -> CancelResult | None:
        """
        Cancel the run of a task that is killed.

        Return None if the id is unknown, or if a signal interrupted the lookup of the connection. The wait cancels the
        run then.

        :param is_in_signal: Whether this runs in a signal handler. It must not look the connection up, since it may
            have interrupted a lookup.
        """
        # A user's mark or clear reaches the task through the API server. If that does not respond, Airflow ended the
        # task because its heartbeats were lost.
        checked_until = time.monotonic() + _CHECK_TIMEOUT
        self._in_outage = self._enabled and api_server_is_unreachable(_CHECK_TIMEOUT)
        if self._enabled and not self._in_outage and self._is_saved:
            self._is_replaced = is_replaced(self._context, self._kinds, checked_until - time.monotonic())
        self.is_killed = True
        # A second signal must not replace an accepted cancel by "had ended already", after which no retry resumes it.
        was_accepted = self._result_of_kill is not None and self._result_of_kill.is_accepted
        if run_id is None or was_accepted:
            return self._result_of_kill
        if is_in_signal and self._enabled and not (self._in_outage or self._hook.has_access):
            self._warn_of_lookup(run_id)
        else:
            self._result_of_kill = self.cancel(run_id)
            log.warning("%s", self._result_of_kill.text)
        return self._result_of_kill

    def killed_error(self, run_id: str) -> MosaicRunCancelledError:
        """Save the cancel of a kill, and return the error of the task."""
        result = self._save(run_id, self._result_of_kill or self.cancel(run_id))
        return MosaicRunCancelledError(
            f"The task was killed while it waited for run {run_id!r}.",
            means=result.text,
            run_id=run_id,
            # A retry waits for a run that was left running, with every on_retry. With durable=False it pays again.
            transient=self._durable and not result.is_accepted,
        )

    def why_not(self, run_id: str) -> str:
        """Return as sentences why the run must keep running; empty if it may be cancelled."""
        if not self._enabled:
            return f"Run {run_id!r} keeps running because cancel_on_kill=False."
        if self._is_saved and supervisor_is_gone():
            return (
                f"Run {run_id!r} keeps running: Airflow's supervisor of this process died, and another attempt may "
                "wait for the run."
            )
        if self._is_replaced:
            return f"Run {run_id!r} keeps running: another attempt has replaced this one, and continues with the run."
        if self.is_killed and self._in_outage:
            return (
                f"Run {run_id!r} keeps running: Airflow's API server does not respond, so no user ended the task. "
                "Unless a retry continues with it, wait for it with a MosaicRunSensor or cancel it in the editor."
            )
        return ""

    def cancel(self, run_id: str) -> CancelResult:
        """Cancel the run, unless it must keep running."""
        if why_not := self.why_not(run_id):
            return CancelResult(why_not)
        if not self.is_killed:
            return cancel_and_read(self._hook, run_id, own=self._own)
        if not self._hook.has_access:
            self._warn_of_lookup(run_id)
        return cancel_at_kill(self._hook, run_id, self._own)

    def _warn_of_lookup(self, run_id: str) -> None:
        log.warning(
            "Run %r is cancelled as soon as the connection is looked up. If Airflow ends the process before that, the "
            "run keeps running: cancel it in the editor.",
            run_id,
        )

    def cancel_at_timeout(self, run_id: str) -> CancelResult:
        """Cancel the run at the end of a wait, unless another attempt continues with it."""
        if self._enabled and self._is_saved and not self.is_killed:
            # After its machine was suspended, an attempt gets no signal before its next heartbeat.
            self._is_replaced = is_replaced(self._context, self._kinds, _CHECK_TIMEOUT)
        return self.save_end_of_wait(run_id, self.cancel(run_id))

    def save_end_of_wait(self, run_id: str, result: CancelResult) -> CancelResult:
        """Save the cancel, push the status and outputs that the run has now, and return what the cancel did."""
        result = self._save(run_id, result)
        # The XComs belong to the attempt that continues with the run.
        if not self._is_replaced and (run := self._read_best_effort(run_id)) is not None:
            push_end(self._context, run)
        return result

    def _save(self, run_id: str, result: CancelResult) -> CancelResult:
        """Let a retry resume the run that this task cancelled. Return what the cancel did."""
        if not result.is_accepted and run_id in self._own:
            run = self._read_best_effort(run_id)
            if run is not None and run.status == RunStatus.CANCELLED:
                result = cancelled_result(run_id)
                log.info("%s", result.text)
        if result.is_accepted:
            self.is_cancelled = True
            self.permission.grant(run_id)
        return result

    def _read_best_effort(self, run_id: str) -> Run | None:
        try:
            return _read_within_seconds(self._hook.access, run_id)
        except MosaicError as error:
            log.info("Run %r could not be read at the end of the wait. XCom may not have its status. %s", run_id, error)
            return None
