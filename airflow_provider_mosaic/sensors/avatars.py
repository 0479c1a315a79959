"""Wait for avatar profiles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.sensors.base import CompletionSensor

if TYPE_CHECKING:
    from airflow.sdk import Context
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile
    from airflow_provider_mosaic.api.poll_state import PollOptions, PollState
    from airflow_provider_mosaic.base import Text
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class MosaicAvatarProfileSensor(CompletionSensor):
    """
    Wait until an avatar profile is ready (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile).

    The sensor only reads. A run may use a profile before it is ready, and waits for it: use the sensor to know before a
    run is started. A failed profile stays failed: the sensor fails without retries, or is skipped with ``soft_fail``.

    The profile's id is the ``return_value``.

    Errors, without retries: ``MosaicError`` if the profile fails; ``MosaicNotFoundError`` for a missing profile.

    :param avatar_profile_id: The profile.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. In the triggerer the first pauses
        are shorter; on a worker it is the sensor's ``poke_interval``.
    :param timeout: Airflow's ``timeout`` of sensors, in seconds or as a timedelta: then the sensor fails, or is skipped
        with ``soft_fail``.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("avatar_profile_id", "mosaic_conn_id")
    _options = options.AVATAR_PROFILE_SENSOR
    _row_label_arguments = ("avatar_profile_id",)
    _trigger_class = "airflow_provider_mosaic.triggers.avatars.MosaicAvatarProfileTrigger"
    _id_argument = "avatar_profile_id"

    def __init__(
        self,
        *,
        avatar_profile_id: Text,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, poll_interval=poll_interval, mosaic_conn_id=mosaic_conn_id, **kwargs)
        self.avatar_profile_id = avatar_profile_id
        self._validate_constants()

    def _read(self, hook: MosaicHook) -> AvatarProfile:
        return hook.get_avatar_profile(self._id)

    def _poll_state(self, **options: Unpack[PollOptions]) -> PollState[AvatarProfile]:
        from airflow_provider_mosaic.api.poll_state import avatar_profile_poll_state

        return avatar_profile_poll_state(self._id, **options)

    def _finish(self, context: Context, item: AvatarProfile, hook: MosaicHook) -> None:
        from airflow_provider_mosaic.api.outcomes import Outcome, avatar_profile_outcome
        from airflow_provider_mosaic.api.reports import avatar_profile_failure

        if avatar_profile_outcome(item).outcome is Outcome.FAILED:
            raise avatar_profile_failure(item)
