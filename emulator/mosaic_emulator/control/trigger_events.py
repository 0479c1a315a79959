"""Events that fire triggers: a new video on a channel, or new files in a watched folder."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mosaic_emulator.catalogue import Agent
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.runs.models import Run, RunInput
from mosaic_emulator.state import State
from mosaic_emulator.triggers.youtube import YoutubeTrigger


class TriggerEvent(BaseModel):
    """A new video, or new files. Missing values get defaults."""

    model_config = ConfigDict(extra="forbid")

    channel_id: str | None = None
    video_id: str = Field(default_factory=lambda: uuid.uuid4().hex[:11])
    video_title: str = "A new video"
    video_url: str | None = None
    #: Length of the video. An unknown length matches every filter.
    seconds: float | None = None
    file_names: list[str] = Field(default_factory=lambda: ["recording.mp4"], min_length=1)


def fire(state: State, trigger_id: str, event: TriggerEvent) -> Run | None:
    """
    Fire a trigger.

    :returns: The started run, or None if the trigger's filter excludes the video or its run already exists.
    :raises LookupError: If the trigger does not exist.
    :raises ValueError: If the trigger does not watch the channel.
    """
    if event.video_url is not None and not is_http_url(event.video_url):
        raise ValueError("video_url: not an http or https URL")
    youtube = state.triggers.triggers.get(trigger_id)
    if youtube is not None:
        return _video(state, youtube, event)
    if trigger_id in state.storage_events.triggers:
        return _files(state, trigger_id, event)
    raise LookupError(f"Trigger {trigger_id} does not exist.")


def _video(state: State, trigger: YoutubeTrigger, event: TriggerEvent) -> Run | None:
    channel_id = event.channel_id or next(iter(trigger.channels))
    if channel_id not in trigger.channels:
        raise ValueError(f"The trigger does not watch channel {channel_id}.")
    # Several triggers of an agent start one run for the same video.
    is_known = any(
        run.agent.id == trigger.agent_id and (run.triggered_by or {}).get("video_id") == event.video_id
        for run in state.runs.values()
    )
    if is_known or not trigger.matches_duration(event.seconds):
        return None
    url = event.video_url or f"https://www.youtube.com/watch?v={event.video_id}"
    agent = state.agents[trigger.agent_id]
    return state.start_run(
        agent,
        _inputs(agent, url),
        callback_url=trigger.callback_url,
        triggered_by={
            "type": "youtube",
            "trigger_id": trigger.id,
            "channel_id": channel_id,
            "video_id": event.video_id,
            "video_title": event.video_title,
            "video_url": url,
            "triggered_at": state.clock.text(state.clock.now()),
        },
    )


def _files(state: State, trigger_id: str, event: TriggerEvent) -> Run | None:
    storage_events = state.storage_events
    trigger = storage_events.triggers[trigger_id]
    agent = state.agents.get(trigger.data["agent_id"])
    batch = storage_events.add_files(trigger_id, event.file_names)
    if agent is None:
        # The agent was deleted, so the batch stays open.
        return None
    origin: dict[str, Any] = {
        "storage_trigger_id": trigger_id,
        "batch_id": batch.id,
        "folder_id": batch.data["folder_id"],
        "batch_key": batch.data["batch_key"],
        **batch.hidden,
    }
    run = state.start_run(
        agent,
        _inputs(agent, event.video_url or "https://storage.example/recording.mp4"),
        triggered_by={"type": "storage", "trigger_id": trigger_id, "triggered_at": state.clock.text(batch.created_at)},
        origin=origin,
    )
    batch.data |= {"agent_state_id": run.id, "stage": "started"}
    batch.updated_at = state.clock.now()
    return run


def _inputs(agent: Agent, url: str) -> list[RunInput]:
    tiles = [each for each, node in agent.nodes.items() if node.type.name == "Video Input"]
    return [RunInput(node_id=each, kind="video_urls", reference=url) for each in tiles]
