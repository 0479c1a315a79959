"""The YouTube triggers of an agent."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.agents import find_agent
from mosaic_emulator.routes.request_context import Asked, RequestContext
from mosaic_emulator.triggers.youtube import Channel, resolve

router = APIRouter()


class Bounds(BaseModel):
    """Inclusive bounds in seconds; either may be missing."""

    model_config = ConfigDict(extra="allow", strict=True)

    min_seconds: float | None = Field(None, ge=0)
    max_seconds: float | None = Field(None, ge=0)


class FilterOptions(BaseModel):
    """Which videos a trigger wants."""

    model_config = ConfigDict(extra="allow", strict=True)

    duration: Bounds | None = None


class ChannelsBody(BaseModel):
    """Body of ``remove_youtube_channels``."""

    model_config = ConfigDict(extra="allow", strict=True)

    youtube_channels: list[str] = Field(min_length=1)


class AddBody(ChannelsBody):
    """Body of ``add_youtube_channels``."""

    #: Three states: not sent keeps it, null removes it, a text replaces it.
    trigger_callback_url: str | None = None
    filter_options: dict[str, Any] | None = None


def _resolved(exchange: RequestContext, body: ChannelsBody) -> tuple[list[tuple[str, Channel]], list[str]]:
    found: list[tuple[str, Channel]] = []
    lost: list[str] = []
    for text in dict.fromkeys(body.youtube_channels):
        channel = None if text in exchange.settings.unresolvable_channels else resolve(text)
        if channel is None:
            lost.append(text)
        else:
            found.append((text, channel))
    return found, lost


@router.get("/agent/{agent_id}/triggers")
async def list_triggers(agent_id: str, exchange: Asked) -> Response:
    """List the YouTube triggers of an agent, unpaged and without any object around them."""
    exchange.known_query()
    desk = exchange.world.triggers
    written = [desk.as_json(each) for each in desk.of(find_agent(exchange, agent_id).id)]
    if exchange.settings.triggers_answer == "object":
        return exchange.answer(written[0] if written else None)
    return exchange.answer(written)


@router.post("/agent/{agent_id}/triggers/add_youtube_channels")
async def add_youtube_channels(agent_id: str, exchange: Asked) -> Response:
    """Add channels to the trigger of these filters; another trigger of the agent that had them loses them."""
    world, settings = exchange.world, exchange.settings
    agent = find_agent(exchange, agent_id)
    body = exchange.body(AddBody)
    sent = body.model_fields_set
    callback = body.trigger_callback_url
    if "trigger_callback_url" not in sent and settings.callback_required:
        raise exchange.refuse("trigger_callback_url is required", "body", "trigger_callback_url")
    if callback is not None and not is_http_url(callback):
        raise exchange.refuse("trigger_callback_url: not an http or https URL", "body", "trigger_callback_url")
    if body.filter_options is not None:
        _look_at(exchange, body.filter_options)
    found, lost = _resolved(exchange, body)
    if lost and not (settings.partial_channels and found):
        raise ApiError(400, f"{lost[0]} is no YouTube channel", location=("body", "youtube_channels"))
    addition = world.triggers.add(agent.id, found, body.filter_options)
    if "trigger_callback_url" in sent:
        addition.trigger.callback_url = callback
    world.tally.add("channels_added", addition.added)
    if lost:
        raise ApiError(400, f"{lost[0]} is no YouTube channel", location=("body", "youtube_channels"))
    if settings.add_channels_answer == "status_ok":
        return exchange.answer({"status": "ok"}, news=False)
    channels = list({channel.id: channel for _, channel in found}.values())
    answer = {
        "message": f"{addition.added} channels added",
        "channel_ids": [each.id for each in channels],
        "channels": [{"input": text, "channel_id": channel.id} for text, channel in found],
        "filter_options": body.filter_options,
        "youtube_channel_details": world.triggers.details_json(channels),
    }
    return exchange.answer(answer, news=False)


def _look_at(exchange: RequestContext, options: dict[str, Any]) -> None:
    read = exchange.read(FilterOptions, options, "filter_options")
    if read.duration is None:
        return
    bounds = exchange.read(Bounds, options["duration"], "filter_options", "duration")
    low, high = bounds.min_seconds, bounds.max_seconds
    if low is not None and high is not None and low > high:
        raise exchange.refuse("filter_options.duration: min_seconds is above max_seconds", "body", "filter_options")


@router.post("/agent/{agent_id}/triggers/remove_youtube_channels")
async def remove_youtube_channels(agent_id: str, exchange: Asked) -> Response:
    """Remove channels from every trigger of an agent; a trigger without channels goes with them."""
    world, settings = exchange.world, exchange.settings
    agent = find_agent(exchange, agent_id)
    found, lost = _resolved(exchange, exchange.body(ChannelsBody))
    there = {each for trigger in world.triggers.of(agent.id) for each in trigger.channels}
    unknown = lost or [text for text, channel in found if channel.id not in there]
    if unknown and settings.unknown_channel_removal != 200:
        raise ApiError(settings.unknown_channel_removal, f"{unknown[0]} is watched by no trigger of this agent")
    removed = world.triggers.remove(agent.id, {channel.id for _, channel in found})
    world.tally.add("channels_removed", len(removed))
    if settings.remove_channels_answer == "empty":
        return Response(status_code=204)
    if settings.remove_channels_answer == "status_ok":
        return exchange.answer({"status": "ok"}, news=False)
    return exchange.answer({"message": f"{len(removed)} channels removed", "removed_channels": removed}, news=False)
