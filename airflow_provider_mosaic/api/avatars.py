"""Avatar profiles: persons that AI Avatar tiles can show (https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.arguments import checked_id, checked_url, not_text, refuse
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, Repeat
from airflow_provider_mosaic.api.models import Id, Model, Status, Words, list_in, object_in

_SOURCES = ("video", "image", "audio")


class AvatarStatus(str, enum.Enum):
    """The documented statuses of a profile; any other is kept as the text it is."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class AvatarProfile(Model):
    """A profile. It may be used before it is ready: the run waits for it. One that failed stays so."""

    id: Id
    # The page's table of fields has the one name, the text beside it the other.
    status: Status = Field(default="unknown", validation_alias=AliasChoices("status", "processing_status"))
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
    if not isinstance(name, str):
        refuse("name", name, f"a profile needs a name as text, {not_text(name)}")
    if not name.strip():
        refuse("name", name, "a profile needs a name.")
    urls = {"video": video_url, "image": image_url, "audio": audio_url}
    ids = {"video": video_id, "image": image_id, "audio": audio_id}
    sources: dict[str, str] = {}
    for kind in _SOURCES:
        if urls[kind] is not None and ids[kind] is not None:
            refuse(f"{kind}_id", ids[kind], f"give it or {kind}_url, not both.")
        if urls[kind] is not None:
            sources[f"{kind}_url"] = checked_url(f"{kind}_url", urls[kind])
        if ids[kind] is not None:
            sources[f"{kind}_id"] = checked_id(f"{kind}_id", ids[kind])
    given = {source.partition("_")[0] for source in sources}
    if "video" not in given and not {"image", "audio"} <= given:
        refuse("video_url", None, "a profile needs a video, or an image and audio.")
    return Call(
        what=f"create avatar profile {name!r}",
        method="POST",
        path="/avatar-profiles/create",
        body={"name": name, "sources": sources},
        read=_read_made,
        repeat=Repeat.HAS_EFFECTS,
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
        what=f"read avatar profile {avatar_profile_id!r}",
        method="GET",
        path="/avatar-profiles/{avatar_profile_id}",
        ids={"avatar_profile_id": avatar_profile_id},
        read=AvatarProfile.model_validate,
    )


def list_avatar_profiles() -> Call[tuple[AvatarProfile, ...]]:
    """All profiles; the API gives them in one answer."""

    def read(data: Any) -> tuple[AvatarProfile, ...]:
        return tuple(AvatarProfile.model_validate(item) for item in list_in(data, "avatar_profiles"))

    return Call(
        what="list the avatar profiles", method="GET", path="/avatar-profiles", read=read, max_bytes=MAX_BYTES_OF_MANY
    )
