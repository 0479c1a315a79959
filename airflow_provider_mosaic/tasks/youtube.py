"""Reconcile the YouTube channels of a trigger with the requested ones. It is idempotent."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.redaction import MAX_LISTED, listed
from airflow_provider_mosaic.api.youtube_channels import ChannelIds, DesiredTrigger, TriggerComparison
from airflow_provider_mosaic.durable.reads import read_until
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


class YouTubeTask:
    """The task of ``MosaicYouTubeTriggerOperator``, in one execution."""

    def __init__(self, hook: MosaicHook, desired: DesiredTrigger) -> None:
        self._hook = hook
        self._desired = desired
        self._ids = ChannelIds()

    def reconcile(self) -> list[str]:
        """
        Add, move and remove channels until the trigger has the requested ones. Read it again after each change.

        :returns: The ids of the triggers that have them. The editor can make several with the same filter.
        :raises MosaicError: The triggers do not show the changes.
        """
        agent_id = self._desired.agent_id
        before = now = self._read()
        if before.to_add:
            before.fail_if_other_filter()
            self._desired = before.with_kept_callback()
            self._add(before.to_add)
            now = read_until(self._read, TriggerComparison.is_set)
            if now.shared:
                now.fail_if_other_filter()
                now.fail_if_callback_is_lost()
                self._move(now.shared)
                now = read_until(self._read, TriggerComparison.is_set)
            self._fail_unless_shown(now.has_channels(), now)
            if not now.is_set():
                # Mosaic may list the callback in another form, or not at all.
                log.warning(
                    "The triggers of agent %r do not show the requested callback_url. Mosaic accepted it. Check that "
                    "the webhooks arrive. Each run of the task sends it again.",
                    agent_id,
                )
        extra = now.to_remove(before)
        if extra:
            self._hook.remove_youtube_channels(agent_id, extra)
            log.info("Removed from the triggers of agent %r: %s.", agent_id, listed(extra))

            def is_removed(comparison: TriggerComparison) -> bool:
                return bool(comparison.matching) and not comparison.to_remove(before)

            now = read_until(self._read, is_removed)
            self._fail_unless_shown(is_removed(now), now)
        elif now is before:
            log.info("The trigger of agent %r already matches. Nothing was sent.", agent_id)
        return [trigger.id for trigger in now.matching]

    def _read(self) -> TriggerComparison:
        triggers = self._hook.list_triggers(self._desired.agent_id)
        self._ids.save_listed(triggers)
        return TriggerComparison(self._desired, triggers, self._ids)

    def _add(self, channels: Sequence[str]) -> None:
        desired = self._desired
        duration = desired.filter_options.get("duration", {})
        added = self._hook.add_youtube_channels(
            desired.agent_id,
            channels,
            trigger_callback_url=desired.callback_url,
            min_seconds=duration.get("min_seconds"),
            max_seconds=duration.get("max_seconds"),
        )
        self._ids.save_added(channels, added)
        log.info("Sent channels to be added to the trigger of agent %r: %s.", desired.agent_id, listed(channels))

    def _move(self, shared: dict[str, str]) -> None:
        """
        Remove channels that other triggers still have after an add from all triggers, and add them again.

        :param shared: The channels as they are requested, with how they are listed.
        """
        agent_id = self._desired.agent_id
        # A channel may be given by its id and by its handle.
        channels = list(dict.fromkeys(shared.values()))
        is_removed = False
        try:
            self._hook.remove_youtube_channels(agent_id, channels)
            is_removed = True
            log.info("Removed from all triggers of agent %r, to be added again: %s.", agent_id, listed(channels))
            # Mosaic accepted them in this form before.
            self._add(list(shared))
        except MosaicError as error:
            if is_removed or error.effect_unknown:
                means = (
                    f"These channels may be in no trigger now, so their new videos start no runs: {listed(channels)}."
                )
                error.set_consequences(means=means, to_do=error.to_do)
            raise

    def _fail_unless_shown(self, is_shown: bool, now: TriggerComparison) -> None:
        if is_shown:
            return
        shown = now.triggers[:MAX_LISTED]
        current = "; ".join(f"{trigger.id} has {listed(trigger.youtube_channels)}" for trigger in shown)
        raise MosaicError(
            f"The triggers of agent {self._desired.agent_id!r} do not show the change. Requested: "
            f"{listed(self._desired.youtube_channels)}. Current: {current or 'none'}.",
            transient=True,
        )
