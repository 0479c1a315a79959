"""The HTML page at ``/``: its content and its security."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from mosaic_emulator import Counts, Emulator
from mosaic_emulator.catalogue import fixed_agents

from .conftest import Api, until

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
#: Attributes whose values are addresses that a browser may ask for.
ADDRESSES = ("src", "href", "poster", "action", "formaction", "srcset", "data", "content")


class Page(HTMLParser):
    """The tags, the text and the links of a page."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def addresses(self, *tags: str) -> list[str]:
        return [value or "" for tag, name, value in self.attributes if name in ADDRESSES and tag in tags]


@pytest.fixture
def browser(mosaic: Emulator) -> Any:
    """Return a client without an API key."""
    with httpx.Client(base_url=mosaic.url, trust_env=False) as client:
        yield client


def shown(browser: httpx.Client, path: str = "/") -> Page:
    response = browser.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


def test_page_of_an_empty_emulator(browser: httpx.Client) -> None:
    page = shown(browser)
    assert "No run has been started." in page.text
    assert "No post has been created." in page.text
    assert "None." in page.text
    for agent in fixed_agents().values():
        assert agent.name in page.text
        assert agent.id in page.text


def test_page_shows_the_state(api: Api, browser: httpx.Client) -> None:
    good = api.start({"video_ids": [api.upload(name="monday.mp4")]})
    api.end(good)
    api.mosaic.configure(failing_nodes={"Captions": "No speech"}, failing_platforms={"x": "Too long"})
    failed = api.start({"video_urls": ["https://cdn.example.org/tuesday.mp4?token=secret"]})
    api.end(failed)
    post = api.post("/social/post", {"post": "Hello there", "platforms": ["x", "youtube"]}).json()["post_id"]
    api.post_end(post)
    api.mosaic.inject("rate_limit", path="/agent_runs", times=3, skip=2, probability=0.5, retry_after=7)
    page = shown(browser)
    for text in (
        good, failed, post, "completed", "failed", "No speech", "monday.mp4", "tuesday.mp4", "partial_failure",
        "Hello there", "Too long", "rate_limit", "/agent_runs", "3\u00d7", "after 2 more", "50% of the time",
        "retry_after=7", "failing_nodes", "/social/post",
    ):  # fmt: skip
        assert text in page.text, text
    assert "token" not in page.text


