"""Outputs that are not videos are saved with the right suffix, and missing parts do not fail the download."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import Clock

from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError, MosaicResponseError, MosaicServerError
from airflow_provider_mosaic.clients.signed_url_reader import SignedUrlReader
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicSocialPostOperator

RUN = "11111111-0000-4000-8000-000000000001"
CONTENT = b"the bytes of a render"


class Host:
    """A Mosaic with one run, and the storage host of its files."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []
        #: The outputs once a link was refused.
        self.renewed_outputs: list[dict[str, Any]] = []
        #: The status, headers and content by path.
        self.files: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.posted: list[Any] = []
        self.asked: list[str] = []
        self.url = ""

    def link(self, path: str, media_type: str | None, content: bytes = CONTENT, status: int = 200, **more: str) -> str:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if media_type is not None:
            headers["Content-Type"] = media_type
        self.files[path] = (status, headers, content)
        return f"{self.url}{path}?signature=0123456789abcdef"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/agent_run/"):
            return 200, {}, json.dumps({"status": "completed", "outputs": self.outputs}).encode()
        if path == "/social/posts":
            return 200, {}, b'{"posts": []}'
        if method == "POST":
            self.posted.append(json.loads(body))
            return 200, {}, b'{"post_id": "a-post", "status": "posted"}'
        self.asked.append(path)
        status, headers, content = self.files.get(path, (404, {}, b""))
        if status == 403:
            self.outputs = self.renewed_outputs or self.outputs
        return status, headers, content


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, content = host.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setitem(SignedUrlReader.__init__.__kwdefaults__, "sleep", clock.sleep)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_port}"
    connection = {"conn_type": "mosaic", "host": host.url, "password": "mk_other"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    yield host
    server.shutdown()
    server.server_close()
    thread.join()


def download(folder: Path, **options: Any) -> list[str]:
    """Return the names of the files, in the order of the task's return value."""
    arguments = {"task_id": "fetch", "run_id": RUN, "destination": str(folder), **options}
    files = TaskRunner(lambda: MosaicDownloadOutputsOperator(**arguments)).execute()
    assert sorted(files) == sorted(str(path) for path in folder.rglob("*") if path.is_file())
    return [str(Path(file).relative_to(folder)) for file in files]


@pytest.mark.parametrize("field", ["video_url", "image_url", "audio_url"])
@pytest.mark.parametrize(
    ("path", "media_type", "more", "suffix"),
    [
        ("/f/1", "image/png", {}, ".png"),
        ("/f/1", "image/webp", {}, ".webp"),
        ("/f/1", "audio/mpeg", {}, ".mp3"),
        ("/f/1", "Audio/X-WAV; rate=44100", {}, ".wav"),
        ("/f/1", "image/jpg", {}, ".jpg"),
        ("/f/1", "video/quicktime", {}, ".mov"),
        # The content type decides before the name.
        ("/f/1.mp4", "image/png", {}, ".png"),
        ("/f/1.mp4", "audio/mpeg", {}, ".mp3"),
        # Without a specific content type the name decides.
        ("/f/1.png", "application/octet-stream", {}, ".png"),
        ("/f/1.WEBP", "binary/octet-stream", {}, ".webp"),
        ("/f/1.mp3", None, {}, ".mp3"),
        ("/f/1.tiff", "image/x-unheard-of", {}, ".tiff"),
        ("/f/1", "application/octet-stream", {"Content_Disposition": 'attachment; filename="a.flac"'}, ".flac"),
        ("/f/1", "", {"Content_Disposition": "attachment; filename*=UTF-8''a%C3%BC.webp"}, ".webp"),
    ],
)
def test_file_type_comes_from_the_host(
    host: Host, tmp_path: Path, field: str, path: str, media_type: str | None, more: dict[str, str], suffix: str
) -> None:
    host.outputs = [{"id": "out-1", field: host.link(path, media_type, **more)}]
    assert download(tmp_path) == [f"out-1{suffix}"]
    assert (tmp_path / f"out-1{suffix}").read_bytes() == CONTENT


@pytest.mark.parametrize("query", ["filename=a.wav", "a.wav", "signature=a.wav", "format=.wav"])
def test_file_type_comes_from_a_name_that_the_link_contains(host: Host, tmp_path: Path, query: str) -> None:
    named = {"Content_Disposition": 'attachment; filename="a.wav"'}
    link = host.link("/f/1", "application/octet-stream", **named).partition("?")[0]
    host.outputs = [{"id": "out-1", "video_url": f"{link}?{query}"}]
    assert download(tmp_path) == ["out-1.wav"]


@pytest.mark.parametrize(("field", "usual"), [("video_url", ".mp4"), ("image_url", ".png"), ("audio_url", ".mp3")])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/f/1.php", 'attachment; filename="../../../etc/cron.d/evil"'),
        ("/f/1.exe", 'attachment; filename="a.mp4/../../b.sh"'),
        ("/f/.mp4%2F..%2Fevil.sh", 'attachment; filename="x.html"'),
        ("/f/1", None),
    ],
)
def test_file_type_falls_back_to_the_field(
    host: Host, tmp_path: Path, field: str, usual: str, path: str, name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    more = {"Content_Disposition": name} if name else {}
    host.outputs = [{"id": "out-1", field: host.link(path, "application/octet-stream", **more)}]
    folder = tmp_path / "folder"
    with caplog.at_level(logging.WARNING):
        assert download(folder) == [f"out-1{usual}"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert "The format of output 'out-1' is unknown" in caplog.text


def test_file_keeps_a_name_that_its_link_contains(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output_id, folder, edited = "out_8f3k2l1m9q0z", tmp_path / "spring2026launch", Asset("edited")
    link = host.link("/a", "video/mp4") + f"&output={output_id}&project={folder.name}"
    host.outputs = [{"id": output_id, "video_url": link}]
    arguments = {"task_id": "fetch", "run_id": RUN, "destination": str(folder), "outlets": [edited]}
    task = TaskRunner(lambda: MosaicDownloadOutputsOperator(**arguments))
    with caplog.at_level(logging.INFO):
        [file] = task.execute()
    assert file == str(folder / f"{output_id}.mp4")
    assert task.outlet_events[edited].extra["files"] == [file]
    assert f"Downloaded {file} (" in caplog.text
    Path(file).write_bytes(b"another")
    with pytest.raises(AirflowFailException, match=f"{output_id}.mp4': another file exists there"):
        task.execute()
    assert str(MosaicError("signed 0123456789abcdef")) == "signed ***"


def test_retry_finds_files_under_their_names(host: Host, tmp_path: Path) -> None:
    host.outputs = [{"id": "out-1", "image_url": host.link("/f/1", "image/webp"), "thumbnail_url": None}]
    assert download(tmp_path) == ["out-1.webp"]
    before = (tmp_path / "out-1.webp").stat().st_mtime_ns
    host.asked.clear()
    assert download(tmp_path) == ["out-1.webp"]
    assert (tmp_path / "out-1.webp").stat().st_mtime_ns == before
    assert host.asked == ["/f/1"]


def test_image_and_thumbnail_have_different_names(host: Host, tmp_path: Path) -> None:
    host.outputs = [
        {"id": "a", "image_url": host.link("/a", "image/jpeg"), "thumbnail_url": host.link("/b", "image/jpeg", b"s")},
        {"id": "b", "image_url": host.link("/c", "image/png"), "thumbnail_url": host.link("/d", "image/webp", b"s")},
        {"id": "c", "video_url": host.link("/e", "video/mp4"), "thumbnail_url": host.link("/f", None, b"s")},
    ]
    names = ["a.jpg", "a.thumbnail.jpg", "b.png", "b.webp", "c.mp4", "c.jpg"]
    assert download(tmp_path) == names
    assert download(tmp_path) == names
    assert (tmp_path / "a.jpg").read_bytes() == CONTENT


def test_output_with_several_files(host: Host, tmp_path: Path) -> None:
    video, audio = host.link("/v", "video/mp4"), host.link("/a", "audio/mpeg")
    host.outputs = [{"id": "a", "video_url": video, "audio_url": audio, "image_url": video}]
    assert download(tmp_path / "all") == ["a.mp4", "a.mp3"]
    assert download(tmp_path / "video", include=["video"]) == ["a.mp4"]
    assert download(tmp_path / "audio", include=["audio"]) == ["a.mp3"]
    assert download(tmp_path / "parts", filename="{index}-{part}{suffix}") == ["0-video.mp4", "0-audio.mp3"]


def test_image_or_audio_replaces_a_missing_video(host: Host, tmp_path: Path) -> None:
    host.outputs = [
        {"id": "a", "image_url": host.link("/a", "image/png")},
        {"id": "b", "video_url": host.link("/b", "audio/mpeg")},
    ]
    assert download(tmp_path / "1", include=["video"]) == ["a.png", "b.mp3"]
    assert download(tmp_path / "2", filename="{index}-{part}{suffix}") == ["0-image.png", "1-audio.mp3"]


@pytest.mark.parametrize("include", [["image", "video"], ["video", "image"]])
def test_image_that_is_also_the_media_is_downloaded_without_a_warning(
    host: Host, tmp_path: Path, include: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    host.outputs = [{"id": "a", "image_url": host.link("/a", "image/png")}]
    with caplog.at_level(logging.WARNING):
        assert download(tmp_path, include=include) == ["a.png"]
    assert "no media file" not in caplog.text


def test_output_whose_id_is_its_link_is_downloaded(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    links = [host.link(path, "video/mp4") for path in ("/a", "/b")]
    host.outputs = [{"id": link, "video_url": link} for link in links] + [{"id": links[0]}]
    with caplog.at_level(logging.INFO):
        assert download(tmp_path) == [f"{RUN}-output-0.mp4", f"{RUN}-output-1.mp4"]
    assert "has no media file" in caplog.text
    assert "0123456789abcdef" not in caplog.text


# Ids and contents. The link of the second output was refused when the run is read again.
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["same 0", "same 1"], ["same 0", "same 1"], 1),
        (["same 0", "same 1"], ["b 2", "same 0", "same 1"], 1),
        (["None 0", "None 1"], ["a 2", "None 0", "None 1"], 1),
        (["a 0", "b 1"], ["b 1", "a 0"], 1),
        # Any of them may be the refused one. A retry reads the run again.
        (["a 0", "b 1"], ["b 0", "b 1"], MosaicNotFoundError),
        (["same 0", "same 1"], ["same 1"], MosaicNotFoundError),
        (["None 0", "None 1"], ["None 1"], MosaicNotFoundError),
        (["a 0", "b 1"], ["a 0"], AirflowFailException),
    ],
)
def test_renewed_link_leads_to_the_same_output(
    host: Host, tmp_path: Path, before: list[str], after: list[str], expected: int | type[Exception]
) -> None:
    def outputs(rows: list[str], folder: str, refused: str) -> Iterator[dict[str, Any]]:
        for id, _, number in (row.partition(" ") for row in rows):
            link = host.link(f"/{folder}/{number}", "video/mp4", number.encode(), 403 if number == refused else 200)
            yield {"id": None if id == "None" else id, "video_url": link}

    host.outputs, host.renewed_outputs = [*outputs(before, "old", "1")], [*outputs(after, "new", "")]
    if isinstance(expected, type):
        with pytest.raises(expected):
            download(tmp_path, filename="{index}{suffix}")
    else:
        assert download(tmp_path, filename="{index}{suffix}") == ["0.mp4", "1.mp4"]
        assert (tmp_path / "1.mp4").read_text() == "1"
    assert (tmp_path / "0.mp4").read_text() == "0"


def test_output_without_media_is_logged(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host.outputs = [{"id": "a", "thumbnail_url": host.link("/a", "image/png")}]
    with caplog.at_level(logging.WARNING):
        assert download(tmp_path, include=["thumbnail", "video"]) == ["a.png"]
    assert "Output 'a' has no media file" in caplog.text


def test_media_with_the_link_of_its_thumbnail_fails_the_task_if_it_is_missing(host: Host, tmp_path: Path) -> None:
    image = host.link("/a", None, b"", 404)
    host.outputs = [
        {"id": "a", "image_url": image, "thumbnail_url": image},
        {"id": "b", "image_url": host.link("/b", "image/png")},
    ]
    with pytest.raises(AirflowFailException, match="no longer exists"):
        download(tmp_path, include=["thumbnail", "video"])


def test_files_are_returned_in_the_order_of_include(host: Host, tmp_path: Path) -> None:
    host.outputs = [{"id": "a", "image_url": host.link("/a", "image/png"), "thumbnail_url": host.link("/t", None)}]
    assert download(tmp_path, include=["thumbnail", "video"]) == ["a.jpg", "a.png"]


PLAYLIST = b"\xef\xbb\xbf#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\npiece-0.ts\n"
DASH = b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/f/1", "application/vnd.apple.mpegurl", PLAYLIST),
        ("/f/1.mp4", "application/x-mpegURL", PLAYLIST),
        ("/f/1.m3u8", "application/octet-stream", PLAYLIST),
        ("/f/1.m3u8", "text/plain", PLAYLIST),
        ("/f/1", "application/dash+xml", DASH),
        ("/f/1.mpd", "application/xml", DASH),
        # Under any name.
        ("/f/1.mp4", "video/mp4", PLAYLIST),
        ("/f/1", "application/octet-stream", PLAYLIST[3:]),
        ("/f/1.mp4", "video/mp4", DASH),
    ],
)
def test_playlist_is_rejected(host: Host, tmp_path: Path, path: str, media_type: str, content: bytes) -> None:
    host.outputs = [{"id": "out-1", "video_url": host.link(path, media_type, content)}]
    with pytest.raises(MosaicResponseError, match=r"streaming playlist.*Nothing was saved") as failure:
        download(tmp_path)
    assert "0123456789abcdef" not in str(failure.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/json", b'{"error": "expired"}'),
        ("application/problem+json; charset=utf-8", b'{"title": "expired"}'),
        ("application/xml", b"<Error><Code>Expired</Code></Error>"),
    ],
)
def test_error_with_status_200_is_not_saved_as_an_output(
    host: Host, tmp_path: Path, media_type: str, content: bytes
) -> None:
    host.outputs = [{"id": "out-1", "video_url": host.link("/f/1", media_type, content)}]
    with pytest.raises(MosaicResponseError, match="as for an error, and no file"):
        download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_json_file_is_saved_if_its_link_names_it(host: Host, tmp_path: Path) -> None:
    host.outputs = [{"id": "a", "file_url": host.link("/f/captions.json", "application/json", b"{}")}]
    assert download(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("link", "problem"),
    [("/a.mp4", "no scheme and host"), ("gs://b/a.mp4", "starts with gs:"), ("data:x", "starts with data:")],
)
def test_link_that_is_no_http_url(host: Host, tmp_path: Path, link: str, problem: str) -> None:
    host.outputs = [{"id": "a", "video_url": link}]
    with pytest.raises(MosaicResponseError, match=problem):
        download(tmp_path)


