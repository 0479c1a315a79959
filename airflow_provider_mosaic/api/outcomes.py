"""
What a status means: still pending, or how it ended.

A status that the API does not document counts as pending: the API is new and may add statuses, and a deadline bounds
every wait. The models replace other spellings of a documented status by the documented one
(:data:`~airflow_provider_mosaic.api.endpoints.runs.RUN_STATUS_WORDS`), so a wait ends also with another spelling.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, AvatarStatus
from airflow_provider_mosaic.api.endpoints.posts import UNCLEAR_ENDS, Post, PostStatus
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.endpoints.billing import Credits


class Outcome(str, enum.Enum):
    """What a status means."""

    PENDING = "pending"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class StatusOutcome:
    """
    The outcome of a run, a post, an avatar profile or a check of the balance.

    :param status: The status as the API names it; of the balance ``enough`` or ``short``.
    :param known: Whether the API documents the status.
    """

    outcome: Outcome
    status: str
    known: bool = True

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.outcome is not Outcome.PENDING


_RUNS: Mapping[str, Outcome] = {
    RunStatus.RUNNING: Outcome.PENDING,
    RunStatus.COMPLETED: Outcome.SUCCESS,
    RunStatus.PARTIAL_COMPLETE: Outcome.PARTIAL,
    RunStatus.FAILED: Outcome.FAILED,
    RunStatus.CANCELLED: Outcome.FAILED,
}
_POSTS: Mapping[str, Outcome] = {
    PostStatus.SCHEDULED: Outcome.PENDING,
    PostStatus.PENDING_APPROVAL: Outcome.PENDING,
    PostStatus.PROCESSING: Outcome.PENDING,
    PostStatus.POSTED: Outcome.SUCCESS,
    PostStatus.PARTIAL_FAILURE: Outcome.PARTIAL,
    PostStatus.FAILED: Outcome.FAILED,
    PostStatus.REJECTED: Outcome.FAILED,
    **dict.fromkeys(UNCLEAR_ENDS.values(), Outcome.FAILED),
}
_AVATAR_PROFILES: Mapping[str, Outcome] = {
    AvatarStatus.PENDING: Outcome.PENDING,
    AvatarStatus.PROCESSING: Outcome.PENDING,
    AvatarStatus.READY: Outcome.SUCCESS,
    AvatarStatus.FAILED: Outcome.FAILED,
}


def run_outcome(run: Run) -> StatusOutcome:
    """Return the outcome of a run (https://docs.mosaic.so/api/agent-runs/get-agent-run)."""
    return _outcome_of(run.status, _RUNS)


def post_outcome(post: Post) -> StatusOutcome:
    """Return the outcome of a post (https://docs.mosaic.so/api/social/get-social-posts lists the statuses)."""
    return _outcome_of(post.status, _POSTS)


def avatar_profile_outcome(profile: AvatarProfile) -> StatusOutcome:
    """Return the outcome of an avatar profile (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile)."""
    return _outcome_of(profile.status, _AVATAR_PROFILES)


def credits_outcome(credits: Credits, min_credits: float) -> StatusOutcome:
    """Return whether the balance is large enough. Without a limit it is; a balance that is not reported is not."""
    enough = credits.unlimited or (credits.balance is not None and credits.balance >= min_credits)
    return StatusOutcome(outcome=Outcome.SUCCESS if enough else Outcome.PENDING, status="enough" if enough else "short")


def _outcome_of(status: str, documented: Mapping[str, Outcome]) -> StatusOutcome:
    return StatusOutcome(outcome=documented.get(status, Outcome.PENDING), status=status, known=status in documented)
