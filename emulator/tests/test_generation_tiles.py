"""Tiles with documented parameters, and generated images and audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from mosaic_emulator.runs.ffmpeg import find_ffmpeg

from .conftest import Api

IMAGE = "18b998a0-2ea7-4676-a5d3-3ae6c8ac0b72"
AUDIO = "14687f30-5fd0-468f-8239-2784d83df95b"
VIDEO = "a2eb3ec2-da7a-4f97-94d2-a9a537548522"
WATERMARK = "6808af58-2d9a-4e3b-aacb-2d9c143b7729"
PROMPT = {"prompt": "A lighthouse at night"}
FIRST_BYTES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/webp": b"RIFF",
    "audio/mpeg": (b"ID3", b"\xff\xfb", b"\xff\xf3"),
}
needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="there is no ffmpeg")


def change(api: Api, *operations: dict[str, Any], agent_id: str | None = None) -> httpx.Response:
    agent = agent_id or api.post("/agent/create", {"name": "Maker"}).json()["agent_id"]
    return api.post(f"/agent/{agent}/update", {"operations": list(operations)})


def tile(type_id: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    made = {"op": "create_node", "temp_ref_id": "tile", "node_type_id": type_id}
    return made if params is None else {**made, "params_used": params}


def agent_of(api: Api, type_id: str, params: dict[str, Any] | None = None) -> tuple[str, str]:
    response = change(api, tile(type_id, params))
    assert response.status_code == 200, response.text
    return response.json()["agent_id"], response.json()["created_nodes"][0]["agent_node_id"]


def test_node_types_have_the_published_ids(api: Api) -> None:
    kind = api.get(f"/node_type/{IMAGE}").json()["node_type"]
    assert (kind["node_type_name"], kind["docs_url"]) == (
        "Image Generation",
        "https://docs.mosaic.so/tiles/image-generation",
    )


GOOD: list[tuple[str, dict[str, Any]]] = [
    (IMAGE, PROMPT),
    (IMAGE, {**PROMPT, "image_size": "custom", "custom_width": 256, "custom_height": 3840}),
    (IMAGE, {**PROMPT, "image_size": "square_hd", "quality": "high", "output_format": "webp", "model": "gpt-image-2"}),
    (IMAGE, {**PROMPT, "selected_context": {"images": ["img-1"]}, "quality": None}),
    (AUDIO, {}),
    (AUDIO, {"mode": "voiceover", "script": "Hello", "voice_id": "v", "use_upstream_voice_reference": False}),
    (AUDIO, {"mode": "music", "model": "music", "selected_context": {"videos": [], "audio": []}}),
    # Its parameters are not completely documented.
    (AUDIO, {"mode": "music", "length": 30}),
    (VIDEO, {"prompt": "Sea", "duration": "8", "generate_audio": True, "aspect_ratio": "16:9"}),
    (WATERMARK, {}),
    (WATERMARK, {"use_custom_logo": "custom", "image_id": "img-1", "logo_opacity": 10, "logo_position": "top-left"}),
    (WATERMARK, {"use_custom_logo": "mosaic", "logo_opacity": 100, "logo_size": 30, "logo_margin_x": 0}),
]
BAD: list[tuple[str, dict[str, Any] | None, str]] = [
    (IMAGE, None, "prompt"),
    (IMAGE, {"prompt": ""}, "prompt"),
    (IMAGE, {"prompt": None}, "prompt"),
    (IMAGE, {"prompt": 7}, "prompt"),
    (IMAGE, {**PROMPT, "quality": "best"}, "quality"),
    (IMAGE, {**PROMPT, "output_format": "gif"}, "output_format"),
    (IMAGE, {**PROMPT, "image_size": "custom"}, "custom_width"),
    (IMAGE, {**PROMPT, "image_size": "custom", "custom_width": 256, "custom_height": 250}, "custom_height"),
    (IMAGE, {**PROMPT, "custom_width": 240}, "custom_width"),
    (IMAGE, {**PROMPT, "custom_width": 3856}, "custom_width"),
    (IMAGE, {**PROMPT, "custom_width": True}, "custom_width"),
    (IMAGE, {**PROMPT, "selected_context": {"videos": []}}, "selected_context"),
    (IMAGE, {**PROMPT, "seed": 1}, "seed"),
    (AUDIO, {"mode": "voiceover"}, "script"),
    (AUDIO, {"mode": "noise"}, "mode"),
    (AUDIO, {"use_upstream_voice_reference": "yes"}, "use_upstream_voice_reference"),
    (VIDEO, {"duration": 8}, "duration"),
    (WATERMARK, {"use_custom_logo": "custom"}, "image_id"),
    (WATERMARK, {"use_custom_logo": True}, "use_custom_logo"),
    (WATERMARK, {"logo_opacity": 9}, "logo_opacity"),
    (WATERMARK, {"logo_opacity": 101}, "logo_opacity"),
    (WATERMARK, {"logo_opacity": "80"}, "logo_opacity"),
    (WATERMARK, {"logo_position": "middle"}, "logo_position"),
    (WATERMARK, {"logo_margin_y": "20"}, "logo_margin_y"),
    (WATERMARK, {"opacity": 50}, "opacity"),
]


@pytest.mark.parametrize(("type_id", "params"), GOOD)
def test_documented_params_are_accepted(api: Api, type_id: str, params: dict[str, Any]) -> None:
    _, node_id = agent_of(api, type_id, params)
    assert api.get(f"/agent_nodes/{node_id}").json()["agent_node"]["params_used"] == params


@pytest.mark.parametrize(("type_id", "params", "named"), BAD)
def test_undocumented_params_are_rejected(api: Api, type_id: str, params: dict[str, Any] | None, named: str) -> None:
    response = change(api, tile(type_id, params))
    assert response.status_code == 400
    assert named in response.json()["detail"]


def test_required_param_cannot_be_removed(api: Api) -> None:
    agent_id, node_id = agent_of(api, IMAGE, PROMPT)
    update = {"op": "update_node", "agent_node_id": node_id, "params_used": {"prompt": None}}
    assert change(api, update, agent_id=agent_id).status_code == 400
    response = api.post(f"/agent/{agent_id}/run", {"update_params": {node_id: {"prompt": None}}})
    assert (response.status_code, response.json()["detail"]) == (400, "Image Generation: prompt is required")


def test_missing_param_can_be_rejected_later_or_never(api: Api) -> None:
    api.mosaic.configure(required_params="start")
    agent_id, node_id = agent_of(api, IMAGE)
    assert api.post(f"/agent/{agent_id}/run").status_code == 400
    assert api.end(api.start({"update_params": {node_id: PROMPT}}, agent_id))["status"] == "completed"
    api.mosaic.configure(required_params="run")
    run = api.end(api.start({}, agent_id))
    assert (run["status"], run["status_message"]) == ("failed", "Image Generation: prompt is required")
    api.mosaic.configure(required_params="ignore")
    assert api.end(api.start({}, agent_id))["status"] == "completed"


MEDIA: list[tuple[str, dict[str, Any], str]] = [
    (IMAGE, PROMPT, "image/png"),
    (IMAGE, {**PROMPT, "output_format": "png"}, "image/png"),
    (IMAGE, {**PROMPT, "output_format": "webp"}, "image/webp"),
    (IMAGE, {**PROMPT, "output_format": "jpeg"}, "image/jpeg"),
    (AUDIO, {"mode": "voiceover", "script": "Good evening."}, "audio/mpeg"),
    (AUDIO, {"mode": "music"}, "audio/mpeg"),
]


# With ffmpeg, and with the samples instead of it.
@pytest.mark.parametrize("render", ["auto", "passthrough", "tiny"])
@pytest.mark.parametrize(("type_id", "params", "kind"), MEDIA)
def test_images_and_audio_are_generated(
    api: Api, storage: httpx.Client, type_id: str, params: dict[str, Any], kind: str, render: str
) -> None:
    api.mosaic.configure(render=render, clip_seconds=1)
    agent_id, node_id = agent_of(api, type_id, params)
    (output,) = api.end(api.start({}, agent_id))["outputs"]
    assert output["original_node_id"] == node_id
    response = storage.get(output["video_url"])
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert response.content.startswith(FIRST_BYTES[kind])
    assert (output["thumbnail_url"] is None) == kind.startswith("audio")


@needs_ffmpeg
def test_image_has_the_requested_size(api: Api, storage: httpx.Client, tmp_path: Path) -> None:
    from .test_rendering import ffmpeg

    api.mosaic.configure(render="auto")
    size = {"image_size": "custom", "custom_width": 512, "custom_height": 272}
    agent_id, _ = agent_of(api, IMAGE, {**PROMPT, **size})
    (output,) = api.end(api.start({}, agent_id))["outputs"]
    (tmp_path / "image.png").write_bytes(storage.get(output["video_url"]).content)
    assert "512x272" in ffmpeg("-i", str(tmp_path / "image.png"))


@pytest.mark.parametrize(
    ("where", "names", "filled"),
    [
        ("video_url", {"video_url"}, {"video_url"}),
        ("own", {"own"}, {"own"}),
        ("own_null", {"video_url", "own"}, {"own"}),
        ("both", {"video_url", "own"}, {"video_url", "own"}),
    ],
)
def test_generated_url_shapes(api: Api, where: str, names: set[str], filled: set[str]) -> None:
    api.mosaic.configure(generated_url=where)
    for type_id, params, own in ((IMAGE, PROMPT, "image_url"), (AUDIO, {"mode": "music"}, "audio_url")):
        agent_id, _ = agent_of(api, type_id, params)
        (output,) = api.end(api.start({}, agent_id))["outputs"]
        urls = {name for name in output if name in ("video_url", "image_url", "audio_url")}
        assert urls == {own if name == "own" else name for name in names}
        assert {name for name in urls if output[name]} == {own if name == "own" else name for name in filled}
    # A video is always in video_url.
    (video,) = api.finished()["outputs"]
    assert {name for name in video if name in ("video_url", "image_url", "audio_url")} == {"video_url"}


def test_generated_image_becomes_an_asset(api: Api, storage: httpx.Client) -> None:
    agent_id, _ = agent_of(api, IMAGE, PROMPT)
    (output,) = api.end(api.start({}, agent_id))["outputs"]
    (asset,) = api.mosaic.uploads()
    assert (asset["type"], asset["finalized"]) == ("image", True)
    assert asset["id"].startswith("img-")
    view = api.post("/uploads/get_view_url", {"asset_type": "image", "asset_id": asset["id"]}).json()
    assert storage.get(view["signed_url"]).content == storage.get(output["video_url"]).content
    # Not a video.
    refused = api.post(f"/agent/{api.mosaic.agent_id}/run", {"node_render_ids": [output["id"]]})
    assert refused.status_code == 404
