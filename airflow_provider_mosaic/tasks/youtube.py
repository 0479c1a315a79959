"""Reconcile the YouTube channels of a trigger with the requested ones. It is idempotent."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_mosaic.api.endpoints.triggers import UNCHANGED, YouTubeTrigger, validate_filter
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.options import KEEP_CALLBACK, YOUTUBE_TRIGGER
from airflow_provider_mosaic.api.redaction import MAX_LISTED, listed
from airflow_provider_mosaic.durable.reads import read_until
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

_CHANNEL_ID = re.compile(r"UC[\w-]{22}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DesiredTrigger:
    """
    The validated arguments of an operator. Their meanings are those of
    :class:`~airflow_provider_mosaic.operators.triggers.MosaicYouTubeTriggerOperator`.
    """

    agent_id: str
    channels: tuple[str, ...]
    filter_options: Mapping[str, Any]
    callback_url: str | None
    exclusive: bool

    @classmethod
    def validated(
        cls, *, agent_id: Any, youtube_channels: Any, filter_options: Any, callback_url: Any, exclusive: Any
    ) -> DesiredTrigger:
        """
        Validate an operator's arguments.

        :raises MosaicValidationError: One of them is invalid.
        """
        given = {
            "youtube_channels": youtube_channels,
            "callback_url": callback_url,
            "agent_id": agent_id,
            "filter_options": filter_options,
            "exclusive": exclusive,
        }
        options = {name: YOUTUBE_TRIGGER[name](name, value) for name, value in given.items()}
        return cls(
            agent_id=options["agent_id"],
            channels=tuple(dict.fromkeys(options["youtube_channels"])),
            filter_options=validate_filter("filter_options", options["filter_options"] or {}),
            callback_url=options["callback_url"],
            exclusive=options["exclusive"],
        )

    def matches(self, trigger: YouTubeTrigger) -> bool:
        """Return whether a trigger of the agent is the requested one: the filter identifies it."""
        own = validate_filter("filter_options", trigger.filter_options)
        return _filters_by_duration_only(trigger) and own == self.filter_options


class YouTubeTask:
    """The task of ``MosaicYouTubeTriggerOperator``, in one execution."""

    def __init__(self, hook: MosaicHook, desired: DesiredTrigger) -> None:
        self._hook = hook
        self._desired = desired
        # The channels that were sent, with the ids in the response; empty for a response without an id.
        self._resolved: dict[str, str] = {}
        # The ids of channels by their handles.
        self._handles: dict[str, str] = {}

    def reconcile(self) -> list[str]:
        """
        Add, move and remove channels until the trigger has the requested ones. Read it again after each change.

        :returns: The ids of the triggers that have them. The editor can make several with the same filter.
        :raises MosaicError: The triggers do not show the changes.
        """
        desired, before = self._desired, self._read()
        missing = self._missing(before)
        now = before
        if missing or self._callback_differs(before):
            self._fail_if_other_filter(before)
            # Only an add changes the callback. A channel that the trigger has already can be sent again.
            self._add(missing or desired.channels[:1])
            now = read_until(self._read, self._is_set)
            if self._shared(now):
                self._move(now)
                now = read_until(self._read, self._is_set)
            self._fail_unless_shown(self._is_set(now), now)
        extra = self._extra(now, before)
        self._fail_if_shared(extra, now)
        if extra:
            self._hook.remove_youtube_channels(desired.agent_id, extra)
            log.info("Removed from the triggers of agent %r: %s.", desired.agent_id, listed(extra))

            def is_removed(triggers: tuple[YouTubeTrigger, ...]) -> bool:
                return bool(self._matching(triggers)) and not self._extra(triggers, before)

            now = read_until(self._read, is_removed)
            self._fail_unless_shown(is_removed(now), now)
        elif now is before:
            log.info("The trigger of agent %r already matches. Nothing was sent.", desired.agent_id)
        return [trigger.id for trigger in self._matching(now)]

    def _read(self) -> tuple[YouTubeTrigger, ...]:
        triggers = self._hook.list_triggers(self._desired.agent_id)
        for details in (each for trigger in triggers for each in trigger.youtube_channel_details):
            if details.channel_handle:
                self._handles[_normalized_handle(details.channel_handle)] = details.channel_id
        return triggers

    def _key(self, channel: str) -> str:
        """Return what identifies a channel: its id, or its handle if Mosaic does not report the id."""
        kind, name = _identify(channel)
        return self._handles.get(name, f"@{name}") if kind == "handle" else name

    def _channels(self, triggers: Iterable[YouTubeTrigger]) -> dict[str, str]:
        """Return the channels of triggers as Mosaic lists them, by their keys. In 2025 they are listed by URL."""
        return {self._key(channel): channel for trigger in triggers for channel in trigger.youtube_channels}

    def _matching(self, triggers: tuple[YouTubeTrigger, ...]) -> list[YouTubeTrigger]:
        return [trigger for trigger in triggers if self._desired.matches(trigger)]

    def _ids(self, triggers: tuple[YouTubeTrigger, ...]) -> dict[str, str | None]:
        """
        Return the id of each requested channel, or the handle that Mosaic lists: None if it is unknown, empty if Mosaic
        added it without an id.
        """
        listed_channels = self._channels(triggers)
        keys = {channel: self._key(channel) for channel in self._desired.channels}
        return {
            channel: key if _CHANNEL_ID.fullmatch(key) or key in listed_channels else self._resolved.get(channel)
            for channel, key in keys.items()
        }

    def _others(self, triggers: tuple[YouTubeTrigger, ...]) -> list[YouTubeTrigger]:
        return [trigger for trigger in triggers if not self._desired.matches(trigger)]

    def _missing(self, triggers: tuple[YouTubeTrigger, ...]) -> list[str]:
        """
        Return the requested channels to send: those that the trigger lacks, that another trigger has too, or whose id
        is unknown.
        """
        existing, elsewhere = self._channels(self._matching(triggers)), self._channels(self._others(triggers))
        return [
            channel
            for channel, channel_id in self._ids(triggers).items()
            # An empty id stays unknown: the channel was added, and is not added again.
            if channel_id is None or (channel_id and (channel_id not in existing or channel_id in elsewhere))
        ]

    def _shared(self, triggers: tuple[YouTubeTrigger, ...]) -> dict[str, str]:
        """Return the requested channels that the trigger has, and other triggers too, with what the trigger lists."""
        existing, elsewhere = self._channels(self._matching(triggers)), self._channels(self._others(triggers))
        ids = self._ids(triggers).items()
        return {channel: existing[each] for channel, each in ids if each and each in existing and each in elsewhere}

    def _is_set(self, triggers: tuple[YouTubeTrigger, ...]) -> bool:
        """Return whether the trigger exists, with its callback, and alone has the requested channels."""
        differs = self._missing(triggers) or self._callback_differs(triggers)
        return bool(self._matching(triggers)) and not differs

    def _move(self, triggers: tuple[YouTubeTrigger, ...]) -> None:
        """Remove channels that other triggers still have after an add from all triggers, and add them again."""
        self._fail_if_other_filter(triggers)
        agent_id, requested, matching = self._desired.agent_id, self._shared(triggers), self._matching(triggers)
        # A channel may be given by its id and by its handle.
        shared = list(dict.fromkeys(requested.values()))
        # Mosaic deletes a trigger without channels, and only this task would still have its callback.
        is_emptied = set(self._channels(matching).values()) <= set(shared)
        loses_callback = is_emptied and any(each.callback_url for each in matching)
        if loses_callback and self._desired.callback_url == KEEP_CALLBACK:
            raise MosaicError(
                f"These channels are in other triggers of agent {agent_id!r} too, and adding them did not move them: "
                f"{listed(shared)}.",
                means="They were not removed: the requested trigger would lose its callback with them.",
                to_do="Remove them from the other triggers in the editor, or give callback_url.",
            )
        is_removed = False
        try:
            self._hook.remove_youtube_channels(agent_id, shared)
            is_removed = True
            log.info("Removed from all triggers of agent %r, to be added again: %s.", agent_id, listed(shared))
            # Mosaic accepted them in this form before.
            self._add(list(requested))
        except MosaicError as error:
            if is_removed or error.effect_unknown:
                means = f"These channels may be in no trigger now, so their new videos start no runs: {listed(shared)}."
                error.set_consequences(means=means, to_do=error.to_do)
            raise

    def _callback_differs(self, triggers: tuple[YouTubeTrigger, ...]) -> bool:
        if self._desired.callback_url == KEEP_CALLBACK:
            return False
        return any((trigger.callback_url or None) != self._desired.callback_url for trigger in self._matching(triggers))

    def _extra(self, triggers: tuple[YouTubeTrigger, ...], before: tuple[YouTubeTrigger, ...]) -> list[str]:
        """Return channels of the trigger that are not requested, as it lists them."""
        ids = self._ids(triggers)
        kept = set(ids.values())
        scope = triggers if self._desired.exclusive else self._matching(triggers)
        extra = [channel for key, channel in self._channels(scope).items() if key not in kept]
        unknown = [channel for channel, channel_id in ids.items() if not channel_id]
        if unknown:
            # Channels that appeared since the add may be the unknown ones.
            old = self._channels(before)
            extra = [channel for channel in extra if self._key(channel) in old]
        if unknown and extra:
            raise MosaicError(
                f"Mosaic does not return the ids of these channels: {listed(unknown)}. They may be among "
                f"{listed(extra)}.",
                means="Nothing was removed.",
                to_do="Set the channels by their ids (UC...).",
            )
        return extra

    def _fail_if_other_filter(self, triggers: tuple[YouTubeTrigger, ...]) -> None:
        """Raise if a requested channel is in a trigger with another filter than a duration."""
        elsewhere = self._channels(each for each in self._others(triggers) if not _filters_by_duration_only(each))
        shared = [channel for channel in self._ids(triggers).values() if channel in elsewhere]
        if shared and not self._desired.exclusive:
            raise MosaicError(
                f"These channels are in triggers of agent {self._desired.agent_id!r} with another filter than a "
                f"duration: {listed(shared)}.",
                means="Nothing was removed from these triggers.",
                to_do="Remove them there in the editor, or set exclusive=True.",
            )

    def _fail_if_shared(self, extra: list[str], triggers: tuple[YouTubeTrigger, ...]) -> None:
        """Raise if other triggers have a channel that is to be removed: Mosaic would remove it from them, too."""
        others = self._channels(self._others(triggers))
        shared = [channel for channel in extra if self._key(channel) in others]
        if shared and not self._desired.exclusive:
            raise MosaicError(
                f"These channels are in other triggers of agent {self._desired.agent_id!r} too: {listed(shared)}. "
                "Mosaic removes a channel from all triggers.",
                means="Nothing was removed.",
                to_do="Remove them in the editor, or set exclusive=True.",
            )

    def _add(self, channels: Sequence[str]) -> None:
        desired = self._desired
        duration = desired.filter_options.get("duration", {})
        added = self._hook.add_youtube_channels(
            desired.agent_id,
            channels,
            trigger_callback_url=UNCHANGED if desired.callback_url == KEEP_CALLBACK else desired.callback_url,
            min_seconds=duration.get("min_seconds"),
            max_seconds=duration.get("max_seconds"),
        )
        ids = {str(entry.get("input")): str(entry.get("channel_id") or "") for entry in added.channels}
        self._resolved.update({channel: ids.get(channel, "") for channel in channels})
        log.info("Sent channels to be added to the trigger of agent %r: %s.", desired.agent_id, listed(channels))

    def _fail_unless_shown(self, is_shown: bool, triggers: tuple[YouTubeTrigger, ...]) -> None:
        if is_shown:
            return
        shown = triggers[:MAX_LISTED]
        current = "; ".join(f"{trigger.id} has {listed(trigger.youtube_channels)}" for trigger in shown)
        raise MosaicError(
            f"The triggers of agent {self._desired.agent_id!r} do not show the change. Requested: "
            f"{listed(self._desired.channels)}. Current: {current or 'none'}.",
            transient=True,
        )


def _filters_by_duration_only(trigger: YouTubeTrigger) -> bool:
    """Return whether a trigger filters videos by limits of their duration only."""
    duration = trigger.filter_options.get("duration") or {}
    others = (value for name, value in trigger.filter_options.items() if name != "duration")
    if any(others) or not isinstance(duration, Mapping):
        return False
    return all(name in {"min_seconds", "max_seconds"} for name, limit in duration.items() if limit is not None)


def _normalized_handle(handle: str) -> str:
    return handle.lstrip("@").casefold()


def _identify(channel: str) -> tuple[str, str]:
    """Return ``id``, ``handle`` or ``other`` for an id, a handle or a URL of a channel, with the id or handle."""
    if _CHANNEL_ID.fullmatch(channel):
        return "id", channel
    if channel.startswith("@"):
        return "handle", _normalized_handle(channel)
    try:
        parts = [unquote(part) for part in urlsplit(channel).path.split("/") if part] if "://" in channel else []
    except ValueError:
        return "other", channel
    if len(parts) >= 2 and parts[0] == "channel" and _CHANNEL_ID.fullmatch(parts[1]):
        return "id", parts[1]
    if parts and parts[0].startswith("@"):
        return "handle", _normalized_handle(parts[0])
    return "other", channel
