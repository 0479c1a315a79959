from __future__ import annotations

import io
import re
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, GENERATION_AGENT_ID, node_id
from mosaic_emulator.media import SAMPLE_IMAGE
from mosaic_emulator.runs.ffmpeg import find_ffmpeg

from .conftest import Api

needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="there is no ffmpeg")


def ffmpeg(*arguments: str) -> str:
    done = subprocess.run(
        [find_ffmpeg() or "", "-hide_banner", "-nostdin", "-y", *arguments], capture_output=True, text=True, check=False
    )
    return done.stderr


def shape(path: Path) -> tuple[int, int, float]:
    """Return width, height and duration of a video that decodes without errors."""
    text = ffmpeg("-i", str(path))
    size = re.search(r"Video: .*?, (\d+)x(\d+)", text)
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text)
    assert size is not None, text
    assert length is not None, text
    assert ffmpeg("-v", "error", "-i", str(path), "-f", "null", "-") == ""
    return int(size[1]), int(size[2]), int(length[2]) * 60 + float(length[3])


@pytest.fixture
def source(tmp_path: Path) -> bytes:
    path = tmp_path / "source.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=6")
    sound = ("-f", "lavfi", "-i", "sine=duration=6")
    ffmpeg(*picture, *sound, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path))
    return path.read_bytes()


def fetched(storage: httpx.Client, url: str, path: Path) -> Path:
    response = storage.get(url)
    assert response.status_code == 200
    path.write_bytes(response.content)
    return path


@needs_ffmpeg
def test_video_is_cut_and_reframed(api: Api, storage: httpx.Client, source: bytes, tmp_path: Path) -> None:
    api.mosaic.configure(render="auto", clip_seconds=2)
    (output,) = api.finished(body={"video_ids": [api.upload(source)]})["outputs"]
    width, height, seconds = shape(fetched(storage, output["video_url"], tmp_path / "out.mp4"))
    assert (width, height) == (540, 960)
    assert 1.8 <= seconds <= 2.3
    still = fetched(storage, output["thumbnail_url"], tmp_path / "still.jpg")
    assert "Video: mjpeg" in ffmpeg("-i", str(still))


@needs_ffmpeg
def test_clip_bounds_and_ignored_tiles(api: Api, storage: httpx.Client, source: bytes, tmp_path: Path) -> None:
    api.mosaic.configure(render="auto", clip_seconds=60)
    entry = {
        "agent_node_id": node_id(1, 1),
        "video_ids": [api.upload(source)],
        "input_clip_start_ms": 1000,
        "input_clip_end_ms": 2000,
    }
    run = api.finished(body={"video_inputs": [entry], "ignore_nodes": [node_id(1, 3)]})
    width, height, seconds = shape(fetched(storage, run["outputs"][0]["video_url"], tmp_path / "out.mp4"))
    assert (width, height) == (320, 180)
    assert 0.9 <= seconds <= 1.3


@needs_ffmpeg
def test_clips_show_different_parts(api: Api, storage: httpx.Client, source: bytes, tmp_path: Path) -> None:
    api.mosaic.configure(render="auto")
    params = {node_id(5, 2): {"num_clips": 3, "target_duration": 1}}
    body = {"video_ids": [api.upload(source)], "update_params": params}
    outputs = api.finished(body=body, agent_id=CLIPS_AGENT_ID)["outputs"]
    videos = [fetched(storage, output["video_url"], tmp_path / f"{output['id']}.mp4") for output in outputs]
    assert [shape(video)[:2] for video in videos] == [(540, 960)] * 3
    assert len({video.read_bytes() for video in videos}) == 3
    assert {output["original_node_id"] for output in outputs} == {node_id(5, 4)}


def test_default_number_of_clips(api: Api) -> None:
    api.mosaic.configure(clips=4)
    body = {"video_urls": ["https://cdn.example.org/a.mp4"]}
    assert len(api.finished(body=body, agent_id=CLIPS_AGENT_ID)["outputs"]) == 4


@needs_ffmpeg
def test_video_without_input(api: Api, storage: httpx.Client, tmp_path: Path) -> None:
    api.mosaic.configure(render="auto", clip_seconds=1)
    run = api.finished(body={}, agent_id=GENERATION_AGENT_ID)
    assert run["inputs"] == []
    assert shape(fetched(storage, run["outputs"][0]["video_url"], tmp_path / "out.mp4"))[:2] == (640, 360)


