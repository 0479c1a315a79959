"""YouTube triggers: agents that run when a channel publishes (https://docs.mosaic.so/api/triggers/get-agent-triggers)."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import field_validator

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_mapping, validate_url
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.models import Id, Many, Model, Words, object_in
from airflow_provider_mosaic.api.options import validate_channels


class Unchanged(enum.Enum):
    """A callback that is neither set nor removed."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
_CHANNEL_ADDRESS = re.compile(r"https?://(?:[\w-]+\.)?youtube\.com/channel/(UC[\w-]{22})/?", re.ASCII)


class ChannelDetails(Model):
    """What is known of a channel; all but its id may lag."""

    channel_id: Id
    channel_name: Words = None
    channel_handle: Words = None


class YouTubeTrigger(Model):
    """A trigger node of an agent: channels, and the lengths of videos that it takes."""

    id: Id
    type: Words = None
    youtube_channels: Many[str] = ()
    youtube_channel_details: Many[ChannelDetails] = ()
    callback_url: Words = None
    filter_options: dict[str, Any] = {}

    @field_validator("youtube_channels", mode="before")
    @classmethod
    def _ids_of_addresses(cls, value: Any) -> Any:
        # In 2025 channels were listed by their addresses.
        return [_channel_id(each) for each in value] if isinstance(value, list) else value


class AddedChannels(Model):
    """What an add resolved: which channel id each input means. The trigger's id is not among it."""

    message: Words = None
    channel_ids: Many[str] = ()
    channels: Many[dict[str, Any]] = ()


def list_triggers(agent_id: str) -> Call[tuple[YouTubeTrigger, ...]]:
    """
    The YouTube triggers of an agent.

    :param agent_id: The agent.
    """

    def read(data: Any) -> tuple[YouTubeTrigger, ...]:
        # The newest form is an array; before 2026 it was one object, or null.
        if data is None:
            return ()
        items = [data] if isinstance(data, Mapping) else data
        if not isinstance(items, list):
            raise InvalidResponse(f"it is a {type(data).__name__} where a list was expected")
        return tuple(YouTubeTrigger.model_validate(object_in(item)) for item in items)

    return Call(
        description=f"list the triggers of agent {agent_id!r}",
        method="GET",
        path="/agent/{agent_id}/triggers",
        ids={"agent_id": agent_id},
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def add_youtube_channels(
    agent_id: str,
    youtube_channels: Iterable[str] | str,
    *,
    trigger_callback_url: str | Literal[Unchanged.UNCHANGED] | None = UNCHANGED,
    min_seconds: int | None = None,
    max_seconds: int | None = None,
) -> Call[AddedChannels]:
    """
    Let channels start an agent. One that is there already is not added twice, one that is at another trigger of the
    agent is moved (https://docs.mosaic.so/api/triggers/post-add-youtube-channels).

    :param agent_id: The agent.
    :param youtube_channels: Channel ids or addresses.
    :param trigger_callback_url: Where webhooks of these runs go; None removes it, left out keeps it.
    :param min_seconds: The shortest video that is taken. The limits also say which trigger is meant.
    :param max_seconds: The longest video that is taken.
    """
    body: dict[str, Any] = {"youtube_channels": validate_channels("youtube_channels", youtube_channels)}
    if trigger_callback_url is not UNCHANGED:
        body["trigger_callback_url"] = (
            None
            if trigger_callback_url is None
            else validate_url("trigger_callback_url", trigger_callback_url, secure=True)
        )
    duration = {
        name: _checked_length(name, value)
        for name, value in (("min_seconds", min_seconds), ("max_seconds", max_seconds))
        if value is not None
    }
    if len(duration) == 2 and duration["min_seconds"] > duration["max_seconds"]:
        raise_invalid("min_seconds", min_seconds, f"it is more than max_seconds={max_seconds}.")
    if duration:
        body["filter_options"] = {"duration": duration}
    return Call(
        description=f"add YouTube channels to agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/triggers/add_youtube_channels",
        ids={"agent_id": agent_id},
        body=body,
        read=lambda data: AddedChannels.model_validate(data or {}),
    )


def remove_youtube_channels(agent_id: str, youtube_channels: Iterable[str] | str) -> Call[None]:
    """
    Take channels from all triggers of an agent; a trigger that is left empty goes too. What the answer holds is not
    documented: read the triggers again (https://docs.mosaic.so/api/triggers/post-remove-youtube-channels).

    :param agent_id: The agent.
    :param youtube_channels: Channel ids or addresses.
    """
    return Call(
        description=f"remove YouTube channels from agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/triggers/remove_youtube_channels",
        ids={"agent_id": agent_id},
        body={"youtube_channels": validate_channels("youtube_channels", youtube_channels)},
        read=lambda data: None,
    )


def validate_filter(name: str, value: object) -> dict[str, Any]:
    """
    The filter of a trigger, without what says nothing: absent, empty and null limits are the same.

    :param name: The argument's name.
    :param value: ``{"duration": {"min_seconds": ..., "max_seconds": ...}}``.
    """
    options = validate_mapping(name, value)
    duration = {key: limit for key, limit in (options.get("duration") or {}).items() if limit is not None}
    return {"duration": duration} if duration else {}


def _channel_id(channel: Any) -> Any:
    """The id in an address of a channel that has one; anything else as it is."""
    found = _CHANNEL_ADDRESS.fullmatch(channel) if isinstance(channel, str) else None
    return found[1] if found else channel


def _checked_length(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise_invalid(name, value, "it must be a whole number of seconds.")
    return value
