"""Inspect videos with the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


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