BROKEN = {
    "text": lambda video: b"no film at all",
    "nothing": lambda video: b"",
    "a still": lambda video: SAMPLE_IMAGE.read_bytes(),
    "a playlist": lambda video: b"#EXTM3U\n#EXTINF:6,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
    "cut off": lambda video: video[: len(video) // 3],
    "a header alone": lambda video: video[:64] + bytes(4096),
}


@needs_ffmpeg
@pytest.mark.parametrize("case", BROKEN)
def test_unreadable_video_fails_its_run(api: Api, source: bytes, case: str) -> None:
    api.mosaic.configure(render="auto", clip_seconds=1)
    broken = api.start(body={"video_ids": [api.upload(BROKEN[case](source))]})
    good = api.start(body={"video_ids": [api.upload(source)]})
    run = api.end(broken)
    assert (run["status"], run["outputs"]) == ("failed", [])
    assert run["errors"] == [{"original_node_id": node_id(1, 1), "messages": ["The video could not be read: clip.mp4"]}]
    assert run["status_message"] == "The video could not be read: clip.mp4"
    assert api.end(good)["status"] == "completed"


@needs_ffmpeg
def test_unreadable_video_can_be_passed_through(api: Api, storage: httpx.Client) -> None:
    api.mosaic.configure(render="auto", unreadable_inputs="pass")
    run = api.end(api.start(body={"video_ids": [api.upload(b"no film at all")]}))
    assert run["status"] == "completed"
    assert storage.get(run["outputs"][0]["video_url"]).content == b"no film at all"


@needs_ffmpeg
def test_video_without_duration(api: Api, storage: httpx.Client, tmp_path: Path) -> None:
    # Like a recording of a browser: written to a stream, without a duration in its header.
    picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=2")
    ffmpeg(*picture, "-c:v", "libvpx", "-live", "1", "-f", "webm", str(tmp_path / "live.webm"))
    video = (tmp_path / "live.webm").read_bytes()
    assert "Duration: N/A" in ffmpeg("-i", str(tmp_path / "live.webm"))
    api.mosaic.configure(render="auto", clip_seconds=1)
    run = api.end(api.start(body={"video_ids": [api.upload(video)]}))
    assert run["status"] == "completed"
    assert shape(fetched(storage, run["outputs"][0]["video_url"], tmp_path / "out.mp4"))[:2] == (540, 960)


@pytest.mark.parametrize("render", ["passthrough", "tiny", "auto"])
def test_broken_inputs(api: Api, render: str) -> None:
    uploaded = {name: api.upload(name=name) for name in ("monday.mp4", "broken-tuesday.mp4")}
    urls = ["https://cdn.example.org/wednesday.mp4?token=x", "https://cdn.example.org/thursday.mp4"]
    api.mosaic.configure(render=render, broken_inputs={"broken-*": "No moov atom", urls[1]: "No sound"})
    bodies = [*({"video_ids": [each]} for each in uploaded.values()), *({"video_urls": [each]} for each in urls)]
    runs = [api.end(run_id) for run_id in [api.start(body=body) for body in bodies]]
    assert [run["status"] for run in runs] == ["completed", "failed", "completed", "failed"]
    assert [run["status_message"] for run in runs] == [None, "No moov atom", None, "No sound"]
    assert {node["status"] for node in api.nodes(api.mosaic.runs()[1]["run_id"])} == {"failed", "blocked"}


@pytest.mark.parametrize("size", [None, 100_000])
def test_output_bytes(api: Api, storage: httpx.Client, tmp_path: Path, size: int | None) -> None:
    api.mosaic.configure(render="tiny", output_bytes=size)
    run = api.finished()
    path = fetched(storage, run["outputs"][0]["video_url"], tmp_path / "tiny.mp4")
    assert size is None or path.stat().st_size == size
    if find_ffmpeg() is not None:
        assert shape(path)[:2] == (72, 128)


def test_premiere_zip_and_licensed_sources(api: Api, storage: httpx.Client) -> None:
    api.mosaic.configure(premiere_zip=True, licensed_sources=True, thumbnails=False)
    (output,) = api.finished()["outputs"]
    with zipfile.ZipFile(io.BytesIO(storage.get(output["premiere_prproj_url"]).content)) as archive:
        assert archive.namelist() == ["timeline.prproj"]
    assert output["sources"][0]["provider"] == "getty"
    assert output["thumbnail_url"] is None
