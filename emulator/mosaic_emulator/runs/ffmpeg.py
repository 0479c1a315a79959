"""Rendering with ffmpeg: trim, reframe, mirror, caption; thumbnails; generated images and audio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

PORTRAIT = (540, 960)
MAX_PROCESSES = 2
CAPTION_LAYOUT = "fontcolor=white:fontsize=h/20:borderw=2:x=(w-text_w)/2:y=h*0.8"
#: Video formats. Playlists are excluded: they would make ffmpeg read other files or URLs.
FORMATS = ("-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,ogg,asf")
#: Seconds after which an ffmpeg process is killed. Some invalid videos keep it busy forever.
TIMEOUT_SECONDS = 120.0
#: Encoder options of generated images and audio, by suffix.
ENCODINGS = {
    ".png": ["-c:v", "png"],
    ".jpg": ["-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"],
    ".webp": ["-c:v", "libwebp", "-quality", "80"],
    ".mp3": ["-c:a", "libmp3lame", "-b:a", "96k"],
}
CAPTION_BOX = "drawbox=x=iw*0.1:y=ih*0.8:w=iw*0.8:h=ih*0.06:color=white@0.8:t=fill"


@dataclass(frozen=True)
class Edit:
    """How to edit a source video. Without a source a test video is generated."""

    source: Path | None
    start: float
    end: float | None
    seconds: float
    index: int
    portrait: bool = False
    mirrored: bool = False
    caption: str | None = None


@functools.cache
def find_ffmpeg() -> str | None:
    """Return the path of the ffmpeg from imageio-ffmpeg, or else of the one on the ``PATH``."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return shutil.which("ffmpeg")
    try:
        found: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return shutil.which("ffmpeg")
    return found


