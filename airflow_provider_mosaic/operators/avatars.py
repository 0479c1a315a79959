"""Create avatar profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.base import Text

_SOURCES = ("video_url", "image_url", "audio_url", "video_id", "image_id", "audio_id")


class MosaicCreateAvatarProfileOperator(MosaicOperator):
    """
    Create an avatar profile once (https://docs.mosaic.so/api/avatar-profiles/create-avatar-profile).

    A profile is made from a video, or from an image and a voice. Give each by its URL or as an uploaded asset. The task
    ends when Mosaic accepts the profile: a run may use it at once. To wait until it is ready, add a
    MosaicAvatarProfileSensor.

    With ``durable=True``, a retry continues with the profile of the earlier attempt. If the response is lost, the list
    of profiles is searched for the name before anything is sent again. An Airflow without a task state store (before
    3.3) does not know what an earlier attempt did: a retry there searches the list too, and fails if a profile has the
    name. A cleared task creates a new profile.

    XCom: ``mosaic_avatar_profile_id``, as soon as the profile is created. The profile's id is the ``return_value``.

    Errors: without retries, ``MosaicAmbiguousOutcomeError`` if it is unknown whether the profile was created, and
    ``MosaicValidationError`` for a wrong argument.

    :param name: The profile's name.
    :param video_url: The URL of a video of 4 to 15 seconds in which one person speaks.
    :param image_url: The URL of an image of one person.
    :param audio_url: The URL of 4 to 15 seconds of clean speech of that person.
    :param video_id: The video as an uploaded asset.
    :param image_id: The image as an uploaded asset.
    :param audio_id: The speech as an uploaded asset.
    :param durable: Whether a retry continues with the profile of an earlier attempt.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("name", *_SOURCES, "mosaic_conn_id")
    _creates = "avatar_profile"
    _options = options.AVATAR_PROFILE
    _row_label_arguments = ("name",)
    _failure_effect = "This attempt created no avatar profile."
    _retry_effect = "checks its arguments again"

    def __init__(
        self,
        *,
        name: Text,
        video_url: Text | None = None,
        image_url: Text | None = None,
        audio_url: Text | None = None,
        video_id: Text | None = None,
        image_id: Text | None = None,
        audio_id: Text | None = None,
        durable: bool = True,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.video_url = video_url
        self.image_url = image_url
        self.audio_url = audio_url
        self.video_id = video_id
        self.image_id = image_id
        self.audio_id = audio_id
        self.durable = durable
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def _sources(self) -> dict[str, Any]:
        return {source: getattr(self, source) for source in _SOURCES}

    def _validate_combinations(self) -> None:
        options.validate_avatar_sources(self._sources())

    def execute(self, context: Context) -> str:
        """Create the profile, or continue with that of an earlier attempt."""
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry
        from airflow_provider_mosaic.tasks.avatars import CreateAvatarProfile

        with self._executing(context):
            hook = self._open_hook()
            profile = CreateAvatarProfile(context, hook, name=self.name, sources=self._sources(), durable=self.durable)
        with adding_consequences(context, profile.consequences), fail_without_retry():
            return str(profile.ensure().id)
