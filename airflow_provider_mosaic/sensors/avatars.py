"""Wait for avatar profiles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.sensors.waiting import EndSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.avatars import AvatarProfile
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.triggers.avatars import MosaicAvatarProfileTrigger


class MosaicAvatarProfileSensor(EndSensor):
    """
    Wait until an avatar profile is ready (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile).

    It only looks. A run may use a profile before it is ready, and waits for it by itself: this is for whoever wants to
    know that it is, before a run is started. A profile that failed stays so: the sensor fails without retries, or with
    ``soft_fail`` is skipped.

    The profile's id is the ``return_value``.

    :param avatar_profile_id: The profile.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta; in the triggerer the first ones are
        shorter. Without a triggerer it is the sensor's ``poke_interval``.
    :param timeout: Airflow's own: how long the sensor waits before it fails, or with ``soft_fail`` is skipped.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("avatar_profile_id", "mosaic_conn_id")

    def __init__(
        self,
        *,
        avatar_profile_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, poll_interval=poll_interval, mosaic_conn_id=mosaic_conn_id, **kwargs)
        self.avatar_profile_id = avatar_profile_id

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None, avatar_profile_id: str, began: float | None = None
    ) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param avatar_profile_id: The profile that was waited for.
        :param began: When the try began, in seconds since the epoch.
        """
        came: str = self._go_on(context, event, avatar_profile_id, f"Avatar profile {avatar_profile_id!r}", began)
        return came

    def _check(self) -> None:
        """Its only argument is checked where it is sent."""

    def _read(self, hook: MosaicHook) -> AvatarProfile:
        return hook.get_avatar_profile(self.avatar_profile_id)

    def _ended(self, subject: AvatarProfile) -> bool:
        from airflow_provider_mosaic.api.reports import avatar_profile_failure
        from airflow_provider_mosaic.api.verdicts import Standing, judge_avatar_profile
        from airflow_provider_mosaic.tasks.failing import fail_exception

        verdict = judge_avatar_profile(subject)
        if verdict.standing is Standing.BAD:
            failure = avatar_profile_failure(subject)
            raise fail_exception(failure) from failure
        self.log.info("Avatar profile %r is %s.", subject.id, subject.status)
        return verdict.ended

    def _result(self, subject: AvatarProfile) -> str:
        return self.avatar_profile_id

    def _trigger(self, *, poll_interval: float, deadline: float | None) -> MosaicAvatarProfileTrigger:
        from airflow_provider_mosaic.triggers.avatars import MosaicAvatarProfileTrigger

        return MosaicAvatarProfileTrigger(
            avatar_profile_id=self.avatar_profile_id,
            mosaic_conn_id=self.mosaic_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
        )

    def _subject(self) -> dict[str, Any]:
        return {"avatar_profile_id": self.avatar_profile_id}