def test_page_plays_videos(api: Api, browser: httpx.Client) -> None:
    run = api.finished()
    page = shown(browser)
    (video,) = [each for each in page.addresses("video") if each.endswith(f"{run['outputs'][0]['id']}/media")]
    whole = browser.get(video)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    # Browsers request ranges.
    part = browser.get(video, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    (poster,) = [value for tag, name, value in page.attributes if name == "poster"]
    assert browser.get(poster or "").headers["content-type"] == "image/jpeg"
    for asset in api.mosaic.uploads():
        assert f"/_emulator/uploads/{asset['id']}/media" in page.addresses("video")


def test_page_shows_images_and_audio(api: Api, browser: httpx.Client) -> None:
    nodes = [
        ("18b998a0-2ea7-4676-a5d3-3ae6c8ac0b72", {"prompt": "Sea"}),
        ("14687f30-5fd0-468f-8239-2784d83df95b", {"mode": "music"}),
    ]
    operations = [{"op": "create_node", "node_type_id": each, "params_used": params} for each, params in nodes]
    agent_id = api.post("/agent/create", {}).json()["agent_id"]
    api.post(f"/agent/{agent_id}/update", {"operations": operations})
    api.end(api.start({}, agent_id))
    page = shown(browser)
    assert [browser.get(each).headers["content-type"] for each in page.addresses("audio")] == ["audio/mpeg"]
    assert {browser.get(each).headers["content-type"] for each in page.addresses("img")} == {"image/png"}


def test_page_escapes_user_text(api: Api, browser: httpx.Client) -> None:
    agent_id = api.post("/agent/create", {"name": HOSTILE[:120], "description": HOSTILE}).json()["agent_id"]
    node = {"op": "create_node", "node_type_id": "9451e6ff-ac7f-4317-9055-a2f35f641b29"}
    api.post(f"/agent/{agent_id}/update", {"operations": [node]})
    upload = api.upload(name=HOSTILE.replace('"', "").replace("/", ""))
    api.mosaic.configure(
        broken_inputs={"*": HOSTILE}, failing_nodes={HOSTILE: HOSTILE}, failing_platforms={"x": HOSTILE}
    )
    api.end(api.start({"video_ids": [upload]}, agent_id))
    api.start({"video_urls": [f"https://cdn.example.org/{HOSTILE}"]})
    api.post_end(api.post("/social/post", {"post": HOSTILE, "platforms": ["x"]}).json()["post_id"])
    api.mosaic.inject("html", method=HOSTILE, path=HOSTILE)
    api.http.get("/%3Cscript%3E")
    run_id = api.start({"video_urls": ["https://cdn.example.org/a.mp4"]})
    api.mosaic.finish_run(run_id, HOSTILE, message=HOSTILE)
    page = shown(browser)
    assert HOSTILE in page.text
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not [each for each in page.addresses("img", "video", "audio") if not each.startswith("/_emulator/")]


def test_page_loads_nothing_external(api: Api, browser: httpx.Client) -> None:
    api.finished()
    response = browser.get("/")
    page = Page(response.text)
    for each in page.addresses("a", "link", "img", "video", "audio", "source"):
        assert re.match(r"/(?!/)", each), each
        assert browser.get(each).status_code == 200, each
    for path in ("/", "/_emulator/page.css", "/_emulator/icon.svg", *page.addresses("video")):
        headers = browser.get(path).headers
        policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert set(policy.values()) <= {"'none'", "'self'"}
        assert not {"script-src", "connect-src"} & set(policy)
        assert headers["x-content-type-options"] == "nosniff"
    style = browser.get("/_emulator/page.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text
    for scheme in ("prefers-color-scheme: dark", "color-scheme: light dark"):
        assert scheme in style.text


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/javascript", "video/mp4; x=1", ""])
def test_uploaded_html_is_never_rendered(api: Api, browser: httpx.Client, kind: str) -> None:
    form = api.reserve("image")
    part = ("x.html", b"<script>alert(1)</script>", kind) if kind else ("x.html", b"<script>alert(1)</script>")
    httpx.post(form["upload_url"], data=form["upload_fields"], files={"file": part}, trust_env=False)
    assert api.post("/uploads/image/finalize_upload", {"image_id": form["image_id"]}).status_code == 200
    response = browser.get(f"/_emulator/uploads/{form['image_id']}/media")
    assert response.status_code == 200
    if kind.startswith("video/mp4"):
        assert response.headers["content-type"] == "video/mp4"
    else:
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["content-disposition"] == "attachment"
        assert form["image_id"] not in "".join(shown(browser).addresses("img"))


def test_page_requests_are_not_counted(api: Api, browser: httpx.Client) -> None:
    run = api.finished()
    api.mosaic.inject("server_error", times=1)
    before, requests = api.mosaic.counts(), len(api.mosaic.requests())
    for _ in range(2):
        page = shown(browser)
        for each in page.addresses("video", "img", "link"):
            assert browser.get(each).status_code == 200
    browser.get("/favicon.ico")
    assert api.mosaic.counts() == before
    assert len(api.mosaic.requests()) == requests
    assert api.mosaic.faults()[0]["kind"] == "server_error"
    assert run["status"] == "completed"


def test_page_contains_no_secrets(api: Api, browser: httpx.Client) -> None:
    api.mosaic.configure(webhook_secret="whsk_hidden", signature_mark="markofsignatures")
    run = api.finished()
    httpx.get(run["outputs"][0]["video_url"], trust_env=False)
    text = browser.get("/").text
    assert "webhook_secret" in text
    for each in ("whsk_hidden", "markofsignatures", api.mosaic.api_key, "X-Goog"):
        assert each not in text


def test_page_refreshes_on_request(browser: httpx.Client) -> None:
    def refresh(path: str) -> list[str | None]:
        page = shown(browser, path)
        return [value for tag, name, value in page.attributes if (tag, name) == ("meta", "http-equiv")]

    assert refresh("/") == []
    assert refresh("/?refresh") == ["refresh"]


def test_page_stays_short_with_thousands_of_runs(api: Api, browser: httpx.Client) -> None:
    api.mosaic.configure(hold_runs=True)
    for _ in range(60):
        api.start({"video_urls": ["https://cdn.example.org/a.mp4"]})
    page = shown(browser)
    assert "20 more are not shown." in page.text
    newest = api.mosaic.runs()[-1]["run_id"]
    assert newest in page.text
    assert api.mosaic.runs()[0]["run_id"] not in page.text


def test_page_warns_of_leaked_keys(api: Api, browser: httpx.Client) -> None:
    run = api.finished()
    assert "must never send it there" not in shown(browser).text
    httpx.get(run["outputs"][0]["video_url"], headers={"Authorization": "Bearer mk_x"}, trust_env=False)
    until(api.mosaic.counts, lambda counts: counts.key_leaks == 1)
    assert "1 request carried an API key to the storage host" in shown(browser).text


@pytest.mark.parametrize("path", ["/_emulator/nothing", "/_emulator", "/_emulator/runs/x/outputs/y/media"])
def test_unknown_media_are_not_found(browser: httpx.Client, mosaic: Emulator, path: str) -> None:
    assert (browser.get(path).status_code, list(browser.get(path).json())) == (404, ["detail"])
    assert mosaic.counts() == Counts()


def test_only_get_of_the_root_is_the_page(api: Api) -> None:
    assert api.post("/").status_code == 405
    assert api.http.head("/").status_code == 200
    assert api.mosaic.counts().requests == {"POST (no route)": 1}
