"""
Avatar profiles: persons that AI Avatar tiles can show
(https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile).
"""

from __future__ import annotations

import enum

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.arguments import validated_values
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.models import Id, Model, Status, Words, read_object, status_words
from airflow_provider_mosaic.api.options import AVATAR_PROFILE, validate_avatar_sources, validate_profile_name
from airflow_provider_mosaic.api.paging import read_list

#: Profiles are made in the primary workspace, and usable from every workspace. The connection's may be another one.
_ANY_WORKSPACE = ""


class AvatarStatus(str, enum.Enum):
    """Documented statuses of a profile. Any other status is kept as text."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


#: Other spellings of the documented statuses.
_STATUS_WORDS = status_words(
    pending="",
    processing="",
    ready="completed complete success successful succeeded finished done trained",
    failed="fail failure error errored timed_out timedout timeout time_out crashed expired killed "
    "rejected cancelled canceled aborted",
)


class AvatarProfile(Model):
    """An avatar profile. A run may use it before it is ready: the run waits. A failed profile stays failed."""

    documented_statuses = _STATUS_WORDS

    id: Id = Field(validation_alias=AliasChoices("id", "avatar_profile_id"))
    # The documentation uses both names.
    status: Status = Field(default="unknown", validation_alias=AliasChoices("status", "processing_status"))
    reported_status: Status | None = None
    name: Words = None
    status_message: Words = None
    video_preview_url: Words = None


class ListedAvatarProfile(AvatarProfile):
    """A row of the list of profiles. Only its id is required, so that one odd row does not hide the others."""

    lenient_fields = frozenset(AvatarProfile.model_fields) - {"id"}


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
    Create an avatar profile from a video, or from a picture and a recording of speech.

    Give each source by its URL or as an uploaded asset. What a profile costs is not documented.
    API page: https://docs.mosaic.so/api/avatar-profiles/create-avatar-profile

    :param video_url: 4 to 15 seconds of one person who speaks.
    :param image_url: A picture of one person.
    :param audio_url: 4 to 15 seconds of clean speech of that person.
    :param video_id: Asset id of the video.
    :param image_id: Asset id of the picture.
    :param audio_id: Asset id of the speech.
    :raises MosaicAmbiguousOutcomeError: The profile may have been created. Look for it with
        :func:`list_avatar_profiles`.
    """
    validate_profile_name("name", name)
    sources = validated_values(
        AVATAR_PROFILE,
        video_url=video_url,
        image_url=image_url,
        audio_url=audio_url,
        video_id=video_id,
        image_id=image_id,
        audio_id=audio_id,
    )
    validate_avatar_sources(sources)
    return Call(
        description=f"create avatar profile {name!r}",
        method="POST",
        path="/avatar-profiles/create",
        workspace_id=_ANY_WORKSPACE,
        makes="avatar_profile_id",
        body={"name": name, "sources": sources},
        # The shape of the response is not documented.
        read=read_object(AvatarProfile, within="avatar_profile"),
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def get_avatar_profile(avatar_profile_id: str) -> Call[AvatarProfile]:
    """Return a profile with its status. API page: https://docs.mosaic.so/api/avatar-profiles/get-avatar-profile"""
    return Call(
        description=f"read avatar profile {avatar_profile_id!r}",
        path="/avatar-profiles/{avatar_profile_id}",
        workspace_id=_ANY_WORKSPACE,
        ids={"avatar_profile_id": avatar_profile_id},
        read=read_object(AvatarProfile, within="avatar_profile", id=avatar_profile_id),
    )


def list_avatar_profiles() -> Call[tuple[AvatarProfile, ...]]:
    """
    Return all profiles. No pagination is documented: a response with a cursor for more is an error.

    API page: https://docs.mosaic.so/api/avatar-profiles/get-avatar-profiles
    """
    return Call(
        description="list the avatar profiles",
        path="/avatar-profiles",
        workspace_id=_ANY_WORKSPACE,
        read=read_list("avatar_profiles", ListedAvatarProfile, complete=True),
        max_bytes=MAX_BYTES_OF_MANY,
    )
