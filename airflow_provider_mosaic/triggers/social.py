"""Wait until a post is out, in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.endpoints.social import get_post
from airflow_provider_mosaic.api.poll_state import post_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_pollers import poll_until_done


class MosaicSocialPostTrigger(BaseTrigger):
    """
    Wait until a post is out, or is known not to come out. It only reads.

    The event is that of :class:`~airflow_provider_mosaic.triggers.runs.MosaicRunTrigger`, with the post's id.

    :param post_id: The post.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param deadline: When to give up, in seconds since the epoch by the wall clock; None for never.
    :param begun: When the waiting task made the post, in seconds since the epoch; None if it was made elsewhere.
    """

    def __init__(
        self,
        *,
        post_id: str,
        mosaic_conn_id: str = MosaicHook.default_conn_name,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        begun: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.post_id = post_id
        self.mosaic_conn_id = mosaic_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.begun = begun

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments, as Airflow keeps them."""
        return (
            "airflow_provider_mosaic.triggers.social.MosaicSocialPostTrigger",
            {
                "post_id": self.post_id,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "begun": self.begun,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give one event."""
        watch = post_poll_state(
            self.post_id,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            noted=self.log.info,
            begun=self.begun,
        )
        yield TriggerEvent(
            await poll_until_done(self.mosaic_conn_id, get_post(self.post_id), watch, subject_id=self.post_id)
        )
