"""
What a status means: go on waiting, or how it ended. One pure function a noun, for workers, triggers and sensors alike.

A status that is not known means "still going on": a young API may add one, and a deadline bounds every wait. Nothing
that ended is taken for going on: ``partial_complete`` and ``cancelled`` end a run as much as ``completed``, and so do
other spellings of them, which the models read (:data:`~airflow_provider_mosaic.api.runs.RUN_STATUS_WORDS`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_provider_mosaic.api.avatars import AvatarProfile, AvatarStatus
from airflow_provider_mosaic.api.billing import Credits
from airflow_provider_mosaic.api.runs import Run, RunStatus
from airflow_provider_mosaic.api.social import UNCLEAR_ENDS, Post, PostStatus


class Standing(str, enum.Enum):
    """How something stands."""

    WAITING = "waiting"
    GOOD = "good"
    PARTIAL = "partial"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    How a run, a post, an avatar profile or the balance stands.

    :param standing: Go on waiting, or the kind of end.
    :param status: The status in the API's word; of the balance, which has none, in ours.
    :param known: Whether the API documents that status.
    """

    standing: Standing
    status: str
    known: bool = True

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.standing is not Standing.WAITING


_RUNS = {
    RunStatus.RUNNING: Standing.WAITING,
    RunStatus.COMPLETED: Standing.GOOD,
    RunStatus.PARTIAL_COMPLETE: Standing.PARTIAL,
    RunStatus.FAILED: Standing.BAD,
    RunStatus.CANCELLED: Standing.BAD,
}
_POSTS = {
    PostStatus.SCHEDULED: Standing.WAITING,
    PostStatus.PENDING_APPROVAL: Standing.WAITING,
    PostStatus.PROCESSING: Standing.WAITING,
    PostStatus.POSTED: Standing.GOOD,
    PostStatus.PARTIAL_FAILURE: Standing.PARTIAL,
    PostStatus.FAILED: Standing.BAD,
    PostStatus.REJECTED: Standing.BAD,
    **dict.fromkeys(UNCLEAR_ENDS.values(), Standing.BAD),
}
_AVATARS = {
    AvatarStatus.PENDING: Standing.WAITING,
    AvatarStatus.PROCESSING: Standing.WAITING,
    AvatarStatus.READY: Standing.GOOD,
    AvatarStatus.FAILED: Standing.BAD,
}


def judge_run(run: Run) -> Verdict:
    """
    How a run stands (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    :param run: The run.
    """
    standing = _RUNS.get(run.status)  # type: ignore[call-overload]
    return Verdict(standing=standing or Standing.WAITING, status=run.status, known=standing is not None)


def judge_post(post: Post) -> Verdict:
    """
    How a post stands (https://docs.mosaic.so/api/social/get-social-posts lists the statuses).

    :param post: The post.
    """
    standing = _POSTS.get(post.status)
    return Verdict(standing=standing or Standing.WAITING, status=post.status, known=standing is not None)


def judge_avatar_profile(profile: AvatarProfile) -> Verdict:
    """
    How an avatar profile stands (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile).

    :param profile: The profile.
    """
    standing = _AVATARS.get(profile.status)  # type: ignore[call-overload]
    return Verdict(standing=standing or Standing.WAITING, status=profile.status, known=standing is not None)


def judge_credits(credits: Credits, min_credits: float) -> Verdict:
    """
    Whether there are enough credits; without a limit there are. A balance that is not told is not enough.

    :param credits: What is left to spend.
    :param min_credits: How many it should be.
    """
    enough = credits.unlimited or (credits.balance is not None and credits.balance >= min_credits)
    return Verdict(standing=Standing.GOOD if enough else Standing.WAITING, status="enough" if enough else "short")