@pytest.mark.parametrize("extra", ["thumbnail_url", "premiere_prproj_url"])
@pytest.mark.parametrize(
    ("status", "content", "media_type"),
    [(404, b"", None), (410, b"", None), (403, b"", None), (200, b"<html>", "text/html"), (200, b"", "image/jpeg")],
)
def test_missing_thumbnail_does_not_fail_the_download(
    host: Host,
    tmp_path: Path,
    extra: str,
    status: int,
    content: bytes,
    media_type: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = host.link("/gone", media_type, content, status)
    host.outputs = [
        {"id": "a", extra: gone, "video_url": host.link("/a", "video/mp4")},
        {"id": "b", "video_url": host.link("/b", "video/mp4"), "thumbnail_url": host.link("/t", "image/jpeg", b"s")},
    ]
    with caplog.at_level(logging.WARNING):
        assert download(tmp_path) == ["a.mp4", "b.mp4", "b.jpg"]
    assert "Output 'a' has no" in caplog.text


def test_failing_thumbnail_is_left_to_a_retry_after_all_videos(host: Host, tmp_path: Path) -> None:
    host.outputs = [
        {"id": name, "video_url": host.link(f"/{name}", "video/mp4"), "thumbnail_url": host.link("/t", None, b"", 503)}
        for name in "ab"
    ]
    with pytest.raises(MosaicServerError):
        download(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_missing_video_fails_the_task_after_the_other_downloads(host: Host, tmp_path: Path) -> None:
    host.outputs = [
        {"id": "a", "video_url": host.link("/a", None, b"", 410)},
        {"id": "b", "video_url": host.link("/b", "application/x-mpegurl")},
        {"id": "c", "video_url": host.link("/c", "video/mp4")},
    ]
    with pytest.raises(AirflowFailException, match="no longer exists"):
        download(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.mp4"]


def test_missing_only_part_fails_the_task(host: Host, tmp_path: Path) -> None:
    host.outputs = [{"id": "a", "video_url": host.link("/a", None, b"", 404), "thumbnail_url": host.link("/t", None)}]
    with pytest.raises(AirflowFailException) as failure:
        download(tmp_path)
    assert isinstance(failure.value.error, MosaicNotFoundError)
    host.outputs = [{"id": "a", "thumbnail_url": host.link("/a", None, b"", 404)}]
    with pytest.raises(AirflowFailException):
        download(tmp_path, include=["thumbnail"])


@pytest.mark.parametrize("second", ["thumbnail_url", "image_url"])
def test_files_after_a_missing_one_keep_their_names_in_a_retry(host: Host, tmp_path: Path, second: str) -> None:
    host.outputs = [
        {"id": "a", "video_url": host.link("/a", None, b"", 410), second: host.link("/t", "image/jpeg", b"s")},
        {"id": "b", "video_url": host.link("/b", "video/mp4")},
    ]
    with pytest.raises(AirflowFailException, match="no longer exists"):
        download(tmp_path)
    host.link("/a", "image/jpeg")
    part = second.removesuffix("_url")
    assert download(tmp_path) == ["a.jpg", f"a.{part}.jpg", "b.mp4"]


@pytest.mark.parametrize("field", ["video_url", "image_url", "audio_url"])
def test_output_that_is_no_video_can_be_posted(host: Host, field: str) -> None:
    link = host.link("/f/1", "image/png")
    host.outputs = [{"id": "out-1", field: link}]
    post = TaskRunner(
        lambda: MosaicSocialPostOperator(task_id="post", text="Hello", social_connection_ids=["x"], run_id=RUN),
        store=StateStore(),
    )
    assert post.execute() == "a-post"
    assert [body["media_urls"] for body in host.posted] == [[link]]


@pytest.mark.parametrize("ids", [(None, None), ("same", "same")])
def test_outputs_without_an_id_of_their_own_are_all_posted(host: Host, ids: tuple[str | None, str | None]) -> None:
    links = [host.link(f"/f/{number}", "image/png") for number in range(2)]
    host.outputs = [{"id": id, "image_url": link} for id, link in zip(ids, links, strict=True)]
    post = TaskRunner(
        lambda: MosaicSocialPostOperator(task_id="post", text="Hello", social_connection_ids=["x"], run_id=RUN),
        store=StateStore(),
    )
    assert post.execute() == "a-post"
    assert [body["media_urls"] for body in host.posted] == [links]


@pytest.mark.parametrize("again", ["another signature", None])
def test_output_that_is_listed_twice_is_posted_once(host: Host, again: str | None) -> None:
    link = host.link("/f/0", "image/png")
    links = [again and link.replace("0123", "4567"), link]
    host.outputs = [{"id": "same", "image_url": each} for each in links]
    post = TaskRunner(
        lambda: MosaicSocialPostOperator(
            task_id="post", text="Hello", social_connection_ids=["x"], run_id=RUN, output_ids=["same"]
        ),
        store=StateStore(),
    )
    assert post.execute() == "a-post"
    assert [body["media_urls"] for body in host.posted] == [[link]]


@pytest.mark.parametrize("output_ids", [["same"], ["SAME"]])
def test_repeated_id_does_not_select_an_output_to_post(host: Host, output_ids: list[str]) -> None:
    host.outputs = [{"id": "same", "image_url": host.link(f"/f/{number}", "image/png")} for number in range(2)]
    post = TaskRunner(
        lambda: MosaicSocialPostOperator(
            task_id="post", text="Hello", social_connection_ids=["x"], run_id=RUN, output_ids=output_ids
        ),
        store=StateStore(),
    )
    with pytest.raises(AirflowFailException, match="several outputs"):
        post.execute()
    assert host.posted == []
    # One output that is listed twice.
    host.outputs[1] = host.outputs[0]
    assert post.execute() == "a-post"
