"""
The state of one wait: when to poll next, which errors to tolerate, what to log, when the deadline has passed.

Nothing here sends or sleeps. Tasks on workers and triggers in the triggerer use the same rules.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from typing_extensions import NotRequired

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_credits, validate_seconds
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import (
    StatusOutcome,
    avatar_profile_outcome,
    credits_outcome,
    post_outcome,
    run_outcome,
)
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile
    from airflow_provider_mosaic.api.endpoints.billing import Credits
    from airflow_provider_mosaic.api.endpoints.posts import Post
    from airflow_provider_mosaic.api.endpoints.runs import Run

S = TypeVar("S")
log = logging.getLogger(__name__)

#: A wait fails after this many errors in a row that have lasted for this many seconds. Both count: short pauses make
#: many errors of a short outage.
MAX_ERRORS = 20
ERRORS_TIMEOUT = 900.0
#: The same for refusals. A revoked key stays revoked; but a sign-in service that is down, or a firewall in front of the
#: API, also answers 401 and 403, and is fixed in minutes.
MAX_REFUSALS = 5
REFUSALS_TIMEOUT = 300.0
#: A wait fails after this many "not found" responses in a row that have lasted for this many seconds: a gateway without
#: a route to Mosaic answers 404 too.
MAX_NOT_FOUND = 3
NOT_FOUND_TIMEOUT = 60.0
#: For this many seconds after the start, "not found" responses do not fail the wait: Mosaic may need time to show it.
NOT_FOUND_GRACE = 120.0
#: Seconds of unknown statuses in a row after which a warning is logged: the status may mean an end.
UNKNOWN_STATUS_TIMEOUT = 3600.0
_FIRST_PAUSE = 2.0
_PAUSE_FACTOR = 1.5
#: Errors of a request that Mosaic refused.
REFUSALS = (
    MosaicAuthenticationError,
    MosaicPermissionError,
    MosaicValidationError,
    MosaicConflictError,
    MosaicNeedsCreditsError,
)


def is_refusal(error: MosaicError) -> bool:
    """
    Return whether Mosaic refused to be polled, or the connection or the response can't be used.

    A refusal is any 4xx but 404, 408, 425, 429, 460 and 499, a redirect, or JSON without the item. All polls send
    the same request, so a refusal is no evidence about the item. An argument that was invalid before the request was
    sent is no refusal.

    A certificate that cannot be verified counts too: it is as likely to be replaced soon, and is no evidence either.
    """
    if isinstance(error, MosaicConnectionError):
        return True
    if isinstance(error, MosaicResponseError | MosaicTransportError):
        return not error.transient
    return isinstance(error, REFUSALS) and (error.status is not None or error.transient)


@dataclass(eq=False)
class FailureTolerance:
    """
    Decide whether failed polls end a wait. Create a new instance after a successful poll.

    - "Not found" ends it when it has lasted a minute, but not within :data:`NOT_FOUND_GRACE` of the start. Any other
      error in between starts the minute again: the item may exist.
    - Refusals end it when there are several and they have lasted some minutes. The last one is raised as
      :attr:`~MosaicError.transient`, so that a task that has started something is retried. "Not found" in between does
      not interrupt them, so that a wait ends also if the two alternate.
    - Transient errors, also bodies that are not JSON, end it when there are many and they have lasted longer, with any
      errors in between.
    - Any other error ends it at once.

    :param not_found_until: Until when "not found" does not count, in seconds since the epoch.
    :param monotonic: Returns the seconds that measure how long errors last. The wall clock may be set during a wait.
    """

    name: str
    log: Callable[[str], None]
    not_found_until: float = 0.0
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._errors, self._not_found, self._refusals = Streak(), Streak(), Streak()
        self._has_logged_refusal = False

    def record_error(self, error: MosaicError) -> None:
        """Record a failed poll."""
        now = self.monotonic()
        self._errors.record(now)
        if isinstance(error, MosaicNotFoundError):
            self._not_found.record(now)
            has_lasted = self._not_found.has_lasted(MAX_NOT_FOUND, NOT_FOUND_TIMEOUT, now)
            if has_lasted and self.now() >= self.not_found_until:
                raise error
            return
        self._not_found = Streak()
        if is_refusal(error):
            self._record_refusal(error, now)
            return
        self._refusals = Streak()
        if not error.transient or self._errors.has_lasted(MAX_ERRORS, ERRORS_TIMEOUT, now):
            raise error
        if self._errors.count == 1:
            self.log(f"{self.name} could not be read. The wait continues. {error}")

    def _record_refusal(self, error: MosaicError, now: float) -> None:
        self._refusals.record(now)
        if not self._has_logged_refusal:
            self._has_logged_refusal = True
            self.log(
                f"{self.name} could not be read. If this lasts {REFUSALS_TIMEOUT / 60:g} minutes, the wait fails; "
                f"nothing is cancelled. {error}"
            )
        if self._refusals.has_lasted(MAX_REFUSALS, REFUSALS_TIMEOUT, now):
            # Airflow retries a task after the other errors anyway.
            error.transient = isinstance(error, REFUSALS)
            raise error


class Streak:
    """Failed polls of one kind in a row."""

    def __init__(self) -> None:
        self.count = 0
        self._first_at = 0.0

    def record(self, now: float) -> None:
        """Count a failed poll."""
        if not self.count:
            self._first_at = now
        self.count += 1

    def has_lasted(self, count: int, seconds: float, now: float) -> bool:
        """Return whether there are this many, and the first is this long ago."""
        return self.count >= count and now - self._first_at >= seconds


class UnknownStatuses:
    """Log one warning when an item has had undocumented statuses for an hour."""

    __slots__ = ("_first_at", "_has_warned", "_name", "_warn")

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        self._name = name
        self._warn = warn
        self._first_at: float | None = None
        self._has_warned = False

    def record(self, outcome: StatusOutcome, *, now: float) -> None:
        """Record what a poll returned."""
        if outcome.known:
            self._first_at = None
            return
        if self._first_at is None:
            self._first_at = now
        if not self._has_warned and now - self._first_at >= UNKNOWN_STATUS_TIMEOUT:
            self._has_warned = True
            self._warn(unknown_status_warning(self._name, outcome.status, now - self._first_at))


def unknown_status_warning(name: str, status: str, seconds: float) -> str:
    """Return the log line for an item that has had unknown statuses for so long."""
    return (
        f"{name} has had the status {status!r} or other unknown ones for {seconds / 60:.0f} minutes. The wait "
        "continues, since unknown statuses count as pending. Check it in Mosaic."
    )


class PollOptions(TypedDict):
    """Options that all waits have in common; see :class:`PollState`."""

    poll_interval: float
    deadline: float | None
    log: Callable[[str], None]
    warn: NotRequired[Callable[[str], None]]


class PollState(Generic[S]):
    """
    The state of one wait. A triggerer holds thousands.

    :param name: What is polled, as the first words of a log line, for example ``Run 'x'``.
    :param outcome_of: Returns the outcome of what a poll returned.
    :param describe: Returns its progress in a few words. A change is logged.
    :param is_stuck: Returns whether a user must do something before it can end. The progress is a warning then.
    :param poll_interval: Longest pause between two polls, in seconds. The first pauses are shorter.
    :param deadline: End of the wait, in seconds since the epoch; None waits without a limit.
    :param started_at: When this task started the item, in seconds since the epoch; None if it was started elsewhere.
    """

    def __init__(
        self,
        *,
        name: str,
        outcome_of: Callable[[S], StatusOutcome],
        describe: Callable[[S], str],
        is_stuck: Callable[[S], bool] = lambda _: False,
        poll_interval: float,
        deadline: float | None,
        log: Callable[[str], None],
        warn: Callable[[str], None] = log.warning,
        started_at: float | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        validate_seconds("poll_interval", poll_interval)
        for argument, moment in (("deadline", deadline), ("started_at", started_at)):
            if moment is not None and (isinstance(moment, bool) or not isinstance(moment, (int, float))):
                raise_invalid(argument, moment, "it must be a number of seconds since the epoch.")
        self.name = name
        self.poll_interval = poll_interval
        self.deadline = deadline
        self._outcome_of = outcome_of
        self._describe = describe
        self._is_stuck = is_stuck
        self._log = log
        self._warn = warn
        self._now = now
        self._monotonic = monotonic
        self._not_found_until = 0.0 if started_at is None else started_at + NOT_FOUND_GRACE
        self._next_pause = min(_FIRST_PAUSE, poll_interval)
        self._cooldown = 0.0
        self._failures: FailureTolerance | None = None
        #: The progress at the newest successful poll; None before the first one.
        self.description: str | None = None
        self._last_unknown: str | None = None
        self._unknown_statuses = UnknownStatuses(name, warn)

    def record_success(self, item: S) -> StatusOutcome:
        """Record what a poll returned, and return its outcome."""
        if self._failures is not None:
            self._log(f"{self.name} can be read again.")
            self._failures = None
        outcome = self._outcome_of(item)
        self._unknown_statuses.record(outcome, now=self._monotonic())
        description = self._describe(item)
        if description != self.description:
            self.description = description
            (self._warn if self._is_stuck(item) else self._log)(f"{self.name} is {description}.")
        if not outcome.known and outcome.status != self._last_unknown:
            self._last_unknown = outcome.status
            self._log(f"{self.name} has the unknown status {outcome.status!r}, which counts as pending.")
        return outcome

    def record_error(self, error: MosaicError) -> None:
        """
        Record a failed poll.

        :raises MosaicError: The error, if it ends the wait: see :class:`FailureTolerance`.
        """
        self._cooldown = bounded_cooldown(error.retry_after or 0.0)
        if self._failures is None:
            self._failures = FailureTolerance(
                self.name,
                self._log,
                not_found_until=self._not_found_until,
                now=self._now,
                monotonic=self._monotonic,
            )
        self._failures.record_error(error)

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self._now() >= self.deadline

    def pause(self, *, jitter: float = 0.15) -> float:
        """
        Return the seconds to sleep before the next poll: growing, with jitter, never past the deadline.

        :param jitter: Largest fraction by which the pause is shortened at random.
        """
        pause = max(self._next_pause * (1.0 - random.uniform(0.0, jitter)), self._cooldown)
        self._next_pause = min(self.poll_interval, self._next_pause * _PAUSE_FACTOR)
        self._cooldown = 0.0
        if self.deadline is not None:
            pause = min(pause, self.deadline - self._now())
        return max(0.0, pause)


def run_poll_state(run_id: str, *, started_at: float | None = None, **options: Unpack[PollOptions]) -> PollState[Run]:
    """Return the state of a wait for the end of a run."""
    return PollState(
        name=f"Run {run_id!r}",
        outcome_of=run_outcome,
        describe=_progress,
        is_stuck=lambda run: run.needs_credits,
        started_at=started_at,
        **options,
    )


def _progress(run: Run) -> str:
    short = " (short of credits)" if run.needs_credits else ""
    return f"{run.status}{short}: {run.node_status_counts}"


def post_poll_state(
    post_id: str, *, started_at: float | None = None, **options: Unpack[PollOptions]
) -> PollState[Post]:
    """Return the state of a wait for a post to be published."""
    return PollState(
        name=f"Post {post_id!r}",
        outcome_of=post_outcome,
        describe=lambda post: post.status,
        started_at=started_at,
        **options,
    )


def avatar_profile_poll_state(profile_id: str, **options: Unpack[PollOptions]) -> PollState[AvatarProfile]:
    """Return the state of a wait for an avatar profile to be ready."""
    return PollState(
        name=f"Avatar profile {profile_id!r}",
        outcome_of=avatar_profile_outcome,
        describe=lambda profile: profile.status,
        **options,
    )


def credits_poll_state(min_credits: float, **options: Unpack[PollOptions]) -> PollState[Credits]:
    """Return the state of a wait for credits."""
    validate_credits("min_credits", min_credits)
    return PollState(
        name="The balance",
        outcome_of=lambda credits: credits_outcome(credits, min_credits),
        describe=lambda credits: f"{credits.balance_text}; {min_credits:g} are required",
        **options,
    )
