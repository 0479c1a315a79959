"""
Options of a post that Mosaic forwards to the publishing service, Ayrshare.

Mosaic's page of March 2026 (https://docs.mosaic.so/api/social/post-social-post) says that Mosaic forwards unknown
fields. Whether the newest page still says so could not be read. Names and values are Ayrshare's
(https://www.ayrshare.com/docs/apis/post/social-networks/youtube).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import Required, TypedDict

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_choice, validate_flag, validate_mapping

_VISIBILITIES = ("public", "unlisted", "private")
_YOUTUBE_FLAGS = ("madeForKids", "shorts", "notifySubscribers")
_MAX_TITLE_LENGTH = 100
#: Fields with the options of one platform.
_PLATFORM_OBJECTS = (
    "youTubeOptions",
    "tikTokOptions",
    "instagramOptions",
    "faceBookOptions",
    "linkedInOptions",
    "twitterOptions",
)
#: Fields that have their own argument, in lower case and without underscores. Mosaic and Ayrshare spell them
#: differently; either spelling would change what is posted, where, or when.
_ARGUMENTS = {
    "post": "text",
    "destinations": "social_connection_ids",
    "socialconnectionid": "social_connection_ids",
    "platforms": "platforms",
    "mediaurls": "media_urls",
    "scheduledate": "schedule_date",
    "workspaceid": "workspace_id",
}


class YouTubeOptions(TypedDict, total=False):
    """Options of a YouTube video. Options without a type here are sent unchanged."""

    #: At most 100 characters. Required by Ayrshare.
    title: Required[str]
    #: Default of Ayrshare: ``private``.
    visibility: Literal["public", "unlisted", "private"]
    #: URL of a JPEG or PNG.
    thumbNail: str
    playListId: str
    tags: list[str]
    madeForKids: bool
    shorts: bool
    notifySubscribers: bool


class ProviderOptions(TypedDict, total=False):
    """Options of a post by platform, under Ayrshare's names and sent unchanged. Only those of YouTube have types."""

    youTubeOptions: YouTubeOptions
    tikTokOptions: Mapping[str, Any]
    instagramOptions: Mapping[str, Any]
    faceBookOptions: Mapping[str, Any]
    linkedInOptions: Mapping[str, Any]
    twitterOptions: Mapping[str, Any]


def validate_provider_options(name: str, value: object) -> dict[str, Any]:
    """Return the options of a post, also from text that a template rendered to; an empty dict for None."""
    if value is None:
        return {}
    options = validate_mapping(name, value)
    for key in options:
        argument = _ARGUMENTS.get(key.replace("_", "").lower())
        if argument is not None:
            raise_invalid(
                f"{name}[{key!r}]", options[key], f"pass the argument {argument} instead. Nothing was posted."
            )
    for key in _PLATFORM_OBJECTS:
        if key in options:
            options[key] = validate_mapping(f"{name}[{key!r}]", options[key])
    _validate_youtube(f"{name}['youTubeOptions']", options.get("youTubeOptions", {}))
    return options


def _validate_youtube(name: str, youtube: Mapping[str, Any]) -> None:
    if "title" in youtube:
        title = youtube["title"]
        if not isinstance(title, str) or not title.strip() or len(title) > _MAX_TITLE_LENGTH:
            raise_invalid(
                f"{name}['title']", title, f"it must be text of 1 to {_MAX_TITLE_LENGTH} characters. Nothing was "
                "posted.",
            )  # fmt: skip
    if "visibility" in youtube:
        validate_choice(f"{name}['visibility']", youtube["visibility"], _VISIBILITIES)
    for flag in _YOUTUBE_FLAGS:
        if flag in youtube:
            validate_flag(f"{name}[{flag!r}]", youtube[flag])
