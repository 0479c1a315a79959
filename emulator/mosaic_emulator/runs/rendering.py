"""Outputs of runs: rendered by ffmpeg, or the input passed through."""

from __future__ import annotations

import shutil
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_emulator.assets.uploads import UploadStore
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.media import (
    CONTENT_TYPES,
    SAMPLE_IMAGE,
    SAMPLE_VIDEO,
    SAMPLES,
    MediaStore,
    StoredObject,
)
from mosaic_emulator.runs.ffmpeg import Edit, Ffmpeg
from mosaic_emulator.runs.inputs import InputUnavailableError
from mosaic_emulator.runs.models import Output, Run, RunNode
from mosaic_emulator.settings import Settings

MAX_CLIPS = 20
SUFFIXES_OF_IMAGES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


class Renderer:
    """Renders the outputs of a run's last nodes."""

    def __init__(
        self, *, settings: Settings, clock: Clock, media: MediaStore, ffmpeg: Ffmpeg, uploads: UploadStore
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._media = media
        self._ffmpeg = ffmpeg
        self._uploads = uploads

    async def render(self, run: Run, node: RunNode) -> list[Output]:
        """
        Render the outputs of one of the run's last nodes: one, or one per clip.

        :raises InputUnavailableError: If ffmpeg cannot read the video.
        """
        if node.template.type.name == "Image Generation":
            return [await self._image(run, node)]
        if node.template.type.name == "Audio Generation":
            return [await self._audio(run, node)]
        lineage = run.lineage(node.template.id)
        clips, seconds = 1, self._settings.clip_seconds
        for each in lineage:
            if each.template.type.name == "Clips":
                count, duration = each.params.get("num_clips"), each.params.get("target_duration")
                clips = min(max(count, 1), MAX_CLIPS) if isinstance(count, int) else self._settings.clips
                seconds = float(duration) if isinstance(duration, (int, float)) and duration > 0 else seconds
        return [await self._output(run, node, lineage, index, seconds) for index in range(clips)]

    async def _output(self, run: Run, node: RunNode, lineage: list[RunNode], index: int, seconds: float) -> Output:
        output_id = str(uuid.uuid4())
        video, thumbnail = await self._video(run, lineage, index, seconds)
        name = f"renders/{run.id}/{output_id}"
        return Output(
            id=output_id,
            node_id=node.template.id,
            video=self._media.put(f"{name}.mp4", video, "video/mp4"),
            thumbnail=self._media.put(f"{name}.jpg", thumbnail, "image/jpeg") if self._settings.thumbnails else None,
            premiere=self._premiere(name) if self._settings.premiere_zip else None,
            completed_at=self._clock.now(),
        )

    async def _image(self, run: Run, node: RunNode) -> Output:
        suffix = SUFFIXES_OF_IMAGES.get(str(node.params.get("output_format")), ".png")
        path = self._media.new_path(suffix)
        width, height = _size_of_image(node.params)
        caption = str(node.params.get("prompt", ""))[:40]
        if self._settings.render != "auto" or not await self._ffmpeg.image(path, width, height, caption):
            path = SAMPLES[suffix]
        output = self._generated(run, node, path, SAMPLE_IMAGE)
        self._uploads.add_generated(f"img-{output.id}", "image", output.video, run.agent.workspace_id)
        return output

    async def _audio(self, run: Run, node: RunNode) -> Output:
        path = self._media.new_path(".mp3")
        if self._settings.render != "auto" or not await self._ffmpeg.audio(path, self._settings.clip_seconds):
            path = SAMPLES[".mp3"]
        return self._generated(run, node, path, None)

    def _generated(self, run: Run, node: RunNode, path: Path, thumbnail: Path | None) -> Output:
        output_id = str(uuid.uuid4())
        name = f"renders/{run.id}/{output_id}"
        shown = self._media.put(f"{name}_thumbnail.jpg", thumbnail, "image/jpeg") if thumbnail else None
        return Output(
            id=output_id,
            node_id=node.template.id,
            video=self._media.put(f"{name}{path.suffix}", path, CONTENT_TYPES[path.suffix]),
            thumbnail=shown if self._settings.thumbnails else None,
            premiere=None,
            completed_at=self._clock.now(),
        )

    async def _video(self, run: Run, lineage: list[RunNode], index: int, seconds: float) -> tuple[Path, Path]:
        settings = self._settings
        if settings.render == "tiny":
            return self._tiny(), SAMPLE_IMAGE
        tiles = {each.template.id for each in lineage}
        sources = [each for each in run.inputs if each.node_id in tiles and each.media is not None]
        source = sources[0] if sources else None
        if settings.render == "auto":
            names = [each.template.type.name for each in lineage]
            edit = Edit(
                source=source.media.path if source and source.media else None,
                start=(source.start_ms or 0.0) / 1000 if source else 0.0,
                end=source.end_ms / 1000 if source and source.end_ms is not None else None,
                seconds=seconds,
                index=index,
                portrait="Reframe" in names,
                mirrored="Mirror" in names,
                caption=run.agent.name if {"Captions", "Cinematic Captions"} & set(names) else None,
            )
            target, thumbnail = self._media.new_path(".mp4"), self._media.new_path(".jpg")
            if await self._ffmpeg.render(edit, target, thumbnail):
                return target, thumbnail
            if source and settings.unreadable_inputs == "fail" and await self._ffmpeg.is_working():
                raise InputUnavailableError(f"The video could not be read: {source.title}")
        return (source.media.path if source and source.media else SAMPLE_VIDEO), SAMPLE_IMAGE

    def _tiny(self) -> Path:
        size = self._settings.output_bytes
        if size is None:
            return SAMPLE_VIDEO
        path = self._media.new_path(".mp4")
        shutil.copyfile(SAMPLE_VIDEO, path)
        missing = size - path.stat().st_size
        with path.open("r+b") as file:
            if missing >= 8:
                # An ISO media "free" box, which players skip. The padding is a hole and takes no disk space.
                file.seek(0, 2)
                file.write((missing if missing < 1 << 32 else 0).to_bytes(4, "big") + b"free")
            file.truncate(size)
        return path

    def _premiere(self, name: str) -> StoredObject:
        path = self._media.new_path(".zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("timeline.prproj", "<?xml version='1.0'?><PremiereData Version='3'/>\n")
        return self._media.put(f"{name}.zip", path, "application/zip")


def _size_of_image(params: Mapping[str, Any]) -> tuple[int, int]:
    sides = (params.get("custom_width"), params.get("custom_height"))
    if params.get("image_size") == "custom" and all(isinstance(each, int) and 16 <= each <= 3840 for each in sides):
        return int(sides[0] or 0), int(sides[1] or 0)
    # The names and sizes of the presets are not documented.
    return 1024, 1024
