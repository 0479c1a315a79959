"""
What a status means: go on waiting, or how it ended. One pure function a noun, for workers, triggers and sensors alike.

A status that is not known means "still going on": a young API may add one, and a deadline bounds every wait. Nothing
that ended is taken for going on: ``partial_complete`` and ``cancelled`` end a run as much as ``completed``, and so do
other spellings of them, which the models read (:data:`~airflow_provider_mosaic.api.endpoints.runs.RUN_STATUS_WORDS`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, AvatarStatus
from airflow_provider_mosaic.api.endpoints.billing import Credits
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.endpoints.social import UNCLEAR_ENDS, Post, PostStatus


class Outcome(str, enum.Enum):
    """How something stands."""

    PENDING = "waiting"
    SUCCESS = "good"
    PARTIAL = "partial"
    FAILED = "bad"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """
    How a run, a post, an avatar profile or the balance stands.

    :param standing: Go on waiting, or the kind of end.
    :param status: The status in the API's word; of the balance, which has none, in ours.
    :param known: Whether the API documents that status.
    """

    outcome: Outcome
    status: str
    known: bool = True

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.outcome is not Outcome.PENDING


_RUNS = {
    RunStatus.RUNNING: Outcome.PENDING,
    RunStatus.COMPLETED: Outcome.SUCCESS,
    RunStatus.PARTIAL_COMPLETE: Outcome.PARTIAL,
    RunStatus.FAILED: Outcome.FAILED,
    RunStatus.CANCELLED: Outcome.FAILED,
}
_POSTS = {
    PostStatus.SCHEDULED: Outcome.PENDING,
    PostStatus.PENDING_APPROVAL: Outcome.PENDING,
    PostStatus.PROCESSING: Outcome.PENDING,
    PostStatus.POSTED: Outcome.SUCCESS,
    PostStatus.PARTIAL_FAILURE: Outcome.PARTIAL,
    PostStatus.FAILED: Outcome.FAILED,
    PostStatus.REJECTED: Outcome.FAILED,
    **dict.fromkeys(UNCLEAR_ENDS.values(), Outcome.FAILED),
}
_AVATARS = {
    AvatarStatus.PENDING: Outcome.PENDING,
    AvatarStatus.PROCESSING: Outcome.PENDING,
    AvatarStatus.READY: Outcome.SUCCESS,
    AvatarStatus.FAILED: Outcome.FAILED,
}


def run_outcome(run: Run) -> Judgement:
    """
    How a run stands (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    :param run: The run.
    """
    standing = _RUNS.get(run.status)  # type: ignore[call-overload]
    return Judgement(outcome=standing or Outcome.PENDING, status=run.status, known=standing is not None)


def post_outcome(post: Post) -> Judgement:
    """
    How a post stands (https://docs.mosaic.so/api/social/get-social-posts lists the statuses).

    :param post: The post.
    """
    standing = _POSTS.get(post.status)
    return Judgement(outcome=standing or Outcome.PENDING, status=post.status, known=standing is not None)


def avatar_profile_outcome(profile: AvatarProfile) -> Judgement:
    """
    How an avatar profile stands (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile).

    :param profile: The profile.
    """
    standing = _AVATARS.get(profile.status)  # type: ignore[call-overload]
    return Judgement(outcome=standing or Outcome.PENDING, status=profile.status, known=standing is not None)


def credits_outcome(credits: Credits, min_credits: float) -> Judgement:
    """
    Whether there are enough credits; without a limit there are. A balance that is not told is not enough.

    :param credits: What is left to spend.
    :param min_credits: How many it should be.
    """
    enough = credits.unlimited or (credits.balance is not None and credits.balance >= min_credits)
    return Judgement(outcome=Outcome.SUCCESS if enough else Outcome.PENDING, status="enough" if enough else "short")
