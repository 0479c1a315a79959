"""Make avatar profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.templated import Text

_SOURCES = ("video_url", "image_url", "audio_url", "video_id", "image_id", "audio_id")


class MosaicCreateAvatarProfileOperator(MosaicOperator):
    """
    Make an avatar profile, once: a person that AI Avatar tiles can show
    (https://docs.mosaic.so/api/avatar-profiles/create-avatar-profile).

    It is made of a video, or of a picture and a voice; each is given by its address or as an uploaded asset. The task
    ends when the profile is begun: a run may use it at once, and a MosaicAvatarProfileSensor waits until it is ready.

    A retry never makes a second profile. When the answer is lost, the list of profiles is looked through for one of
    that name before anything is sent again; so it is by a retry on an Airflow without a task state store (before 3.3),
    which fails where there is one. A person who clears the task asks for a new profile and gets one.

    XCom: ``mosaic_avatar_profile_id`` at once; the profile's id as ``return_value``.

    :param name: Its name.
    :param video_url: Address of 4 to 15 seconds of one person who speaks.
    :param image_url: Address of a picture of one person.
    :param audio_url: Address of 4 to 15 seconds of clean speech of that person.
    :param video_id: The video as an uploaded asset.
    :param image_id: The picture as an uploaded asset.
    :param audio_id: The speech as an uploaded asset.
    :param durable: Whether a retry goes on with the profile of an earlier try.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("name", *_SOURCES, "mosaic_conn_id")
    _options = options.AVATAR_PROFILE
    _row_label_arguments = ("name",)
    _effect_words = "No avatar profile was made by this try."
    _retry = "checks its arguments again"

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

    def _validate_together(self) -> None:
        options.validate_avatar_sources({source: getattr(self, source) for source in _SOURCES})

    def execute(self, context: Context) -> str:
        """
        Make the profile, or go on with an earlier try's.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.avatars import AvatarTask

        with self._validated_arguments(context, begins="avatar_profile"):
            task = AvatarTask(
                MosaicHook(self.mosaic_conn_id),
                name=self.name,
                sources={source: getattr(self, source) for source in _SOURCES},
                durable=self.durable,
                operator_class=MosaicCreateAvatarProfileOperator,
            )
        with adding_consequences(context, task.stakes), fail_without_retry():
            return task.create(context)
