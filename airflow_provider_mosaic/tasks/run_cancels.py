"""Cancel a run, and tell whether this task cancelled it: Mosaic does not show who did."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_mosaic.api.endpoints.runs import Cancelled, Run, RunStatus, cancel_run, get_run
from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_with_timeout

log = logging.getLogger(__name__)

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
        cancelled = own.send(run_id, lambda _: cancel_with_timeout(hook.access, run_id))
    except MosaicConflictError:
        return CancelResult(f"Run {run_id!r} had ended already.")
    except MosaicError as error:
        return _failed_cancel(run_id, error)
    if cancelled.had_no_effect:
        return CancelResult(f"Mosaic found nothing to cancel in run {run_id!r}: most likely it had ended already.")
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
