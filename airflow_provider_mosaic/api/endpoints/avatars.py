"""Avatar profiles: persons that AI Avatar tiles can show (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.models import Id, Model, Status, Words, list_in, object_in, status_words
from airflow_provider_mosaic.api.options import AVATAR_PROFILE, validate_avatar_sources, validate_profile_name


class AvatarStatus(str, enum.Enum):
    """The documented statuses of a profile; any other is kept as the text it is."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


#: Other words for them, in any case.
_STATUS_WORDS = status_words(
    pending="",
    processing="",
    ready="completed complete success successful succeeded finished done trained",
    failed="fail failure error errored timed_out timedout timeout time_out rejected cancelled canceled aborted",
)


class AvatarProfile(Model):
    """A profile. It may be used before it is ready: the run waits for it. One that failed stays so."""

    documented_statuses = _STATUS_WORDS

    id: Id
    # The page's table of fields has the one name, the text beside it the other.
    status: Status = Field(default="unknown", validation_alias=AliasChoices("status", "processing_status"))
    reported_status: Status | None = None
    name: Words = None
    status_message: Words = None
    video_preview_url: Words = None


def create_avatar_profile(
    name: str,
    *,
    video_url: str | None = None,
    image_url: str | None = None,
    audio_url: str | None = None,
    video_id: str | None = None,
    image_id: str | None = None,
    audio_id: str | None = None,
) -> Call[AvatarProfile]:
    """
    Make a profile of a video, or of a picture and a voice; each by its address or as an uploaded asset
    (https://docs.mosaic.so/api/avatar-profiles/create-avatar-profile).

    :param name: Its name.
    :param video_url: 4 to 15 seconds of one person who speaks.
    :param image_url: A picture of one person.
    :param audio_url: 4 to 15 seconds of clean speech of that person.
    :param video_id: The video as an uploaded asset.
    :param image_id: The picture as an uploaded asset.
    :param audio_id: The speech as an uploaded asset.
    """
    validate_profile_name("name", name)
    given = {
        "video_url": video_url,
        "image_url": image_url,
        "audio_url": audio_url,
        "video_id": video_id,
        "image_id": image_id,
        "audio_id": audio_id,
    }
    sources = {key: AVATAR_PROFILE[key](key, value) for key, value in given.items() if value is not None}
    validate_avatar_sources(sources)
    return Call(
        description=f"create avatar profile {name!r}",
        method="POST",
        path="/avatar-profiles/create",
        makes="avatar_profile_id",
        body={"name": name, "sources": sources},
        read=_read_made,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def _read_made(data: Any) -> AvatarProfile:
    """The profile that was made; what the answer looks like is not documented, and its id must not be lost to that."""
    answer = object_in(data)
    within = answer.get("avatar_profile")
    return AvatarProfile.model_validate(within if isinstance(within, Mapping) else answer)


def get_avatar_profile(avatar_profile_id: str) -> Call[AvatarProfile]:
    """
    The state of a profile.

    :param avatar_profile_id: The profile.
    """
    return Call(
        description=f"read avatar profile {avatar_profile_id!r}",
        method="GET",
        path="/avatar-profiles/{avatar_profile_id}",
        ids={"avatar_profile_id": avatar_profile_id},
        read=AvatarProfile.model_validate,
    )


def list_avatar_profiles() -> Call[tuple[AvatarProfile, ...]]:
    """All profiles. No paging is documented: the provider takes one answer for all of them."""

    def read(data: Any) -> tuple[AvatarProfile, ...]:
        return tuple(AvatarProfile.model_validate(item) for item in list_in(data, "avatar_profiles"))

    return Call(
        description="list the avatar profiles",
        method="GET",
        path="/avatar-profiles",
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )
