"""Wait for a post in the triggerer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from airflow_provider_mosaic.api.endpoints.posts import Post, get_post
from airflow_provider_mosaic.api.poll_state import post_poll_state
from airflow_provider_mosaic.triggers.base import WaitTrigger
from airflow_provider_mosaic.triggers.polled_waits import Wait


@dataclass(kw_only=True, eq=False, repr=False)
class MosaicSocialPostTrigger(WaitTrigger):
    """
    Wait until a post is published or has failed.

    For the event and the other parameters see :class:`~airflow_provider_mosaic.triggers.base.WaitTrigger`.

    :param post_id: The post.
    :param started_at: When the task created the post, in seconds since the epoch; None if it was created elsewhere. A
        new post may not be found at once.
    """

    post_id: str
    started_at: float | None = None

    def _wait(self) -> Wait[Post]:
        state = post_poll_state(self.post_id, started_at=self.started_at, **self._poll_options)
        return Wait(partial(get_post, self.post_id), state, self.post_id)