class Ffmpeg:
    """Runs ffmpeg processes, at most two at a time."""

    def __init__(self) -> None:
        self._slots: asyncio.Semaphore | None = None
        self._drawtext_works: bool | None = None
        self._works: bool | None = None

    async def render(self, edit: Edit, target: Path, thumbnail: Path) -> bool:
        """
        Render a video and its thumbnail.

        :returns: Whether it succeeded. It fails without ffmpeg, or if the source is not a video.
        """
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            return False
        async with self._slot():
            arguments = await self._arguments(ffmpeg, edit)
            if arguments is None:
                return False
            done = await self._run(ffmpeg, *arguments, str(target))
            if done is None or not _has_content(target):
                return False
            image = ("-i", str(target), "-frames:v", "1", "-q:v", "5", "-update", "1", str(thumbnail))
            return await self._run(ffmpeg, *image) is not None and _has_content(thumbnail)

    async def is_unreadable(self, path: Path) -> bool:
        """Return whether ffmpeg finds no frame in a video. Return False without a working ffmpeg."""
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            return False
        async with self._slot():
            if not await self._is_working(ffmpeg):
                return False
            # A header alone is not a video: require one frame.
            one = ("-map", "0:v:0", "-frames:v", "1", "-f", "null", "-")
            done = await self._run(ffmpeg, *FORMATS, "-i", str(path), *one)
            return done is None or re.search(r"frame=\s*0\b(?!.*frame=)", done, re.DOTALL) is not None

    async def image(self, target: Path, width: int, height: int, caption: str) -> bool:
        """Render an image in the format of the target's suffix."""
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            return False
        async with self._slot():
            source = f"gradients=size={width}x{height}:rate=1:duration=1:seed={zlib.crc32(caption.encode())}"
            filters = await self._caption(ffmpeg, caption)
            arguments = ["-f", "lavfi", "-i", source, "-vf", filters, "-frames:v", "1", "-update", "1"]
            done = await self._run(ffmpeg, *arguments, *ENCODINGS[target.suffix], str(target))
            return done is not None and _has_content(target)

    async def audio(self, target: Path, seconds: float) -> bool:
        """Render audio."""
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            return False
        async with self._slot():
            tone = ("-f", "lavfi", "-i", f"sine=frequency=330:duration={seconds:.3f}")
            done = await self._run(ffmpeg, *tone, *ENCODINGS[target.suffix], str(target))
            return done is not None and _has_content(target)

    async def is_working(self) -> bool:
        """Return whether ffmpeg is installed and works."""
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            return False
        async with self._slot():
            return await self._is_working(ffmpeg)

    def _slot(self) -> asyncio.Semaphore:
        if self._slots is None:
            self._slots = asyncio.Semaphore(MAX_PROCESSES)
        return self._slots

    async def _is_working(self, ffmpeg: str) -> bool:
        if self._works is None:
            probe = ("-f", "lavfi", "-i", "color=size=64x64:duration=0.04", "-f", "null", "-")
            self._works = await self._run(ffmpeg, *probe) is not None
        return self._works

    async def _arguments(self, ffmpeg: str, edit: Edit) -> list[str] | None:
        filters: list[str] = []
        if edit.source is None:
            seconds = f"{edit.seconds:.3f}"
            input_arguments = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={seconds}"]
            input_arguments += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
        else:
            duration = await self._duration(ffmpeg, edit.source)
            if duration is None:
                return None
            start, seconds_left = _window(edit, duration)
            input_arguments = ["-ss", f"{start:.3f}", "-t", f"{seconds_left:.3f}", *FORMATS, "-i", str(edit.source)]
        if edit.portrait:
            width, height = PORTRAIT
            filters.append(f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}")
        else:
            filters.append("scale='min(iw,1280)':-2,crop=trunc(iw/2)*2:trunc(ih/2)*2")
        if edit.mirrored:
            filters.append("hflip")
        if edit.caption is not None:
            filters.append(await self._caption(ffmpeg, edit.caption))
        filters.append("setsar=1")
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "28", "-pix_fmt", "yuv420p"]
        audio = ["-c:a", "aac", "-b:a", "96k", "-ac", "2"]
        return [*input_arguments, "-vf", ",".join(filters), *encode, *audio, "-movflags", "+faststart", "-shortest"]

    async def _duration(self, ffmpeg: str, source: Path) -> float | None:
        # The wheel has no ffprobe. Without an output ffmpeg prints the properties of its input, and fails.
        text = await self._run(ffmpeg, *FORMATS, "-i", str(source), check=False)
        found = re.search(r"Duration: (?:(\d+):(\d+):([\d.]+)|N/A)", text or "")
        if found is None or "Video:" not in (text or ""):
            return None
        if found[1] is None:
            # Some videos have no duration, for example recordings of a browser.
            return math.inf
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])

    async def _caption(self, ffmpeg: str, caption: str) -> str:
        safe_text = re.sub(r"[^\w .-]", "", caption)
        text = f"drawtext=text='{safe_text}':{CAPTION_LAYOUT}"
        if self._drawtext_works is None:
            # drawtext needs fonts, which may not be installed.
            probe = ("-f", "lavfi", "-i", "color=size=64x64:duration=0.04", "-vf", text, "-f", "null", "-")
            self._drawtext_works = await self._run(ffmpeg, *probe) is not None
        return text if self._drawtext_works else CAPTION_BOX

    async def _run(self, ffmpeg: str, *arguments: str, check: bool = True) -> str | None:
        try:
            process = await asyncio.create_subprocess_exec(
                ffmpeg,
                "-hide_banner",
                "-nostdin",
                "-y",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError:
            return None
        try:
            # Until Python 3.10 asyncio.TimeoutError is not the built-in one.
            _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
        except (asyncio.CancelledError, asyncio.TimeoutError) as ended:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(ended, asyncio.CancelledError):
                raise
            return None
        if check and process.returncode != 0:
            return None
        return errors.decode(errors="replace")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _window(edit: Edit, duration: float) -> tuple[float, float]:
    """Return start and duration of a clip within the source and the requested bounds."""
    start = min(edit.start, max(duration - 0.1, 0.0))
    end = min(edit.end, duration) if edit.end is not None else duration
    available = max(end - start, 0.1)
    seconds = min(edit.seconds, available)
    # Further clips follow each other, and restart at the beginning of the source.
    offset = (edit.index * seconds) % max(available - seconds + 0.001, 0.001) if edit.index else 0.0
    return start + offset, seconds
