"""
How a task fails: which failures burn its retries, and what the person on call reads.

Airflow shows an exception as one long line above a traceback, and each cause with another traceback. So what happened,
what it means for money or publicity, and what to do are logged line by line before the exception is raised.
"""

from __future__ import annotations

import logging
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
    MosaicValidationError,
)
from airflow_provider_mosaic.api.poll_state import is_refusal

log = logging.getLogger(__name__)

#: A retry would only meet them again.
NON_RETRYABLE_ERRORS: tuple[type[MosaicError], ...] = (
    MosaicAuthenticationError,
    MosaicPermissionError,
    MosaicNotFoundError,
    MosaicValidationError,
    MosaicAmbiguousOutcomeError,
)


class MosaicFailException(AirflowFailException):
    """
    Airflow's failure without retries. Its text begins with the class of what happened.

    :param error: What happened.
    """

    def __init__(self, error: MosaicError) -> None:
        super().__init__()
        #: What happened.
        self.error = error
        self.format_again()

    def format_again(self) -> None:
        """Take the error's text over as it is now."""
        self.args = (f"{type(self.error).__name__}: {self.error}",)


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """
    What a failure of a task means, as far as the error itself does not say it.

    :param means: What it means for money or publicity.
    :param retry: What a retry does, as it follows "Airflow tries the task again, which".
    :param choices: What a user can do when no retry follows, one choice a text.
    :param retry_settles: Whether a retry does what the error advises, so that a user must not do it as well.
    """

    means: str
    retry: str
    choices: tuple[str, ...] = ("Clear this task to try again.",)
    retry_settles: bool = False


@contextmanager
def fail_without_retry(*more: type[MosaicError]) -> Iterator[None]:
    """
    Turn what no retry can cure into Airflow's failure without retries.

    A refusal that outlasted a wait is left to the retries: they go on with what the task holds, which costs nothing. So
    is a connection that Airflow did not return: its API server or its secrets backend may be back by then.

    :param more: Kinds of errors that are hopeless here besides those that always are; a refusal that outlasted a wait
        too, if its kind is among them.
    """
    try:
        yield
    except (*NON_RETRYABLE_ERRORS, *more) as error:
        lost = isinstance(error, MosaicConnectionError) or not (is_refusal(error) and isinstance(error, more))
        if error.transient and lost:
            raise
        raise fail_exception(error) from _causing_error(error)


def fail_exception(error: MosaicError) -> MosaicFailException:
    """
    Return Airflow's failure without retries.

    :param error: What happened.
    """
    failure = MosaicFailException(error)
    # The error is told once, and so is what it was made of.
    failure.__cause__ = _causing_error(error)
    return failure


@contextmanager
def adding_consequences(
    context: Mapping[str, Any], stakes: Callable[[MosaicError], Consequences], *, level: int = logging.ERROR
) -> Iterator[None]:
    """
    Log what happened, what it means and what to do, one line each, when the task fails by an error of Mosaic.

    :param context: The task's context.
    :param stakes: What a failure means at its moment.
    :param level: Level of the lines. A sensor that is skipped instead warns.
    """
    try:
        yield
    except MosaicFailException as failure:
        _add_consequences(failure.error, context, stakes(failure.error), level, final=True)
        failure.format_again()
        raise failure from _causing_error(failure)
    except MosaicError as error:
        _add_consequences(error, context, stakes(error), level, final=False)
        raise error from _causing_error(error)


def log_lines(lines: tuple[str, ...], *, level: int = logging.ERROR) -> None:
    """
    Log a story, one record a line: Airflow's UI wraps none of them and shows each.

    :param lines: The lines.
    :param level: Their level.
    """
    for line in lines:
        log.log(level, "%s", line)


def _add_consequences(
    error: MosaicError, context: Mapping[str, Any], stakes: Consequences, level: int, *, final: bool
) -> None:
    ti = context["ti"]
    tries, most = int(ti.try_number or 1), int(ti.max_tries or 0) + 1
    if final or tries >= most:
        to_do = (*error.to_do, *stakes.choices)
    else:
        advice = () if stakes.retry_settles else error.to_do
        to_do = (*advice, f"Airflow tries the task again (try {tries + 1} of {most}), which {stakes.retry}.")
    error.set_consequences(means=error.means or stakes.means, to_do=to_do)
    log_lines(error.lines, level=level)


def _causing_error(error: BaseException) -> BaseException | None:
    """The cause of an error, unless its text is part of the error's own: then it would be shown twice."""
    return None if isinstance(error.__cause__, MosaicError) else error.__cause__
