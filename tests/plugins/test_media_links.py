"""Which files an output, an input or an asset has, and which links a browser may follow."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.assets import ViewLink
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.plugins.items import TaskKey
from airflow_provider_mosaic.plugins.media import (
    asset_media,
    input_media,
    is_safe_link,
    media_sources,
    output_media,
    run_links,
)
from airflow_provider_mosaic.tasks.reporting import TaskItem

KEY = TaskKey(dag_id="d", run_id="r+1", task_id="t", map_index=-1)
CLOUD = Access(api_key="mk_secret_key_1")
LOCAL = Access(api_key="mk_secret_key_1", base_url="http://127.0.0.1:8765")
PRIVATE = Access(api_key="mk_secret_key_1", allow_private_storage=True)


def a_run(**fields: Any) -> Run:
    return Run.model_validate({"run_id": "a-run", "status": "completed", **fields})


@pytest.mark.parametrize(
    ("output", "kind", "has_thumbnail"),
    [
        ({"video_url": "https://s.example/a.mp4?sig=1"}, "video", False),
        ({"video_url": "https://s.example/a"}, "video", False),
        ({"video_url": "https://s.example/a.mp4", "thumbnail_url": "https://s.example/a.jpg"}, "video", True),
        # Generation tiles may have other files behind video_url. An image is its own preview.
        ({"video_url": "https://s.example/a.png"}, "image", True),
        ({"video_url": "https://s.example/a.mp3"}, "audio", False),
        ({"image_url": "https://s.example/a"}, "image", True),
        ({"audio_url": "https://s.example/a"}, "audio", False),
        ({}, "file", False),
    ],
)
def test_kinds_of_outputs(output: dict[str, str], kind: str, has_thumbnail: bool) -> None:
    [media] = output_media(a_run(outputs=[{"id": "o1", **output}]), (), KEY)
    assert (media.kind, media.thumbnail_url is not None) == (kind, has_thumbnail)
    assert (media.url is not None) is bool(output)
    # Never a signed link.
    assert "s.example" not in media.model_dump_json()


def test_ids_of_media_are_unique_and_fit_into_a_path() -> None:
    outputs = [
        {"id": id, "video_url": f"https://s.example/{number}.mp4"}
        for number, id in enumerate(["o1", "output-3", "o1", "", "../x", "first", "input-0", "a b", "o" * 300, "o2"])
    ]
    run = a_run(outputs=outputs, inputs=[{"video_url": "https://s.example/in.mp4"}])
    ids = [media.id for media in output_media(run, (), KEY)]
    assert len(set(ids)) == len(ids) == 10
    assert ids[0] == "o1"
    assert ids[-1] == "o2"
    links = run_links(run)
    assert [links[each].media for each in ids] == [output["video_url"] for output in outputs]
    assert links["input-0"].media == "https://s.example/in.mp4"
    assert links["first"] == links["o1"]


def test_inputs() -> None:
    video, image, audio, nothing = input_media(
        a_run(
            inputs=[
                {"video_url": "https://s.example/a.mp4", "thumbnail_url": "https://s.example/a.jpg"},
                {"image_url": "https://s.example/b.png"},
                {"audio_url": "https://s.example/c.mp3"},
                {},
            ]
        ),
        KEY,
    )
    assert [media.kind for media in (video, image, audio, nothing)] == ["video", "image", "audio", "file"]
    assert video.url == "media/tasks/d/r%2B1/t/-1/input-0/video"
    assert image.thumbnail_url is not None
    assert (nothing.url, nothing.thumbnail_url) == (None, None)


def test_an_asset() -> None:
    item = TaskItem.model_validate({"kind": "asset", "id": "img-1", "conn_id": "c", "asset_type": "image"})
    media = asset_media(item, ViewLink(signed_url="https://s.example/x"), KEY)
    assert (media.kind, media.url) == ("image", "media/tasks/d/r%2B1/t/-1/img-1/video")
    assert media.thumbnail_url is not None


@pytest.mark.parametrize(
    ("link", "allowed"),
    [
        ("https://storage.example/a.mp4?X-Goog-Signature=1", {"cloud", "local", "private"}),
        ("http://storage.example/a.mp4", {"private"}),
        ("http://127.0.0.1:9/a.mp4", {"local", "private"}),
        ("https://8.8.8.8/a.mp4", {"cloud", "local", "private"}),
        ("https://127.0.0.1/a.mp4", {"local", "private"}),
        ("https://10.0.0.1/admin", {"private"}),
        ("https://169.254.169.254/latest", {"private"}),
        ("https://[fe80::1]/a.mp4", {"private"}),
        ("https://[::ffff:10.0.0.1]/a.mp4", {"private"}),
        ("https://2130706433/a.mp4", {"private"}),
        ("https://0x7f.1/a.mp4", {"private"}),
        ("https://router/a.mp4", {"private"}),
        ("https://wiki.corp/a.mp4", {"private"}),
        ("http://localhost:9/a.mp4", {"local", "private"}),
        ("http://127.0.0.1.evil.example/a.mp4", {"private"}),
        ("javascript:alert(1)", set()),
        ("data:text/html,x", set()),
        ("//storage.example/a.mp4", set()),
        ("https://user:password@storage.example/a.mp4", set()),
        ("https://good.example\\@evil.example/", set()),
        ("https://storage.example/\r\nSet-Cookie: a=b", set()),
        ("https:///a", set()),
        ("https://[", set()),
        ("", set()),
        ("https://münchen.example/a.mp4", {"cloud", "local", "private"}),
        pytest.param(f"https://{'é' * 254}/a.mp4", set(), id="long host"),
        pytest.param(f"https://storage.example/{'a' * 16_384}", set(), id="long link"),
    ],
)
def test_only_https_and_allowed_hosts_are_opened(link: str, allowed: set[str]) -> None:
    accesses = {"cloud": CLOUD, "local": LOCAL, "private": PRIVATE}
    assert {name for name, access in accesses.items() if is_safe_link(link, access)} == allowed


def test_a_page_may_load_media_of_the_storage_only() -> None:
    assert media_sources(CLOUD) == ("https:",)
    assert all(source == "https:" or "127.0.0.1" in source or "localhost" in source for source in media_sources(LOCAL))
    assert media_sources(PRIVATE) == ("https:", "http:")


def test_a_page_shows_a_thousand_files() -> None:
    run = a_run(outputs=[{"id": f"o{number}"} for number in range(1_500)], inputs=[{}] * 1_001)
    outputs, inputs = output_media(run, (), KEY), input_media(run, KEY)
    assert (len(outputs), outputs[-1].name) == (1_001, "500 more, which are not shown")
    assert (len(inputs), inputs[-1].name) == (1_001, "1 more, which are not shown")
    assert outputs[-1].url is None
    assert len(run_links(run)) == 2_000
