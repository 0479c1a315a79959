"""Which YouTube channels to add to the triggers of an agent, to move, and to remove, so that they are as requested."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from airflow_provider_mosaic.api.arguments import split_url
from airflow_provider_mosaic.api.endpoints.triggers import AddedChannels, YouTubeTrigger
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.file_links import link_secrets
from airflow_provider_mosaic.api.options import KEEP_CALLBACK, YOUTUBE_TRIGGER
from airflow_provider_mosaic.api.redaction import MASK, listed, remember_signed

_CHANNEL_ID = re.compile(r"UC[\w-]{22}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DesiredTrigger:
    """
    The validated arguments of an operator. Their meanings are those of
    :class:`~airflow_provider_mosaic.operators.triggers.MosaicYouTubeTriggerOperator`.
    """

    agent_id: str
    youtube_channels: tuple[str, ...]
    filter_options: Mapping[str, Any]
    callback_url: str | None
    exclusive: bool

    @classmethod
    def validated(cls, **arguments: Any) -> DesiredTrigger:
        """
        Validate an operator's arguments.

        :raises MosaicValidationError: One of them is invalid.
        """
        options = {name: YOUTUBE_TRIGGER[name](name, value) for name, value in arguments.items()}
        options["youtube_channels"] = tuple(dict.fromkeys(options["youtube_channels"]))
        options["filter_options"] = _comparable_filter(options["filter_options"] or {})
        return cls(**options)

    def matches(self, trigger: YouTubeTrigger) -> bool:
        """Return whether a trigger of the agent is the requested one: the filter identifies it."""
        own = _comparable_filter(trigger.filter_options)
        return _filters_by_duration_only(trigger) and own == self.filter_options


class ChannelIds:
    """The ids of channels that are named by a handle or a URL, as far as Mosaic reported them."""

    def __init__(self) -> None:
        # By handle or URL. Empty if Mosaic added the channel without returning its id.
        self._ids: dict[str, str] = {}

    def save_listed(self, triggers: Iterable[YouTubeTrigger]) -> None:
        """Save the ids in the metadata of triggers."""
        for details in (each for trigger in triggers for each in trigger.youtube_channel_details):
            if details.channel_handle:
                self._ids[_handle_name(details.channel_handle)] = details.channel_id

    def save_added(self, channels: Iterable[str], added: AddedChannels) -> None:
        """Save the ids in the response to adding channels."""
        ids = {str(entry.get("input")): str(entry.get("channel_id") or "") for entry in added.channels}
        for channel in channels:
            name = _name(channel)
            if not _CHANNEL_ID.fullmatch(name):
                self._ids[name] = ids.get(channel) or self._ids.get(name, "")

    def key(self, channel: str) -> str:
        """Return what identifies a channel: its id, or its handle or URL if Mosaic does not report the id."""
        name = _name(channel)
        return self._ids.get(name) or name

    def is_added_without_id(self, channel: str) -> bool:
        """Return whether Mosaic added a channel and did not return its id."""
        return self._ids.get(_name(channel)) == ""

    def by_key(self, triggers: Iterable[YouTubeTrigger]) -> dict[str, str]:
        """Return the channels of triggers as Mosaic lists them, by their keys. In 2025 they are listed by URL."""
        return {self.key(channel): channel for trigger in triggers for channel in trigger.youtube_channels}


class TriggerComparison:
    """The triggers of an agent, as Mosaic lists them, beside the requested one."""

    def __init__(self, desired: DesiredTrigger, triggers: Sequence[YouTubeTrigger], ids: ChannelIds) -> None:
        self._desired, self._ids = desired, ids
        self.triggers = triggers
        #: The triggers that are the requested one. The editor can make several with the same filter.
        self.matching = [each for each in triggers if desired.matches(each)]
        self._others = [each for each in triggers if not desired.matches(each)]
        self._existing, self._elsewhere = ids.by_key(self.matching), ids.by_key(self._others)
        self._keys = {channel: ids.key(channel) for channel in desired.youtube_channels}
        keys, existing, elsewhere = self._keys.items(), self._existing, self._elsewhere
        # A channel that was added without an id may be any listed one, and is not added again.
        self._missing = [
            channel
            for channel, key in keys
            if key in elsewhere or (key not in existing and not ids.is_added_without_id(channel))
        ]
        # Only an add changes the callback. A channel that the trigger has already can be sent again.
        first = list(desired.youtube_channels[:1])
        #: The requested channels to send: those that the trigger lacks, that another trigger has too, or whose id is
        #: unknown.
        self.to_add = self._missing or (first if self._callback_differs() else [])
        #: The requested channels that the trigger has, and other triggers too, with how the trigger lists them.
        self.shared = {channel: existing[key] for channel, key in keys if key in existing and key in elsewhere}

    def has_channels(self) -> bool:
        """Return whether the trigger exists, and alone has the requested channels."""
        return bool(self.matching) and not self._missing

    def is_set(self) -> bool:
        """Return whether the trigger exists, with its callback, and alone has the requested channels."""
        return bool(self.matching) and not self.to_add

    def to_remove(self, before: TriggerComparison) -> list[str]:
        """
        Return channels of the trigger that are not requested, as it lists them.

        :param before: The triggers before an add. Channels that appeared since may be those whose ids are unknown.
        :raises MosaicError: They may be requested ones, or other triggers have them and would lose them too.
        """
        scope = self.triggers if self._desired.exclusive else self.matching
        kept = self._keys.values()
        extra = {key: channel for key, channel in self._ids.by_key(scope).items() if key not in kept}
        known = self._existing.keys() | self._elsewhere.keys()
        unknown = [
            channel for channel, key in self._keys.items() if key not in known and not _CHANNEL_ID.fullmatch(key)
        ]
        if unknown:
            old = self._ids.by_key(before.triggers)
            extra = {key: channel for key, channel in extra.items() if key in old}
        if unknown and extra:
            raise MosaicError(
                f"Mosaic does not return the ids of these channels: {listed(unknown)}. They may be among "
                f"{listed(list(extra.values()))}.",
                means="Nothing was removed.",
                to_do="Set the channels by their ids (UC...).",
            )
        shared = [channel for key, channel in extra.items() if key in self._elsewhere]
        if shared and not self._desired.exclusive:
            raise MosaicError(
                f"These channels are in other triggers of agent {self._desired.agent_id!r} too: {listed(shared)}. "
                "Mosaic removes a channel from all triggers.",
                means="Nothing was removed.",
                to_do="Remove them in the editor, or set exclusive=True.",
            )
        return list(extra.values())

    def fail_if_other_filter(self) -> None:
        """Raise if a requested channel is in a trigger with another filter than a duration."""
        elsewhere = self._ids.by_key(each for each in self._others if not _filters_by_duration_only(each))
        shared = [key for key in self._keys.values() if key in elsewhere]
        if shared and not self._desired.exclusive:
            raise MosaicError(
                f"These channels are in triggers of agent {self._desired.agent_id!r} with another filter than a "
                f"duration: {listed(shared)}.",
                means="Nothing was removed from these triggers.",
                to_do="Remove them there in the editor, or set exclusive=True.",
            )

    def with_kept_callback(self) -> DesiredTrigger:
        """
        Return the requested trigger, with the present callback of its channels if an add would create the trigger.

        :raises MosaicError: The callback is not known.
        """
        # A new trigger has no callback, and Mosaic deletes a trigger without channels.
        if self._desired.callback_url != KEEP_CALLBACK or self.matching:
            return self._desired
        keys = set(self._keys.values())
        losing = [each for each in self._others if keys & self._ids.by_key([each]).keys()]
        callbacks = {_known_callback(each) for each in losing}
        if len(callbacks) > 1 or None in callbacks:
            raise MosaicError(
                f"A new trigger of agent {self._desired.agent_id!r} would take channels from these triggers, whose "
                f"callbacks differ or are not listed by Mosaic: {listed([each.id for each in losing])}.",
                means="Nothing was sent: a callback could be lost.",
                to_do="Give callback_url.",
            )
        callback = next(iter(callbacks), None)
        if not callback:
            return self._desired
        # A path with a token is a secret too, and the response may repeat it.
        remember_signed(link_secrets(callback))
        return replace(self._desired, callback_url=callback)

    def fail_if_callback_is_lost(self) -> None:
        """Raise if the trigger would lose its callback, when its shared channels are removed and added again."""
        # Mosaic deletes a trigger without channels, and only the task would still have its callback.
        is_emptied = set(self._existing.values()) <= set(self.shared.values())
        may_have_callback = any(_known_callback(each) != "" for each in self.matching)
        if is_emptied and may_have_callback and self._desired.callback_url == KEEP_CALLBACK:
            raise MosaicError(
                f"These channels are in other triggers of agent {self._desired.agent_id!r} too, and adding them did "
                f"not move them: {listed(list(self.shared.values()))}.",
                means="They were not removed: the requested trigger would lose its callback with them.",
                to_do="Remove them from the other triggers in the editor, or give callback_url.",
            )

    def _callback_differs(self) -> bool:
        callback = self._desired.callback_url
        return callback != KEEP_CALLBACK and any((each.callback_url or None) != callback for each in self.matching)


def _known_callback(trigger: YouTubeTrigger) -> str | None:
    """Return the callback of a trigger, empty without one; None if Mosaic does not return it, or masks it."""
    callback = trigger.callback_url or ""
    return callback if "callback_url" in trigger.model_fields_set and MASK not in callback else None


def _comparable_filter(filter_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a filter without null limits; empty without a limit."""
    duration = filter_options.get("duration")
    if isinstance(duration, Mapping):
        duration = {key: limit for key, limit in duration.items() if limit is not None}
    return {"duration": duration} if duration else {}


def _filters_by_duration_only(trigger: YouTubeTrigger) -> bool:
    """Return whether a trigger filters videos by limits of their duration only."""
    duration = trigger.filter_options.get("duration") or {}
    others = (value for name, value in trigger.filter_options.items() if name != "duration")
    if any(others) or not isinstance(duration, Mapping):
        return False
    return all(name in {"min_seconds", "max_seconds"} for name, limit in duration.items() if limit is not None)


def _handle_name(handle: str) -> str:
    return f"@{handle.lstrip('@').casefold()}"


def _name(channel: str) -> str:
    """Return the id or the handle in an id, a handle or a URL of a channel; another text unchanged."""
    try:
        parts = (
            [unquote(part) for part in split_url(channel).path.split("/") if part] if "://" in channel else [channel]
        )
    except ValueError:
        return channel
    if len(parts) >= 2 and parts[0] == "channel" and _CHANNEL_ID.fullmatch(parts[1]):
        return parts[1]
    return _handle_name(parts[0]) if parts and parts[0].startswith("@") else channel
