"""Wait for an avatar profile in the triggerer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, get_avatar_profile
from airflow_provider_mosaic.api.poll_state import avatar_profile_poll_state
from airflow_provider_mosaic.triggers.base import WaitTrigger
from airflow_provider_mosaic.triggers.polled_waits import Wait


@dataclass(kw_only=True, eq=False, repr=False)
class MosaicAvatarProfileTrigger(WaitTrigger):
    """
    Wait until an avatar profile is ready or has failed.

    For the event and the other parameters see :class:`~airflow_provider_mosaic.triggers.base.WaitTrigger`.

    :param avatar_profile_id: The avatar profile.
    """

    avatar_profile_id: str

    def _wait(self) -> Wait[AvatarProfile]:
        profile_id = self.avatar_profile_id
        state = avatar_profile_poll_state(profile_id, **self._poll_options)
        return Wait(partial(get_avatar_profile, profile_id), state, profile_id)
