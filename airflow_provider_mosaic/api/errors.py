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

    Its text is made of :attr:`what`, :attr:`means`, :attr:`to_do` and :attr:`items`. A task logs each of them on a line
    of its own before it fails.

    :param message: What happened, with the id.
    :param means: What that means for money or publicity.
    :param to_do: What the person on call can do; several choices are several texts.
    :param items: Lines that belong to what happened, one each: candidates, nodes, faults.
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
        means: str = "",
        to_do: str | Sequence[str] = (),
        items: Sequence[str] = (),
        status: int | None = None,
        method: str | None = None,
        path: str | None = None,
        detail: str | None = None,
        transient: bool | None = None,
        effect_unknown: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__()
        #: What happened, with the id.
        self.what = masked(message)[:_LONGEST_MESSAGE]
        #: Lines that belong to what happened.
        self.items = tuple(masked(item)[:_LONGEST_MESSAGE] for item in items)
        self.set_consequences(means=means, to_do=to_do)
        self.status = status
        self.method = method
        self.path = path
        self.detail = detail
        self.retry_after = retry_after
        if transient is not None:
            self.transient = transient
        if effect_unknown is not None:
            self.effect_unknown = effect_unknown

    def set_consequences(self, *, means: str, to_do: str | Sequence[str]) -> None:
        """
        Replace what follows from the error. The task that fails by it knows more than the code that raised it.

        :param means: What it means for money or publicity.
        :param to_do: What the person on call can do.
        """
        texts = (to_do,) if isinstance(to_do, str) else to_do
        #: What it means for money or publicity; empty where only the task that fails by it can know.
        self.means = masked(means)[:_LONGEST_MESSAGE]
        #: What the person on call can do, one choice a text.
        self.to_do = tuple(masked(text)[:_LONGEST_MESSAGE] for text in texts if text)
        sentences = " ".join(filter(None, (self.what, self.means, *self.to_do)))
        self.args = ("\n".join((sentences, *self.items))[:_LONGEST_MESSAGE],)

    @property
    def lines(self) -> tuple[str, ...]:
        """Its parts, one a line: what happened, its items, what it means, what to do."""
        return tuple(line for part in (self.what, *self.items, self.means, *self.to_do) for line in part.splitlines())


class MosaicAuthenticationError(MosaicError):
    """The API key is missing, wrong or revoked (401): mend the connection, a retry can't."""


class MosaicPermissionError(MosaicError):
    """The key may not do this (403): its scopes, its plan or its workspace do not allow it."""


class MosaicNotFoundError(MosaicError):
    """There is no such agent, run, asset or post for this key (404)."""


class MosaicValidationError(MosaicError):
    """
    What was asked is wrong in itself (an argument, or 400, 413, 422), or a 2xx whose body refuses the request: change
    it, a retry can't help.
    """


class MosaicConnectionError(MosaicValidationError):
    """
    The Airflow connection can't be used: something in it is wrong, or Airflow returned none.

    Airflow reports a connection that its API server or secrets backend could not return just now as one that is not
    defined. A failed lookup is therefore :attr:`~MosaicError.transient`.
    """


class MosaicConflictError(MosaicError):
    """The thing is not in a state that allows this (409)."""


class MosaicRateLimitError(MosaicError):
    """
    Too many requests (429): ask again after :attr:`MosaicError.retry_after` seconds. The provider assumes that nothing
    was done.
    """

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
    """
    An answer came that can't be read: not JSON, cut short, without a field that is needed, or one that contradicts
    itself.

    :param candidates: Ids in it that may be of what the request made.
    """

    effect_unknown = True

    def __init__(self, message: str, *, candidates: Sequence[str] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.candidates = tuple(candidates)


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
    """A run stopped for want of credits: buy credits, then resume it (only what is missing is done again)."""


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
