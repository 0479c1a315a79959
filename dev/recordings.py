"""Create test recordings and inspect videos, with the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Content of a generated recording."""

    name: str
    picture: str
    tone: int
    seconds: float


RECORDINGS = (
    Recording(name="interview", picture="testsrc2", tone=330, seconds=6),
    Recording(name="keynote", picture="smptehdbars", tone=440, seconds=7),
    Recording(name="product-tour", picture="mandelbrot", tone=554, seconds=8),
)


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties of a video file."""

    bytes: int
    width: int
    height: int
    seconds: float
    has_sound: bool

    @property
    def is_9_to_16(self) -> bool:
        """Whether the aspect ratio is 9:16, up to rounding."""
        return abs(self.width * 16 - self.height * 9) <= 16

    def __str__(self) -> str:
        sound = "with sound" if self.has_sound else "silent"
        return f"{self.bytes / 1000:,.0f} kB, {self.width}x{self.height}, {self.seconds:.1f} s, {sound}"


def _ffmpeg() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def make(folder: Path, recordings: Sequence[Recording] = RECORDINGS, *, size: str = "1280x720") -> list[Path]:
    """Create the recordings as MP4 files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for recording in recordings:
        path = folder / f"{recording.name}.mp4"
        command = [
            *(_ffmpeg(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
            *("-f", "lavfi", "-i", f"{recording.picture}=size={size}:rate=25"),
            *("-f", "lavfi", "-i", f"sine=frequency={recording.tone}:sample_rate=48000"),
            *("-t", str(recording.seconds), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast"),
            *("-c:a", "aac", "-movflags", "+faststart", str(path)),
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        paths.append(path)
    return paths


def inspect(path: Path) -> VideoInfo:
    """Decode a whole video and return its properties. Raise if it is invalid."""
    command = [_ffmpeg(), "-hide_banner", "-nostdin", "-xerror", "-i", str(path), "-f", "null", "-"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    size = re.search(r"Stream #0.*Video:.*?[ ,](\d{2,5})x(\d{2,5})", result.stderr)
    duration = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", result.stderr)
    if result.returncode != 0 or size is None or duration is None:
        raise ValueError(f"{path} is not a valid video:\n{result.stderr[-1000:]}")
    hours, minutes, seconds = (float(part) for part in duration.groups())
    return VideoInfo(
        bytes=path.stat().st_size,
        width=int(size[1]),
        height=int(size[2]),
        seconds=hours * 3600 + minutes * 60 + seconds,
        has_sound="Audio:" in result.stderr.split("Stream mapping")[0],
    )
