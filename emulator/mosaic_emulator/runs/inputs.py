"""Inputs of runs: validation of a start request, and download of the videos."""

from __future__ import annotations

import uuid
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, Field

from mosaic_emulator.agents.tile_params import invalid_param, missing_param
from mosaic_emulator.catalogue import Agent
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url, is_loopback
from mosaic_emulator.media import BUCKET, SAMPLE_VIDEO, MediaStore, StoredObject
from mosaic_emulator.runs.ffmpeg import Edit, Ffmpeg
from mosaic_emulator.runs.models import RunInput, runnable_graph
from mosaic_emulator.settings import Settings

SYNTHETIC_SECONDS = 6.0
MAX_REDIRECTS = 5
SHORTHAND = ("video_ids", "node_render_ids", "video_urls", "mimir_assets")


class MimirAsset(BaseModel):
    """An asset of a connected Mimir."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    artifact: str = Field("highres", pattern="^(highres|proxy|auto)$")


class Sources(RequestBody):
    """The four kinds of video references."""

    video_ids: list[str] | None = None
    node_render_ids: list[str] | None = None
    video_urls: list[str] | None = None
    mimir_assets: list[MimirAsset] | None = None

    def references(self) -> list[tuple[str, str]]:
        """Return the kind and the reference of each source."""
        found = [("video_ids", each) for each in self.video_ids or []]
        found += [("node_render_ids", each) for each in self.node_render_ids or []]
        found += [("video_urls", each) for each in self.video_urls or []]
        found += [("mimir_assets", each.id) for each in self.mimir_assets or []]
        return found


class VideoInput(Sources):
    """The inputs of one Video Input tile."""

    agent_node_id: str
    input_clip_start_ms: float | None = Field(None, ge=0)
    input_clip_end_ms: float | None = Field(None, gt=0)


class StartBody(Sources):
    """Body of ``POST /agent/{agent_id}/run``."""

    video_inputs: list[VideoInput] | None = None
    callback_url: str | None = None
    update_params: dict[str, dict[str, Any]] | None = None
    ignore_nodes: list[str] | None = None


class InputUnavailableError(Exception):
    """A source is not available. The run fails with this message."""


def resolve_inputs(agent: Agent, body: StartBody, settings: Settings) -> list[RunInput]:
    """
    Validate the inputs of a start request and assign each source to its tile.

    :raises ApiError: If an input is invalid.
    """
    ignored = list(body.ignore_nodes or [])
    unknown = [each for each in ignored if each not in agent.nodes]
    if unknown and settings.unknown_ignored_node_status != 200:
        raise ApiError(settings.unknown_ignored_node_status, f"ignore_nodes: {unknown[0]} is no node of this agent")
    nodes, _ = runnable_graph(agent, [each for each in ignored if each in agent.nodes])
    for each, params in (body.update_params or {}).items():
        if each not in nodes:
            raise ApiError(400, f"update_params: {each} is no node of the runnable graph")
        problem = invalid_param(nodes[each].type, params, settings) if settings.params_checked_in_runs else None
        if problem is not None:
            raise ApiError(400, f"update_params: {problem}")
    for each, node in nodes.items():
        problem = missing_param(
            node.type, {**node.params, **(body.update_params or {}).get(each, {})}, settings, "start"
        )
        if problem is not None:
            raise ApiError(400, problem)
    tiles = [each for each, node in nodes.items() if node.type.name == "Video Input"]
    top_level = body.references()
    top_level_given = [name for name in SHORTHAND if getattr(body, name) is not None]
    if not tiles:
        if top_level or body.video_inputs:
            raise ApiError(400, "This agent has no Video Input tile and takes no video inputs")
        return []
    if body.video_inputs is None:
        if len(tiles) > 1:
            raise ApiError(400, f"video_inputs is required: this agent has {len(tiles)} Video Input tiles")
        if not top_level:
            raise ApiError(400, "At least one of video_ids, node_render_ids or video_urls is required")
        if len([name for name in SHORTHAND if getattr(body, name)]) > 1 and not settings.mixed_shorthand:
            raise ApiError(400, "Only one of the input arrays may be given")
        return [_source(tiles[0], kind, reference) for kind, reference in top_level]
    if top_level_given:
        raise ApiError(400, f"{top_level_given[0]} may not be combined with video_inputs")
    references = [each.agent_node_id for each in body.video_inputs]
    for each in references:
        if each not in tiles:
            raise ApiError(400, f"video_inputs: {each} is no runnable Video Input tile of this agent")
        if references.count(each) > 1:
            raise ApiError(400, f"video_inputs: {each} is repeated")
    missing = [each for each in tiles if each not in references]
    if missing:
        raise ApiError(400, f"video_inputs: Video Input tile {missing[0]} has no entry")
    found: list[RunInput] = []
    for entry in body.video_inputs:
        start, end = entry.input_clip_start_ms, entry.input_clip_end_ms
        if start is not None and end is not None and start >= end:
            raise ApiError(400, "video_inputs: input_clip_start_ms must be below input_clip_end_ms")
        sources = entry.references()
        if not sources:
            raise ApiError(400, f"video_inputs: the entry of {entry.agent_node_id} names no source")
        found += [_source(entry.agent_node_id, kind, reference, start, end) for kind, reference in sources]
    return found


def _source(node_id: str, kind: str, reference: str, start: float | None = None, end: float | None = None) -> RunInput:
    if kind == "video_urls" and not is_http_url(reference):
        raise ApiError(400, "video_urls: not an http or https URL")
    return RunInput(node_id=node_id, kind=kind, reference=reference, start_ms=start, end_ms=end)


class InputFetcher:
    """Downloads ``video_urls``. With ``fetch_hosts="loopback"`` URLs of other machines give a generated video."""

    def __init__(self, *, settings: Settings, media: MediaStore, ffmpeg: Ffmpeg) -> None:
        self._settings = settings
        self._media = media
        self._ffmpeg = ffmpeg

    async def load(self, source: RunInput) -> None:
        """
        Download a source if needed, and check that it is a video.

        :raises InputUnavailableError: If the download fails, or the file is not a video.
        """
        message = self._configured_failure(source)
        if message is not None:
            raise InputUnavailableError(message)
        if source.media is None:
            source.media = await self._fetch(source)
        if self._settings.render != "auto" or self._settings.unreadable_inputs != "fail":
            return
        if await self._ffmpeg.is_unreadable(source.media.path):
            raise InputUnavailableError(f"The video could not be read: {source.title}")

    def _configured_failure(self, source: RunInput) -> str | None:
        names = {source.reference, source.title}
        for pattern, message in self._settings.broken_inputs.items():
            if any(name == pattern or fnmatchcase(name, pattern) for name in names):
                return message
        return None

    async def _fetch(self, source: RunInput) -> StoredObject:
        if source.kind != "video_urls" or not self._reachable(source.reference):
            return await self._synthetic()
        if source.reference.startswith(f"{self._media.base_url}/"):
            return self._stored_object(source.reference)
        path = self._media.new_path(".mp4")
        try:
            with anyio.fail_after(self._settings.fetch_seconds):
                await self._download(source.reference, path)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, TimeoutError):
                limit = f"{self._settings.fetch_seconds:g} seconds"
                raise InputUnavailableError(f"The video URL took longer than {limit}") from error
            # InvalidURL is not a subclass of HTTPError. A redirect to an invalid URL raises it.
            if isinstance(error, (httpx.HTTPError, httpx.InvalidURL)):
                raise InputUnavailableError(f"The video URL could not be downloaded: {type(error).__name__}") from None
            raise
        return self._media.put(f"inputs/{uuid.uuid4()}.mp4", path, "video/mp4")

    async def _download(self, url: str, path: Path) -> None:
        headers = {"Accept-Encoding": "identity"}
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
            for _ in range(MAX_REDIRECTS + 1):
                async with client.stream("GET", url, headers=headers) as response:
                    if response.next_request is None:
                        await self._save(response, path)
                        return
                    url = str(response.next_request.url)
                if not is_http_url(url):
                    raise InputUnavailableError(
                        "The video URL could not be downloaded: it redirects to a URL that is not http or https"
                    )
                if not self._reachable(url):
                    raise InputUnavailableError(
                        "The video URL redirects to another machine, which fetch_hosts does not allow"
                    )
        raise InputUnavailableError(f"The video URL redirects more than {MAX_REDIRECTS} times")

    async def _save(self, response: httpx.Response, path: Path) -> None:
        if response.status_code != 200:
            raise InputUnavailableError(f"The video URL responded {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise InputUnavailableError("The video URL responded with a compressed body")
        limit = self._settings.fetch_bytes
        too_large = InputUnavailableError(f"The video is larger than the limit of {limit} bytes")
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limit:
            raise too_large
        size = 0
        with path.open("wb") as file:
            async for block in response.aiter_raw(1 << 20):
                size += len(block)
                if size > limit:
                    raise too_large
                file.write(block)

    def _reachable(self, url: str) -> bool:
        return self._settings.fetch_hosts == "any" or is_loopback(url)

    def _stored_object(self, url: str) -> StoredObject:
        # Read from disk: the counter `downloads` counts only clients.
        parts = urlsplit(url)
        stored = self._media.get(unquote(parts.path.partition(f"/{BUCKET}/")[2]))
        if stored is None or self._media.check_link(parts.path, parts.query) != "good":
            raise InputUnavailableError("The video URL is invalid or has expired")
        return stored

    async def _synthetic(self) -> StoredObject:
        path, thumbnail = self._media.new_path(".mp4"), self._media.new_path(".jpg")
        edit = Edit(source=None, start=0, end=None, seconds=SYNTHETIC_SECONDS, index=0)
        if self._settings.render != "auto" or not await self._ffmpeg.render(edit, path, thumbnail):
            path = SAMPLE_VIDEO
        return self._media.put(f"inputs/{uuid.uuid4()}.mp4", path, "video/mp4")
