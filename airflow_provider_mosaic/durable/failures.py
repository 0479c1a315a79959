"""
How a task fails: whether Airflow retries it, and what the person on call reads. What does not fail it.

Airflow shows an exception as one long line above a traceback, and each cause with another traceback. The task logs line
by line what happened, what it means for money or publicity, and what to do, before it raises the exception.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.poll_state import is_refusal
from airflow_provider_mosaic.api.redaction import one_line

log = logging.getLogger(__name__)

#: Seconds between the attempts to save something.
_SAVE_PAUSES = (0.5, 2.0)
#: Errors that a retry would get again.
NON_RETRYABLE_ERRORS: tuple[type[MosaicError], ...] = (
    MosaicAuthenticationError,
    MosaicPermissionError,
    MosaicNotFoundError,
    MosaicValidationError,
    MosaicAmbiguousOutcomeError,
)


class MosaicFailException(AirflowFailException):
    """Airflow's failure without retries, for an error of Mosaic. Its text starts with the class of the error."""

    def __init__(self, error: MosaicError) -> None:
        super().__init__()
        #: What happened.
        self.error = error
        self.refresh_text()

    def refresh_text(self) -> None:
        """Copy the current text of the error."""
        self.args = (f"{type(self.error).__name__}: {self.error}",)


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """
    What the failure of a task means, where the error does not contain it.

    :param means: What it means for money or publicity.
    :param retry: What a retry does, as it follows "Airflow tries the task again, which".
    :param choices: What a user can do when no retry follows, one choice a text.
    :param retry_settles: Whether a retry does what the error advises, so that the user need not.
    """

    means: str
    retry: str
    choices: tuple[str, ...] = ("Clear this task to try again.",)
    retry_settles: bool = False


@contextmanager
def fail_without_retry(*more: type[MosaicError]) -> Iterator[None]:
    """
    Convert non-retryable errors of the block to Airflow's failure without retries.

    A transient error stays retryable. Three kinds of non-retryable errors can be transient: a refusal that lasted for a
    whole wait, since a retry continues the wait at no cost; a connection that Airflow did not return, since its API
    server or its secrets backend may be back by then; and a run that could not be cancelled in an outage.

    :param more: More classes of errors that are non-retryable here. A refusal of these classes is non-retryable also
        after a whole wait.
    """
    try:
        yield
    except (*NON_RETRYABLE_ERRORS, *more) as error:
        is_final_refusal = (
            isinstance(error, more) and is_refusal(error) and not isinstance(error, MosaicConnectionError)
        )
        if is_final_refusal or not error.transient:
            raise MosaicFailException(error) from _causing_error(error)
        raise


def fail_exception(error: MosaicError) -> MosaicFailException:
    """Return Airflow's failure without retries for an error."""
    failure = MosaicFailException(error)
    # The text contains the error. Chained, Airflow would show it twice.
    failure.__cause__ = _causing_error(error)
    return failure


def nothing_sent_error(event: str, cause: Exception, more: str = "") -> MosaicTransportError:
    """
    Return the error for what Airflow could not read or save, before the task sent anything.

    :param event: What failed, as the start of a sentence.
    :param more: Another sentence.
    """
    return MosaicTransportError(
        f"{event} ({type(cause).__name__}: {one_line(str(cause))}).{more and f' {more}'}",
        means="Nothing was sent, so nothing is paid or published.",
        effect_unknown=False,
    )


def save_best_effort(save: Callable[[], object], *, what: str, consequence: str) -> None:
    """
    Save what the task did already, in three attempts. If all fail, log a warning: the task must not fail for this.

    :param what: What is saved, with the id of its item.
    :param consequence: What follows if it is not saved, as a sentence.
    """
    for pause in (*_SAVE_PAUSES, None):
        try:
            save()
            return
        except Exception as error:
            if pause is not None:
                time.sleep(pause)
                continue
            log.warning(
                "Airflow could not save %s (%s: %s). %s",
                what,
                type(error).__name__,
                one_line(str(error)),
                consequence,
                exc_info=True,
            )


@contextmanager
def adding_consequences(
    context: Mapping[str, Any], consequences: Callable[[MosaicError], Consequences], *, level: int = logging.ERROR
) -> Iterator[None]:
    """
    Log what happened, what it means and what to do, one line each, if the block raises an error of Mosaic.

    :param level: Level of the lines: a warning for a sensor that is skipped instead.
    """
    try:
        yield
    except MosaicFailException as failure:
        _add_consequences(failure.error, context, consequences(failure.error), level, is_final=True)
        failure.refresh_text()
        raise failure from _causing_error(failure)
    except MosaicError as error:
        _add_consequences(error, context, consequences(error), level, is_final=False)
        raise error from _causing_error(error)


def log_lines(lines: tuple[str, ...], *, level: int = logging.ERROR) -> None:
    """Log one record a line: Airflow's UI does not wrap lines."""
    for line in lines:
        log.log(level, "%s", line)


def _add_consequences(
    error: MosaicError, context: Mapping[str, Any], consequences: Consequences, level: int, *, is_final: bool
) -> None:
    ti = context["ti"]
    try_number, max_tries = int(ti.try_number or 1), int(ti.max_tries or 0) + 1
    if is_final or try_number >= max_tries:
        to_do = (*error.to_do, *consequences.choices)
    else:
        advice = () if consequences.retry_settles else error.to_do
        next_try = f"try {try_number + 1} of {max_tries}"
        to_do = (*advice, f"Airflow tries the task again ({next_try}), which {consequences.retry}.")
    error.set_consequences(means=error.means or consequences.means, to_do=to_do)
    log_lines(error.lines, level=level)


def _causing_error(error: BaseException) -> BaseException | None:
    """Return the cause of an error, unless the error's text contains it."""
    return None if isinstance(error.__cause__, MosaicError) else error.__cause__
