"""Which failures burn a task's retries, and which fail it at once because no retry can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.waiting import is_refusal

#: A retry would only meet them again.
HOPELESS: tuple[type[MosaicError], ...] = (
    MosaicAuthenticationError,
    MosaicPermissionError,
    MosaicNotFoundError,
    MosaicValidationError,
    MosaicAmbiguousOutcomeError,
)


@contextmanager
def failing_at_once(*more: type[MosaicError]) -> Iterator[None]:
    """
    Turn what no retry can cure into Airflow's failure without retries, raised from the original.

    A refusal that outlasted a wait is left to the retries: they go on with what the task holds, which costs nothing. So
    is a connection that Airflow did not return: its API server or its secrets backend may be back by then.

    :param more: Kinds of errors that are hopeless here besides those that always are; a refusal that outlasted a wait
        too, if its kind is among them.
    """
    try:
        yield
    except (*HOPELESS, *more) as error:
        lost = isinstance(error, MosaicConnectionError) or not (is_refusal(error) and isinstance(error, more))
        if error.transient and lost:
            raise
        raise fail_exception(error) from error


def fail_exception(error: MosaicError) -> Exception:
    """
    Airflow's failure without retries, from the original, with whose class its message begins.

    :param error: The original.
    """
    from airflow.providers.common.compat.sdk import AirflowFailException

    failure: Exception = AirflowFailException(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
