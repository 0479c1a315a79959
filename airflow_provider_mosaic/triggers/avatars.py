"""Wait until an avatar profile is ready, in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.endpoints.avatars import get_avatar_profile
from airflow_provider_mosaic.api.poll_state import avatar_profile_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_pollers import poll_until_done


class MosaicAvatarProfileTrigger(BaseTrigger):
    """
    Wait until an avatar profile is ready, or has failed. It only reads.

    The event is that of :class:`~airflow_provider_mosaic.triggers.runs.MosaicRunTrigger`, with the profile's id.

    :param avatar_profile_id: The profile.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param deadline: When to give up, in seconds since the epoch by the wall clock; None for never.
    """

    def __init__(
        self,
        *,
        avatar_profile_id: str,
        mosaic_conn_id: str = MosaicHook.default_conn_name,
        poll_interval: float = 30.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.avatar_profile_id = avatar_profile_id
        self.mosaic_conn_id = mosaic_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments, as Airflow keeps them."""
        return (
            "airflow_provider_mosaic.triggers.avatars.MosaicAvatarProfileTrigger",
            {
                "avatar_profile_id": self.avatar_profile_id,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give one event."""
        watch = avatar_profile_poll_state(
            self.avatar_profile_id, poll_interval=self.poll_interval, deadline=self.deadline, noted=self.log.info
        )
        yield TriggerEvent(
            await poll_until_done(
                self.mosaic_conn_id,
                get_avatar_profile(self.avatar_profile_id),
                watch,
                subject_id=self.avatar_profile_id,
            )
        )
