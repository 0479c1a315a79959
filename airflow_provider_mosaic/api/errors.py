"""
What can go wrong with Mosaic, named by what the caller should do about it.

Every exception says what happened, to what, and what to do next, and never holds a key, a header, a signed link or a
whole body. Two facts that a retry turns on are kept as attributes: :attr:`MosaicError.transient` and
:attr:`MosaicError.effect_unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_mosaic.api.redaction import masked

#: Characters of a message. The longest ones of ours list the failed nodes of a run.
_LONGEST_MESSAGE = 20_000


class MosaicError(Exception):
    """
    Anything that Mosaic, or the way to it, did not do.

    :param message: What happened, to what, and what to do next.
    :param status: HTTP status of the answer, if there was one.
    :param method: HTTP method of the request.
    :param path: Path *template* of the request, for example ``/agent_run/{run_id}``.
    :param detail: The server's own words, cleaned of secrets.
    :param transient: Whether the same request may succeed later by itself.
    :param effect_unknown: Whether the server may have acted although no good answer came.
    :param retry_after: Seconds that the server asked to wait.
    """

    #: Whether the same request may succeed later by itself.
    transient: bool = False
    #: Whether the server may have acted although no good answer came.
    effect_unknown: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        method: str | None = None,
        path: str | None = None,
        detail: str | None = None,
        transient: bool | None = None,
        effect_unknown: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(masked(message)[:_LONGEST_MESSAGE])
        self.status = status
        self.method = method
        self.path = path
        self.detail = detail
        self.retry_after = retry_after
        if transient is not None:
            self.transient = transient
        if effect_unknown is not None:
            self.effect_unknown = effect_unknown


class MosaicAuthenticationError(MosaicError):
    """The API key is missing, wrong or revoked (401): mend the connection, a retry can't."""


class MosaicPermissionError(MosaicError):
    """The key may not do this (403): its scopes, its plan or its workspace do not allow it."""


class MosaicNotFoundError(MosaicError):
    """There is no such agent, run, asset or post for this key (404)."""


class MosaicValidationError(MosaicError):
    """What was asked is wrong in itself (an argument, or 400, 413, 422): change it, a retry can't help."""


class MosaicConnectionError(MosaicValidationError):
    """
    The Airflow connection can't be used: something in it is wrong, or Airflow returned none.

    Airflow reports a connection that its API server or secrets backend could not return just now as one that is not
    defined. A failed lookup is therefore :attr:`~MosaicError.transient`.
    """


class MosaicConflictError(MosaicError):
    """The thing is not in a state that allows this (409)."""


class MosaicRateLimitError(MosaicError):
    """Too many requests (429): nothing was done, ask again after :attr:`MosaicError.retry_after` seconds."""

    transient = True


class MosaicServerError(MosaicError):
    """The server failed (5xx); whether it had acted before is unknown unless it asked to come back later."""

    transient = True
    effect_unknown = True


class MosaicTransportError(MosaicError):
    """No answer came: the connection was refused, broke, or timed out."""

    transient = True
    effect_unknown = True


class MosaicResponseError(MosaicError):
    """An answer came that can't be read: not JSON, cut short, or without a field that is needed."""

    effect_unknown = True


class MosaicAmbiguousOutcomeError(MosaicError):
    """
    A request with effects (a run, a post) may or may not have been carried out, and the lists did not settle it.

    :param candidates: Ids of the runs or posts that may be the one.
    """

    effect_unknown = True

    def __init__(self, message: str, *, candidates: Sequence[str] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.candidates = tuple(candidates)


class MosaicRunFailedError(MosaicError):
    """
    A run ended without what was asked of it.

    :param run_id: The run.
    """

    def __init__(self, message: str, *, run_id: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.run_id = run_id


class MosaicNeedsCreditsError(MosaicRunFailedError):
    """A run stopped for want of credits: buy credits, then resume it (only what is missing is done and paid)."""


class MosaicRunCancelledError(MosaicRunFailedError):
    """A run was cancelled; it can be resumed."""


class MosaicRunPartialError(MosaicRunFailedError):
    """A run ended with some outputs and some failures, and the task was told to fail then."""


class MosaicPostFailedError(MosaicError):
    """
    A post did not go out, or not everywhere.

    :param post_id: The post.
    """

    def __init__(self, message: str, *, post_id: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.post_id = post_id


class MosaicTimeoutError(MosaicError):
    """The time given for a wait is over."""
