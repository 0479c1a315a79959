"""
Exceptions of the API, one for each reaction of a caller.

A message says what happened, to which id, and what to do. It never contains a key, a header, a signed link or a whole
body. Retries depend on two attributes: :attr:`MosaicError.transient` and :attr:`MosaicError.effect_unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_mosaic.api.redaction import masked

#: Characters. The longest messages list the failed nodes of a run.
_MAX_MESSAGE_LENGTH = 20_000


class MosaicError(Exception):
    """
    Base class of all Mosaic errors.

    Its text consists of :attr:`what`, :attr:`means`, :attr:`to_do` and :attr:`rows`. A task logs each on its own line
    before it fails.

    :param message: What happened, with the id.
    :param means: What it means for money or publicity.
    :param to_do: What the user can do; alternatives are several texts.
    :param rows: Details, one a line: candidates, nodes, invalid values.
    :param status: HTTP status of the response, if there was one.
    :param method: HTTP method of the request.
    :param path: Path *template* of the request, for example ``/agent_run/{run_id}``.
    :param detail: The server's explanation, without secrets.
    :param transient: Whether a retry may succeed.
    :param effect_unknown: Whether the server may have carried out the request.
    :param accepted: Whether a status of success came, although the rest of the response is missing or can't be used.
    :param retry_after: Seconds to wait, as the server requests.
    :param candidates: Ids of what the request may have created.
    """

    #: Whether a retry may succeed.
    transient: bool = False
    #: Whether the server may have carried out the request although no good response came.
    effect_unknown: bool = False

    def __init__(
        self,
        message: str,
        *,
        means: str = "",
        to_do: str | Sequence[str] = (),
        rows: Sequence[str] = (),
        status: int | None = None,
        method: str | None = None,
        path: str | None = None,
        detail: str | None = None,
        transient: bool | None = None,
        effect_unknown: bool | None = None,
        accepted: bool = False,
        retry_after: float | None = None,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__()
        #: What happened, with the id.
        self.what = masked(message)[:_MAX_MESSAGE_LENGTH]
        #: Details, one a line.
        self.rows = tuple(masked(row)[:_MAX_MESSAGE_LENGTH] for row in rows)
        self.set_consequences(means=means, to_do=to_do)
        self.status = status
        self.method = method
        self.path = path
        self.detail = detail
        self.accepted = accepted
        self.retry_after = retry_after
        self.candidates = tuple(candidates)
        if transient is not None:
            self.transient = transient
        if effect_unknown is not None:
            self.effect_unknown = effect_unknown

    def set_consequences(self, *, means: str, to_do: str | Sequence[str]) -> None:
        """Replace :attr:`means` and :attr:`to_do`: a task knows more about them than the code that raised the error."""
        texts = (to_do,) if isinstance(to_do, str) else to_do
        #: What it means for money or publicity; empty if only the task can know.
        self.means = masked(means)[:_MAX_MESSAGE_LENGTH]
        #: What the user can do, one alternative a text.
        self.to_do = tuple(masked(text)[:_MAX_MESSAGE_LENGTH] for text in texts if text)
        sentences = " ".join(filter(None, (self.what, self.means, *self.to_do)))
        self.args = ("\n".join((sentences, *self.rows))[:_MAX_MESSAGE_LENGTH],)

    @property
    def lines(self) -> tuple[str, ...]:
        """The parts of the message: what happened, details, what it means, what to do."""
        return tuple(line for part in (self.what, *self.rows, self.means, *self.to_do) for line in part.splitlines())


class MosaicAuthenticationError(MosaicError):
    """The API key is missing, invalid or revoked (401). Fix the connection; a retry does not help."""


class MosaicPermissionError(MosaicError):
    """The scopes, the plan or the workspace of the API key do not allow the request (403)."""


class MosaicNotFoundError(MosaicError):
    """The agent, run, asset or post does not exist for this API key (404)."""


class MosaicValidationError(MosaicError):
    """
    The request is invalid: an argument, a 400, 413 or 422, another 4xx without a class of its own, or a 2xx whose body
    refuses the request.

    Fix the request; a retry does not help.
    """


class MosaicConnectionError(MosaicValidationError):
    """
    The Airflow connection is invalid, or Airflow did not return it.

    Airflow reports a connection that its API server or secrets backend can't return at the moment as not defined. A
    failed lookup is therefore :attr:`~MosaicError.transient`.
    """


class MosaicConflictError(MosaicError):
    """The current state of the run, post or asset does not allow the request (409)."""


class MosaicRateLimitError(MosaicError):
    """
    Too many requests: 429, or another 4xx with the code of a limit. Retry after :attr:`~MosaicError.retry_after`.

    The provider assumes that the request had no effect.
    """

    transient = True


class MosaicServerError(MosaicError):
    """
    The server failed (5xx), timed out (408), a gateway gave up (460, 499), or the server asks to try again (425).

    Whether the request had an effect is unknown. A 425 had none, nor a 503 with ``Retry-After`` that is no HTML page.
    """

    transient = True
    effect_unknown = True


class MosaicTransportError(MosaicError):
    """No response: the connection was refused, was interrupted, or timed out."""

    transient = True
    effect_unknown = True


class MosaicResponseError(MosaicError):
    """The response can't be used: not JSON, incomplete, without a required field, or contradicting itself."""

    effect_unknown = True


class MosaicAmbiguousOutcomeError(MosaicError):
    """
    It is unknown whether a request with effects (a run, a post) was carried out, and the lists do not show it.

    Unless the message says otherwise, it was not sent again. See "When a task fails with MosaicAmbiguousOutcomeError"
    in docs/promises.md.
    """

    effect_unknown = True


class MosaicRunFailedError(MosaicError):
    """A run failed."""

    def __init__(self, message: str, *, run_id: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.run_id = run_id


class MosaicNeedsCreditsError(MosaicRunFailedError):
    """There are not enough credits. Buy credits, then retry. A run that was started is resumed, not repeated."""


class MosaicRunCancelledError(MosaicRunFailedError):
    """A run was cancelled. It can be resumed."""


class MosaicRunPartialError(MosaicRunFailedError):
    """A run ended with some outputs and some failed nodes, and the task has ``on_partial="fail"``."""


class MosaicPostFailedError(MosaicError):
    """A post failed at one or all of its destinations."""

    def __init__(self, message: str, *, post_id: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.post_id = post_id


class MosaicTimeoutError(MosaicError):
    """A wait took longer than its timeout."""
