"""
The course of one wait, without the waiting: when to look next, what is worth a log line, when to give up.

The loops in workers and in triggers only look and sleep; everything that they must agree on is here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_credits, validate_seconds
from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile
from airflow_provider_mosaic.api.endpoints.billing import Credits, balance_words
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.endpoints.social import Post
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import (
    Judgement,
    avatar_profile_outcome,
    credits_outcome,
    post_outcome,
    run_outcome,
)
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown

S = TypeVar("S")
log = logging.getLogger(__name__)

#: Faults in a row after which a wait gives up, and for how long they must have lasted, in seconds: short pauses make
#: many faults of a short outage. What it waits for goes on all the same.
MAX_ERRORS = 20
ERRORS_TIMEOUT = 900.0
#: The same for refusals. A key that was revoked stays so, but a sign-in service that is away and a firewall in front of
#: the API answer 401 and 403 too, to all waits together: they are mended in minutes, and so is a key.
MAX_REFUSALS = 5
REFUSALS_TIMEOUT = 300.0
#: Answers "there is no such thing" in a row that are believed.
MAX_NOT_FOUND = 3
#: Seconds after the beginning of something in which they are not believed: it may not be found yet everywhere.
NOT_FOUND_GRACE = 120.0
#: Unknown statuses that are logged, each once.
_MOST_UNKNOWN = 20
#: Seconds of unknown statuses without a break after which a warning is logged: the status may be an end.
UNKNOWN_STATUS_TIMEOUT = 3600.0
_FIRST_PAUSE = 2.0
_GROWTH = 1.5
_REFUSALS = (
    MosaicAuthenticationError,
    MosaicPermissionError,
    MosaicValidationError,
    MosaicConflictError,
    MosaicNeedsCreditsError,
)


def is_refusal(error: MosaicError) -> bool:
    """
    Whether the server refused a look: 401, 403, or any 4xx other than "not found" and "too many"; or the connection
    can't be used, so that nothing was sent.

    Nothing about a look changes between two of them, so none of these speaks of what is waited for. An argument that
    was refused before it was sent is none.

    :param error: The error; also one that a trigger's event has told of, which is transient then.
    """
    if isinstance(error, MosaicConnectionError):
        return True
    return isinstance(error, _REFUSALS) and (error.status is not None or error.transient)


class FailureTolerance:
    """
    Looks in a row that failed: which of them are believed, and when.

    - "Not found": the third time, and not while what was begun settles.
    - A refusal: after several that lasted some minutes. It is :attr:`~MosaicError.transient` then: whoever holds what
      is waited for loses nothing by trying again.
    - What passes, or says nothing about what is waited for: after many that lasted longer.
    - Anything else at once.

    :param name: What is looked at.
    :param noted: Gets each line that is worth a person's while.
    :param settled: Until when "not found" is not believed, in seconds since the epoch.
    :param now: The wall clock.
    """

    __slots__ = ("_began", "_count", "_not_found", "_noted", "_now", "_refusals", "_refused_since", "_settled", "name")

    def __init__(
        self,
        name: str,
        noted: Callable[[str], None],
        *,
        settled: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._noted = noted
        self._settled = settled
        self._now = now
        self._began = now()
        self._count = 0
        self._not_found = 0
        self._refusals = 0
        self._refused_since: float | None = None

    def record_error(self, error: MosaicError) -> None:
        """
        Take in that a look failed.

        :param error: Why.
        :raises MosaicError: It is believed.
        """
        self._count += 1
        if is_refusal(error):
            self._refused(error)
            return
        self._refusals = 0
        if isinstance(error, MosaicNotFoundError):
            self._not_found += 1
            if self._not_found >= MAX_NOT_FOUND and self._now() >= self._settled:
                raise error
            return
        # An answer that can't be read says nothing about what is waited for: the next one may.
        passing = error.transient or isinstance(error, MosaicResponseError)
        lasting = self._count >= MAX_ERRORS and self._now() - self._began >= ERRORS_TIMEOUT
        if not passing or lasting:
            raise error
        if self._count == 1:
            self._noted(f"{self.name} could not be read, the wait goes on. {error}")

    def _refused(self, error: MosaicError) -> None:
        now = self._now()
        if self._refused_since is None:
            self._noted(
                f"{self.name} may not be read. If that stays so for {REFUSALS_TIMEOUT / 60:g} minutes, the wait "
                f"fails; nothing is cancelled. {error}"
            )
        if not self._refusals or self._refused_since is None:
            self._refused_since = now
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS and now - self._refused_since >= REFUSALS_TIMEOUT:
            error.transient = True
            raise error


class UnknownStatuses:
    """
    How long something has had statuses that the API does not document. A warning is logged once, after an hour.

    :param name: What is waited for, as a log line begins with it.
    """

    __slots__ = ("_name", "_since", "_warned")

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: float | None = None
        self._warned = False

    def record(self, verdict: Judgement, *, now: float) -> None:
        """
        Take in what a read showed.

        :param verdict: How it stands.
        :param now: The time, in seconds since the epoch.
        """
        if verdict.known:
            self._since = None
            return
        if self._since is None:
            self._since = now
        if not self._warned and now - self._since >= UNKNOWN_STATUS_TIMEOUT:
            self._warned = True
            log.warning(
                "%s has had the status %r or other unknown ones for %.0f minutes. It is still waited for, since an "
                "unknown status counts as not ended: check it in Mosaic.",
                self._name,
                verdict.status,
                (now - self._since) / 60,
            )


class PollState(Generic[S]):
    """
    One wait for the end of something. A triggerer holds thousands.

    :param name: What is waited for, for example ``run 'x'``.
    :param judge: How it stands.
    :param describe: Its progress in a few words; a line is noted when they change.
    :param poll_interval: The longest pause between two looks, in seconds; the first ones are shorter.
    :param deadline: When to give up, in seconds since the epoch, by the wall clock; None for never.
    :param noted: Gets each line that is worth a person's while.
    :param begun: When it was begun, in seconds since the epoch, if the one who waits has begun it.
    :param now: The wall clock.
    """

    def __init__(
        self,
        *,
        name: str,
        judge: Callable[[S], Judgement],
        describe: Callable[[S], str],
        poll_interval: float,
        deadline: float | None,
        noted: Callable[[str], None],
        begun: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        validate_seconds("poll_interval", poll_interval)
        for argument, moment in (("deadline", deadline), ("begun", begun)):
            if moment is not None and (isinstance(moment, bool) or not isinstance(moment, (int, float))):
                raise_invalid(argument, moment, "it must be a number of seconds since the epoch.")
        self.name = name
        self._settled = 0.0 if begun is None else begun + NOT_FOUND_GRACE
        self._judge = judge
        self._describe = describe
        #: The longest pause between two looks, in seconds.
        self.poll_interval = poll_interval
        self._deadline = deadline
        self._noted = noted
        self._now = now
        self._next_pause = min(_FIRST_PAUSE, poll_interval)
        self._asked_pause = 0.0
        self._faults: FailureTolerance | None = None
        self._last_words: str | None = None
        self._unknown: tuple[str, ...] = ()
        self._unknown_course = UnknownStatuses(name)

    def record_success(self, subject: S) -> Judgement:
        """
        Take in what a look showed.

        :param subject: What was looked at.
        """
        if self._faults is not None:
            self._noted(f"{self.name} can be read again.")
            self._faults = None
        verdict = self._judge(subject)
        if not verdict.known and verdict.status not in self._unknown and len(self._unknown) < _MOST_UNKNOWN:
            self._unknown += (verdict.status,)
            self._noted(f"{self.name} has the unknown status {verdict.status!r}: taken as not ended yet.")
        self._unknown_course.record(verdict, now=self._now())
        words = self._describe(subject)
        if words != self._last_words:
            self._last_words = words
            self._noted(f"{self.name} is {words}.")
        return verdict

    def record_error(self, error: MosaicError) -> None:
        """
        Take in that a look failed, and go on unless it is believed: see :class:`Faults`.

        :param error: Why.
        :raises MosaicError: It is believed.
        """
        self._asked_pause = bounded_cooldown(error.retry_after or 0.0)
        if self._faults is None:
            self._faults = FailureTolerance(self.name, self._noted, settled=self._settled, now=self._now)
        self._faults.record_error(error)

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and self._now() >= self._deadline

    @property
    def deadline(self) -> float | None:
        """When to give up, in seconds since the epoch; None for never."""
        return self._deadline

    def pause(self, *, jitter: float = 0.15) -> float:
        """
        Seconds to sleep before the next look: growing, with jitter, and never past the deadline.

        :param jitter: How much shorter it may be by chance, as a part of the whole.
        """
        shorter = random.uniform(0.0, jitter) if jitter else 0.0
        pause = max(self._next_pause * (1.0 - shorter), self._asked_pause)
        self._next_pause = min(self.poll_interval, self._next_pause * _GROWTH)
        self._asked_pause = 0.0
        if self._deadline is not None:
            pause = min(pause, self._deadline - self._now())
        return max(0.0, pause)


def run_poll_state(
    run_id: str,
    *,
    poll_interval: float,
    deadline: float | None,
    noted: Callable[[str], None],
    begun: float | None = None,
) -> PollState[Run]:
    """
    A wait for the end of a run; for the parameters see :class:`PollState`.

    :param run_id: The run.
    """
    return PollState(
        name=f"Run {run_id!r}",
        judge=run_outcome,
        describe=_progress,
        poll_interval=poll_interval,
        deadline=deadline,
        noted=noted,
        begun=begun,
    )


def _progress(run: Run) -> str:
    short = " (short of credits)" if run.needs_credits else ""
    return f"{run.status}{short}: {run.node_status_counts}"


def post_poll_state(
    post_id: str,
    *,
    poll_interval: float,
    deadline: float | None,
    noted: Callable[[str], None],
    begun: float | None = None,
) -> PollState[Post]:
    """
    A wait until a post is out; for the parameters see :class:`PollState`.

    :param post_id: The post.
    """
    return PollState(
        name=f"Post {post_id!r}",
        judge=post_outcome,
        describe=lambda post: post.status,
        poll_interval=poll_interval,
        deadline=deadline,
        noted=noted,
        begun=begun,
    )


def avatar_profile_poll_state(
    avatar_profile_id: str, *, poll_interval: float, deadline: float | None, noted: Callable[[str], None]
) -> PollState[AvatarProfile]:
    """
    A wait until an avatar profile is ready; for the parameters see :class:`PollState`.

    :param avatar_profile_id: The profile.
    """
    return PollState(
        name=f"Avatar profile {avatar_profile_id!r}",
        judge=avatar_profile_outcome,
        describe=lambda profile: profile.status,
        poll_interval=poll_interval,
        deadline=deadline,
        noted=noted,
    )


def credits_poll_state(
    min_credits: float, *, poll_interval: float, deadline: float | None, noted: Callable[[str], None]
) -> PollState[Credits]:
    """
    A wait until there are enough credits; for the parameters see :class:`PollState`.

    :param min_credits: How many.
    """
    validate_credits("min_credits", min_credits)
    return PollState(
        name="The balance",
        judge=lambda credits: credits_outcome(credits, min_credits),
        describe=lambda credits: f"{balance_words(credits)}, {min_credits:g} are wanted",
        poll_interval=poll_interval,
        deadline=deadline,
        noted=noted,
    )
