"""
YouTube triggers: start an agent when a channel publishes a video
(https://docs.mosaic.so/api/triggers/get-agent-triggers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import field_validator, model_validator

from airflow_provider_mosaic.api.arguments import optional
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.models import Id, Label, Many, Model, Words, object_in
from airflow_provider_mosaic.api.options import (
    KEEP_CALLBACK,
    validate_callback,
    validate_channels,
    validate_duration_limits,
)
from airflow_provider_mosaic.api.responses import decode_json

_CHANNEL_URL = re.compile(r"https?://(?:[\w-]+\.)?youtube\.com/channel/(UC[\w-]{22})/?", re.ASCII)


class ChannelDetails(Model):
    """Metadata of a channel, which may lag behind YouTube."""

    channel_id: Id
    channel_name: Words = None
    channel_handle: Words = None


class YouTubeTrigger(Model):
    """A trigger of an agent: channels, and the durations of videos that it accepts (``filter_options``)."""

    id: Id
    type: Words = None
    youtube_channels: Many[Label] = ()
    youtube_channel_details: Many[ChannelDetails] = ()
    callback_url: Words = None
    filter_options: dict[str, Any] = {}

    lenient_fields = frozenset({"youtube_channel_details"})

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Keep a null ``callback_url`` as set: it means no callback. Without the field there may be one."""
        present = super()._drop_nulls(data)  # type: ignore[operator]
        return {"callback_url": None, **present} if isinstance(data, Mapping) and "callback_url" in data else present

    @field_validator("youtube_channels", mode="before")
    @classmethod
    def _urls_to_ids(cls, value: Any) -> Any:
        # 2025: channels are listed by URL.
        return [_channel_id(each) for each in value] if isinstance(value, list) else value


class AddedChannels(Model):
    """Result of adding channels: the channel id for each input. It has no trigger id."""

    lenient_fields = frozenset({"channel_ids", "channels"})

    message: Words = None
    channel_ids: Many[str] = ()
    channels: Many[dict[str, Any]] = ()


def list_triggers(agent_id: str) -> Call[tuple[YouTubeTrigger, ...]]:
    """Return the YouTube triggers of an agent. API page: https://docs.mosaic.so/api/triggers/get-agent-triggers"""

    def decode(content: bytes) -> Any:
        data = decode_json(content)
        # 2025: one object, or null. An empty body is neither, and is not decoded.
        return [] if data is None else data

    def read(data: Any) -> tuple[YouTubeTrigger, ...]:
        items = [data] if isinstance(data, Mapping) else data
        if not isinstance(items, list):
            raise InvalidResponse(f"it is a {type(data).__name__} where a list was expected")
        return tuple(YouTubeTrigger.model_validate(object_in(item)) for item in items)

    return Call(
        description=f"list the triggers of agent {agent_id!r}",
        path="/agent/{agent_id}/triggers",
        ids={"agent_id": agent_id},
        decode=decode,
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def add_youtube_channels(
    agent_id: str,
    youtube_channels: Iterable[str] | str,
    *,
    trigger_callback_url: str | None = KEEP_CALLBACK,
    min_seconds: int | None = None,
    max_seconds: int | None = None,
) -> Call[AddedChannels]:
    """
    Add channels whose new videos start the agent. **Each of these runs costs credits.**

    The duration limits also select the trigger: Mosaic uses the trigger with equal limits, or creates one. It moves
    channels of another trigger of the agent and ignores channels that are already there.
    API page: https://docs.mosaic.so/api/triggers/post-add-youtube-channels

    :param youtube_channels: Channel ids or URLs.
    :param trigger_callback_url: URL that receives the webhooks of these runs. None removes it. ``unchanged`` keeps
        the present one.
    :param min_seconds: Shortest accepted video.
    :param max_seconds: Longest accepted video.
    """
    body: dict[str, Any] = {"youtube_channels": validate_channels("youtube_channels", youtube_channels)}
    if trigger_callback_url != KEEP_CALLBACK:
        body["trigger_callback_url"] = optional(validate_callback)("trigger_callback_url", trigger_callback_url)
    duration = validate_duration_limits({"min_seconds": min_seconds, "max_seconds": max_seconds})
    if duration:
        body["filter_options"] = {"duration": duration}
    return Call(
        description=f"add YouTube channels to agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/triggers/add_youtube_channels",
        ids={"agent_id": agent_id},
        body=body,
        read=lambda data: AddedChannels.model_validate(data if isinstance(data, Mapping) else {}),
    )


def remove_youtube_channels(agent_id: str, youtube_channels: Iterable[str] | str) -> Call[None]:
    """
    Remove channels from all triggers of an agent, and triggers that have no channel left.

    The response is not documented: read the triggers again.
    API page: https://docs.mosaic.so/api/triggers/post-remove-youtube-channels

    :param youtube_channels: Channel ids or URLs.
    """
    return Call(
        description=f"remove YouTube channels from agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/triggers/remove_youtube_channels",
        ids={"agent_id": agent_id},
        body={"youtube_channels": validate_channels("youtube_channels", youtube_channels)},
        read=lambda data: None,
    )


def _channel_id(channel: Any) -> Any:
    """Return the channel id in a channel URL; any other value unchanged."""
    found = _CHANNEL_URL.fullmatch(channel) if isinstance(channel, str) else None
    return found[1] if found else channel
