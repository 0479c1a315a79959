"""The life of a task that makes the YouTube channels of a trigger what they should be. Doing it twice does nothing."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_mosaic.api.endpoints.triggers import UNCHANGED, YouTubeTrigger, validate_filter
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.options import KEEP_CALLBACK, YOUTUBE_TRIGGER
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: Seconds between the looks at what a change has come to.
_EFFECT_PAUSES = (1.0, 2.0, 4.0, 8.0)
_CHANNEL_ID = re.compile(r"UC[\w-]{22}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DesiredTrigger:
    """
    What an operator was asked for, checked. The meanings are those of
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
        From an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
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
        """
        Whether a trigger is the one that is meant: the filter says which it is.

        :param trigger: A trigger of the agent.
        """
        others = {name: value for name, value in trigger.filter_options.items() if name != "duration" and value}
        return not others and validate_filter("filter_options", trigger.filter_options) == self.filter_options


class YouTubeTask:
    """
    One slice of the task on a worker.

    :param hook: The connection.
    :param wanted: What the trigger should be.
    """

    def __init__(self, hook: MosaicHook, wanted: DesiredTrigger) -> None:
        self._hook = hook
        self._wanted = wanted
        # What an add has resolved: channel ids by what was sent.
        self._resolved: dict[str, str] = {}

    def reconcile(self) -> list[str]:
        """
        Add, move and remove channels until the trigger has those that are wanted, and read it again after each change.

        :returns: The ids of the triggers that have them; it is one unless the editor made several with the same filter.
        :raises MosaicError: The changes have not come to what is wanted.
        """
        wanted, before = self._wanted, self._read()
        missing = self._missing(before)
        now = before
        if missing or self._callback_differs(before):
            self._add(missing or wanted.channels[:1])
            now = self._until(lambda triggers: not self._missing(triggers) and not self._callback_differs(triggers))
        extra = self._extra(now, before)
        if extra:
            self._hook.remove_youtube_channels(wanted.agent_id, extra)
            log.info("Removed from the triggers of agent %r: %s.", wanted.agent_id, ", ".join(extra))
            now = self._until(lambda triggers: not self._extra(triggers, before))
        elif now is before:
            log.info("The trigger of agent %r is as it should be: nothing was sent.", wanted.agent_id)
        return [trigger.id for trigger in self._here(now)]

    # What there is

    def _read(self) -> tuple[YouTubeTrigger, ...]:
        return self._hook.list_triggers(self._wanted.agent_id)

    def _here(self, triggers: tuple[YouTubeTrigger, ...]) -> list[YouTubeTrigger]:
        return [trigger for trigger in triggers if self._wanted.matches(trigger)]

    def _ids(self, triggers: tuple[YouTubeTrigger, ...]) -> dict[str, str | None]:
        """The channel id of each wanted channel; None where it is not known."""
        handles = {
            _bare(details.channel_handle): details.channel_id
            for trigger in triggers
            for details in trigger.youtube_channel_details
            if details.channel_handle
        }
        found: dict[str, str | None] = {}
        for channel in self._wanted.channels:
            kind, name = _names(channel)
            known = name if kind == "id" else handles.get(name) if kind == "handle" else None
            found[channel] = known or self._resolved.get(channel)
        return found

    def _missing(self, triggers: tuple[YouTubeTrigger, ...]) -> list[str]:
        """Wanted channels that the trigger has not, or of which it can't be told."""
        there = _channels(self._here(triggers))
        return [
            channel
            for channel, channel_id in self._ids(triggers).items()
            # Once it was sent, an answer that does not say what it means is all that there will be.
            if (channel_id is None and channel not in self._resolved) or (channel_id and channel_id not in there)
        ]

    def _callback_differs(self, triggers: tuple[YouTubeTrigger, ...]) -> bool:
        if self._wanted.callback_url == KEEP_CALLBACK:
            return False
        return any((trigger.callback_url or None) != self._wanted.callback_url for trigger in self._here(triggers))

    def _extra(self, triggers: tuple[YouTubeTrigger, ...], before: tuple[YouTubeTrigger, ...]) -> list[str]:
        """Channels that are there and not wanted."""
        ids = self._ids(triggers)
        kept = set(ids.values())
        scope = triggers if self._wanted.exclusive else self._here(triggers)
        extra = [channel for channel in _channels(scope) if channel not in kept]
        unknown = [channel for channel, channel_id in ids.items() if not channel_id]
        if unknown:
            # What has appeared since the add was added by it, or by someone else a moment ago.
            extra = [channel for channel in extra if channel in _channels(before)]
        if unknown and extra:
            raise MosaicError(
                f"Mosaic does not say which channels these are: {', '.join(unknown)}. They may be among "
                f"{', '.join(extra)}, so nothing was removed. Give them by their ids (UC...)."
            )
        return extra

    # Changes

    def _add(self, channels: list[str] | tuple[str, ...]) -> None:
        wanted = self._wanted
        duration = wanted.filter_options.get("duration", {})
        added = self._hook.add_youtube_channels(
            wanted.agent_id,
            channels,
            trigger_callback_url=UNCHANGED if wanted.callback_url == KEEP_CALLBACK else wanted.callback_url,
            min_seconds=duration.get("min_seconds"),
            max_seconds=duration.get("max_seconds"),
        )
        said = {str(entry.get("input")): str(entry.get("channel_id") or "") for entry in added.channels}
        self._resolved.update({channel: said.get(channel, "") for channel in channels})
        log.info("Sent to the trigger of agent %r: %s.", wanted.agent_id, ", ".join(channels))

    def _until(self, is_so: Callable[[tuple[YouTubeTrigger, ...]], bool]) -> tuple[YouTubeTrigger, ...]:
        """Read the triggers again until they show what was changed."""
        for pause in (*_EFFECT_PAUSES, None):
            triggers = self._read()
            if self._here(triggers) and is_so(triggers):
                return triggers
            if pause is not None:
                time.sleep(pause)
        there = "; ".join(f"{trigger.id} has {', '.join(trigger.youtube_channels)}" for trigger in triggers)
        raise MosaicError(
            f"The triggers of agent {self._wanted.agent_id!r} do not show what was changed. Wanted: "
            f"{', '.join(self._wanted.channels)}. There: {there or 'none'}.",
            transient=True,
        )


def _channels(triggers: Iterable[YouTubeTrigger]) -> dict[str, None]:
    return dict.fromkeys(channel for trigger in triggers for channel in trigger.youtube_channels)


def _bare(handle: str | None) -> str:
    return (handle or "").lstrip("@").casefold()


def _names(channel: str) -> tuple[str, str]:
    """What an id, an address or a handle of a channel says: an ``id``, a ``handle``, or something ``else``."""
    if _CHANNEL_ID.fullmatch(channel):
        return "id", channel
    if channel.startswith("@"):
        return "handle", _bare(channel)
    pieces = [unquote(piece) for piece in urlsplit(channel).path.split("/") if piece] if "://" in channel else []
    if len(pieces) >= 2 and pieces[0] == "channel" and _CHANNEL_ID.fullmatch(pieces[1]):
        return "id", pieces[1]
    if pieces and pieces[0].startswith("@"):
        return "handle", _bare(pieces[0])
    return "else", channel
