"""YouTube triggers and their channels."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.settings import Settings

CHANNEL_ID: Final = re.compile(r"UC[A-Za-z0-9_-]{22}")
HANDLE: Final = re.compile(r"@[A-Za-z0-9._-]{3,30}")
HOSTS: Final = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com"})


@dataclass(frozen=True)
class Channel:
    """A YouTube channel."""

    id: str
    handle: str | None

    def as_json(self, *, refreshed: bool) -> dict[str, Any]:
        """Return the metadata of the channel."""
        return {
            "channel_id": self.id,
            "channel_name": f"Channel {self.id[2:8]}" if refreshed else None,
            "channel_handle": self.handle if refreshed else None,
            "thumbnail_url": f"https://youtube.example/{self.id}.jpg" if refreshed else None,
            "subscriber_count": 1000 if refreshed else None,
        }


@dataclass
class YoutubeTrigger:
    """A YouTube trigger of an agent."""

    agent_id: str
    filter_options: dict[str, Any] | None
    callback_url: str | None = None
    channels: dict[str, Channel] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def matches_duration(self, seconds: float | None) -> bool:
        """Return whether a video of this length passes the filter. Bounds are inclusive."""
        bounds = (self.filter_options or {}).get("duration") or {}
        low, high = bounds.get("min_seconds"), bounds.get("max_seconds")
        return seconds is None or ((low is None or seconds >= low) and (high is None or seconds <= high))


@dataclass(frozen=True)
class AddedChannels:
    """The result of adding channels."""

    trigger: YoutubeTrigger
    channels: list[tuple[str, Channel]]
    added: int


def resolve_channel(text: str) -> Channel | None:
    """Return the channel of an id, a URL or a handle, or None if the text is none of them."""
    if CHANNEL_ID.fullmatch(text):
        return Channel(text, None)
    parts = urlsplit(text) if is_http_url(text) else None
    if parts is not None and parts.hostname in HOSTS:
        segments = [each for each in parts.path.split("/") if each]
        if len(segments) == 2 and segments[0] == "channel" and CHANNEL_ID.fullmatch(segments[1]):
            return Channel(segments[1], None)
        text = segments[0] if len(segments) == 1 else ""
    if HANDLE.fullmatch(text):
        digest = hashlib.sha256(text.lower().encode()).digest()
        return Channel(f"UC{base64.urlsafe_b64encode(digest).decode()[:22]}", text)
    return None


class YoutubeTriggers:
    """All YouTube triggers."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings
        self.triggers: dict[str, YoutubeTrigger] = {}

    def of_agent(self, agent_id: str) -> list[YoutubeTrigger]:
        """Return an agent's triggers, oldest first."""
        return [each for each in self.triggers.values() if each.agent_id == agent_id]

    def add(self, agent_id: str, channels: list[tuple[str, Channel]], options: dict[str, Any] | None) -> AddedChannels:
        """
        Add channels to the agent's trigger with these filters, and remove them from its other triggers.

        :param channels: The sent texts and their channels.
        """
        key = self._key(options)
        found = [each for each in self.of_agent(agent_id) if self._key(each.filter_options) == key]
        trigger = found[0] if found else YoutubeTrigger(agent_id, options)
        self.triggers[trigger.id] = trigger
        added = 0
        for _, channel in channels:
            if channel.id in trigger.channels:
                continue
            for other in self.of_agent(agent_id):
                other.channels.pop(channel.id, None)
            trigger.channels[channel.id] = channel
            added += 1
        self._remove_empty(agent_id)
        return AddedChannels(trigger, channels, added)

    def remove(self, agent_id: str, channel_ids: set[str]) -> list[str]:
        """
        Remove channels from all triggers of an agent.

        :returns: The removed channel ids.
        """
        removed = []
        for trigger in self.of_agent(agent_id):
            for each in channel_ids & set(trigger.channels):
                del trigger.channels[each]
                removed.append(each)
        self._remove_empty(agent_id)
        return removed

    def remove_agent(self, agent_id: str) -> None:
        """Delete an agent's triggers."""
        for trigger in self.of_agent(agent_id):
            del self.triggers[trigger.id]

    def copy_to(self, agent_id: str, copy_id: str) -> None:
        """Copy an agent's triggers to its copy."""
        for each in self.of_agent(agent_id):
            copied = YoutubeTrigger(copy_id, each.filter_options, each.callback_url, dict(each.channels))
            self.triggers[copied.id] = copied

    def details_json(self, channels: list[Channel]) -> list[dict[str, Any]]:
        """Return the metadata of channels, according to ``channel_details``."""
        if self._settings.channel_details == "missing":
            return []
        return [each.as_json(refreshed=self._settings.channel_details == "full") for each in channels]

    def as_json(self, trigger: YoutubeTrigger) -> dict[str, Any]:
        """Return a trigger."""
        return {
            "id": trigger.id,
            "type": "youtube",
            "youtube_channels": [self._channel_name(each) for each in trigger.channels],
            "youtube_channel_details": self.details_json(list(trigger.channels.values())),
            "callback_url": trigger.callback_url,
            "filter_options": trigger.filter_options,
        }

    def _channel_name(self, channel_id: str) -> str:
        by_id = self._settings.listed_channels == "ids"
        return channel_id if by_id else f"https://www.youtube.com/channel/{channel_id}"

    def _key(self, options: dict[str, Any] | None) -> Any:
        bounds = {name: value for name, value in ((options or {}).get("duration") or {}).items() if value is not None}
        if bounds or self._settings.empty_filter_is_none:
            return bounds
        return options

    def _remove_empty(self, agent_id: str) -> None:
        for trigger in self.of_agent(agent_id):
            if not trigger.channels:
                del self.triggers[trigger.id]


def triggered_by(facts: dict[str, Any] | None, shape: str, flag: str = "") -> dict[str, Any] | None:
    """
    Return ``triggered_by`` of a run.

    :param facts: The trigger and its event.
    :param shape: Value of the setting ``listed_trigger`` or ``webhook_trigger``.
    :param flag: Flag of the webhook event.
    """
    if facts is None or shape == "flat":
        return facts
    if shape == "sample":
        if flag == "RUN_STARTED" or facts["type"] != "youtube":
            return triggered_by(facts, "nested")
        return {**facts, "channel_name": f"Channel {facts['channel_id'][2:8]}"}
    if shape == "trigger_id":
        return {"trigger_id": facts["trigger_id"]}
    if facts["type"] != "youtube":
        return {"id": facts["trigger_id"], "type": facts["type"]}
    return {
        "id": facts["trigger_id"],
        "type": "youtube",
        "youtube": {
            "id": facts["video_id"],
            "channel": facts["channel_id"],
            "title": facts["video_title"],
            "url": facts["video_url"],
        },
    }
