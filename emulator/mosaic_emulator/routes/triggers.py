"""YouTube triggers of agents."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.agents import find_agent
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.triggers.youtube import Channel, resolve_channel

router = APIRouter()


class Bounds(RequestBody):
    """Inclusive bounds in seconds. Either may be missing."""

    min_seconds: float | None = Field(None, ge=0)
    max_seconds: float | None = Field(None, ge=0)


class FilterOptions(RequestBody):
    """The filter of a trigger."""

    duration: Bounds | None = None


class ChannelsBody(RequestBody):
    """Body of ``remove_youtube_channels``."""

    youtube_channels: list[str] = Field(min_length=1)


class AddBody(ChannelsBody):
    """Body of ``add_youtube_channels``."""

    #: A missing value keeps the URL, null removes it.
    trigger_callback_url: str | None = None
    filter_options: dict[str, Any] | None = None


def _resolved(context: RequestContext, body: ChannelsBody) -> tuple[list[tuple[str, Channel]], list[str]]:
    found: list[tuple[str, Channel]] = []
    lost: list[str] = []
    for text in dict.fromkeys(body.youtube_channels):
        channel = None if text in context.settings.unresolvable_channels else resolve_channel(text)
        if channel is None:
            lost.append(text)
        else:
            found.append((text, channel))
    return found, lost


@router.get("/agent/{agent_id}/triggers")
async def list_triggers(agent_id: str, context: Context) -> Response:
    """List the YouTube triggers of an agent as an array, without pages."""
    context.allow_query()
    triggers = context.state.triggers
    written = [triggers.as_json(each) for each in triggers.of_agent(find_agent(context, agent_id).id)]
    if context.settings.triggers_response == "object":
        return context.respond(written[0] if written else None)
    return context.respond(written)


@router.post("/agent/{agent_id}/triggers/add_youtube_channels")
async def add_youtube_channels(agent_id: str, context: Context) -> Response:
    """Add channels to the agent's trigger with these filters, and remove them from its other triggers."""
    state, settings = context.state, context.settings
    agent = find_agent(context, agent_id)
    body = context.body(AddBody)
    sent = body.model_fields_set
    callback = body.trigger_callback_url
    if "trigger_callback_url" not in sent and settings.callback_required:
        raise context.invalid_request("trigger_callback_url is required", "body", "trigger_callback_url")
    if callback is not None and not is_http_url(callback):
        raise context.invalid_request("trigger_callback_url: not an http or https URL", "body", "trigger_callback_url")
    if body.filter_options is not None:
        _validate_filter_options(context, body.filter_options)
    found, lost = _resolved(context, body)
    if lost and not (settings.partial_channels and found):
        raise ApiError(400, f"{lost[0]} is no YouTube channel", location=("body", "youtube_channels"))
    addition = state.triggers.add(agent.id, found, body.filter_options)
    if "trigger_callback_url" in sent:
        addition.trigger.callback_url = callback
    state.counters.add("channels_added", addition.added)
    if lost:
        raise ApiError(400, f"{lost[0]} is no YouTube channel", location=("body", "youtube_channels"))
    if settings.add_channels_response == "status_ok":
        return context.respond({"status": "ok"}, body_required=False)
    channels = list({channel.id: channel for _, channel in found}.values())
    response = {
        "message": f"{addition.added} channels added",
        "channel_ids": [each.id for each in channels],
        "channels": [{"input": text, "channel_id": channel.id} for text, channel in found],
        "filter_options": body.filter_options,
        "youtube_channel_details": state.triggers.details_json(channels),
    }
    return context.respond(response, body_required=False)


def _validate_filter_options(context: RequestContext, options: dict[str, Any]) -> None:
    read = context.parse(FilterOptions, options, "filter_options")
    if read.duration is None:
        return
    bounds = context.parse(Bounds, options["duration"], "filter_options", "duration")
    low, high = bounds.min_seconds, bounds.max_seconds
    if low is not None and high is not None and low > high:
        raise context.invalid_request(
            "filter_options.duration: min_seconds is above max_seconds", "body", "filter_options"
        )


@router.post("/agent/{agent_id}/triggers/remove_youtube_channels")
async def remove_youtube_channels(agent_id: str, context: Context) -> Response:
    """Remove channels from all triggers of an agent. Triggers without channels are deleted."""
    state, settings = context.state, context.settings
    agent = find_agent(context, agent_id)
    found, lost = _resolved(context, context.body(ChannelsBody))
    there = {each for trigger in state.triggers.of_agent(agent.id) for each in trigger.channels}
    unknown = lost or [text for text, channel in found if channel.id not in there]
    if unknown and settings.unknown_channel_removal != 200:
        raise ApiError(settings.unknown_channel_removal, f"{unknown[0]} is watched by no trigger of this agent")
    removed = state.triggers.remove(agent.id, {channel.id for _, channel in found})
    state.counters.add("channels_removed", len(removed))
    if settings.remove_channels_response == "empty":
        return Response(status_code=204)
    if settings.remove_channels_response == "status_ok":
        return context.respond({"status": "ok"}, body_required=False)
    return context.respond(
        {"message": f"{len(removed)} channels removed", "removed_channels": removed}, body_required=False
    )
