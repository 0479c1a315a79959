"""Create recordings: moving colours with a title and the waveform of their sound."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mosaic_emulator.media import SAMPLE_VIDEO
from mosaic_emulator.runs.ffmpeg import find_ffmpeg


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Content of a generated recording. ``colors`` are hexadecimal, ``tone`` is in Hz."""

    name: str
    colors: tuple[str, str, str]
    tone: int
    seconds: float


RECORDINGS = (
    Recording(name="interview", colors=("3a1c71", "d76d77", "ffaf7b"), tone=110, seconds=6),
    Recording(name="keynote", colors=("0f2027", "2c5364", "f7971e"), tone=147, seconds=7),
    Recording(name="product-tour", colors=("134e5e", "71b280", "f9d423"), tone=196, seconds=8),
)


def create_all(
    folder: Path, recordings: Sequence[Recording] = RECORDINGS, *, size: tuple[int, int] = (1280, 720)
) -> list[Path]:
    """Create the recordings as MP4 files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{recording.name}.mp4" for recording in recordings]
    for recording, path in zip(recordings, paths, strict=True):
        create(path, recording, size=size)
    return paths


def create(path: Path, recording: Recording, *, size: tuple[int, int] = (1280, 720)) -> None:
    """
    Create a recording. Without a working ffmpeg, it is a copy of a small sample.

    :param size: Width and height in pixels.
    """
    title = recording.name.replace("-", " ")
    text = f",drawtext=text='{title}':fontcolor=white:fontsize=h/12:x=(w-text_w)/2:y=h/3"
    # drawtext needs fonts, which may not be installed.
    if not any(_run(path, recording, size, each) for each in (text, "")):
        shutil.copyfile(SAMPLE_VIDEO, path)


def _run(path: Path, recording: Recording, size: tuple[int, int], text: str) -> bool:
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        return False
    width, height = size
    colors = ":".join(f"c{index}=0x{color}" for index, color in enumerate(recording.colors))
    picture = f"gradients=size={width}x{height}:rate=25:nb_colors=3:{colors}:speed=0.03:seed={recording.tone}"
    # A tone that swells and fades.
    sound = f"sine=frequency={recording.tone}:sample_rate=48000,tremolo=f=0.7:d=0.9,volume=4"
    graph = (
        "[1:a]asplit[sound][drawn];"
        f"[drawn]showwaves=size={width}x{height // 3}:rate=25:mode=cline:draw=full:colors=white[wave];"
        f"[0:v][wave]overlay=0:H*0.5{text}[picture]"
    )
    command = [
        *(ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-filter_complex", graph),
        *("-map", "[picture]", "-map", "[sound]", "-t", str(recording.seconds), "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-movflags", "+faststart", str(path)),
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and path.stat().st_size > 0
