from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from mosaic_emulator.core.faults import KINDS

from .conftest import Api, until

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
RUN = "/agent/{agent_id}/run"
LOST = (httpx.RemoteProtocolError, httpx.ReadError)


def start(api: Api) -> httpx.Response:
    return api.post(f"/agent/{api.mosaic.agent_id}/run", URL)


def test_response_lost_keeps_the_effect(api: Api) -> None:
    api.mosaic.inject("response_lost", method="POST", path=RUN)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        start(api)
    assert start(api).status_code == 200
    counts = api.mosaic.counts()
    assert (counts.runs_started, counts.requests[f"POST {RUN}"], counts.faults_used) == (2, 2, {"response_lost": 1})
    first = api.mosaic.requests()[0]
    assert (first["fault"], first["status"], first["body"]) == ("response_lost", None, URL)


@pytest.mark.parametrize(("when", "runs"), [("before", 0), ("after", 1)])
def test_reset(api: Api, when: str, runs: int) -> None:
    api.mosaic.inject("reset", when=when)
    with pytest.raises(httpx.ReadError, match="reset"):
        start(api)
    assert api.mosaic.counts().runs_started == runs


@pytest.mark.parametrize(("when", "runs"), [("before", 0), ("after", 1)])
def test_hang_until_the_client_disconnects(api: Api, when: str, runs: int) -> None:
    api.mosaic.inject("hang", when=when)
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(f"/agent/{api.mosaic.agent_id}/run", json=URL, timeout=0.2)
    # The client has disconnected. A request that hangs before its effect has none.
    until(api.mosaic.requests, lambda requests: requests[0]["seconds"] is not None)
    assert api.mosaic.counts().runs_started == runs


def test_hang_with_seconds_has_its_effect_after_a_disconnect(api: Api) -> None:
    api.mosaic.inject("hang", seconds=3600)
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(f"/agent/{api.mosaic.agent_id}/run", json=URL, timeout=0.1)
    assert api.mosaic.counts().runs_started == 0
    api.mosaic.inject("hang", seconds=0.8)
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(f"/agent/{api.mosaic.agent_id}/run", json=URL, timeout=0.1)
    until(api.mosaic.counts, lambda counts: counts.runs_started == 1)


@pytest.mark.parametrize("retry_after", [None, 7, {"date": 30}])
def test_rate_limit(api: Api, retry_after: Any) -> None:
    api.mosaic.inject("rate_limit", **({} if retry_after is None else {"retry_after": retry_after}))
    response = start(api)
    assert (response.status_code, response.json()) == (429, {"detail": "Too many requests"})
    after = response.headers.get("retry-after")
    if isinstance(retry_after, dict):
        assert 25 <= parsedate_to_datetime(after).timestamp() - time.time() <= 31
    else:
        assert after == (None if retry_after is None else "7")
    assert api.mosaic.counts().runs_started == 0


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("effect", [False, True])
@pytest.mark.parametrize("body", ["html", "json"])
def test_server_error(api: Api, status: int, effect: bool, body: str) -> None:
    api.mosaic.inject("server_error", status=status, effect=effect, body=body, retry_after=3)
    response = start(api)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html" if body == "html" else "application/json")
    assert response.headers["retry-after"] == "3"
    assert api.mosaic.counts().runs_started == int(effect)


def test_server_error_with_delayed_effect(api: Api) -> None:
    api.mosaic.inject("server_error", status=504, effect_after=3600)
    assert start(api).status_code == 504
    assert api.mosaic.counts().runs_started == 0
    api.mosaic.inject("server_error", status=504, effect_after=0.01)
    assert start(api).status_code == 504
    until(api.mosaic.counts, lambda counts: counts.runs_started == 1)


def test_truncated_json(api: Api) -> None:
    api.mosaic.inject("truncated_json")
    api.mosaic.inject("truncated_json", how="cut")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        start(api)
    response = start(api)
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        response.json()
    assert api.mosaic.counts().runs_started == 2


@pytest.mark.parametrize("status", [200, 201])
def test_empty_response(api: Api, status: int) -> None:
    api.mosaic.inject("empty", status=status)
    response = start(api)
    assert (response.status_code, response.content) == (status, b"")
    assert api.mosaic.counts().runs_started == 1


@pytest.mark.parametrize("effect", [False, True])
def test_html_response(api: Api, effect: bool) -> None:
    api.mosaic.inject("html", effect=effect)
    response = start(api)
    assert (response.status_code, response.text[:9]) == (200, "<!DOCTYPE")
    assert api.mosaic.counts().runs_started == int(effect)


@pytest.mark.parametrize("effect", [False, True])
def test_refusal(api: Api, effect: bool) -> None:
    api.mosaic.inject("refusal", effect=effect)
    response = start(api)
    assert (response.status_code, response.json()) == (200, {"success": False, "error": "The request was refused"})
    assert api.mosaic.counts().runs_started == int(effect)
    api.mosaic.inject("refusal", error="Out of quota")
    assert start(api).json()["error"] == "Out of quota"


def test_unknown_status(api: Api) -> None:
    run_id = api.start(body=URL)
    api.mosaic.inject("unknown_status", path="/agent_run/{run_id}")
    api.mosaic.inject("unknown_status", path="/agent_runs", status="dreaming")
    assert api.run(run_id)["status"] == "under_review"
    assert api.get("/agent_runs").json()["runs"][0]["status"] == "dreaming"
    assert api.run(run_id)["status"] in ("running", "completed")


@pytest.mark.parametrize(("kind", "status"), [("not_found", 404), ("unauthorized", 401), ("forbidden", 403)])
def test_rejecting_faults(api: Api, kind: str, status: int) -> None:
    api.mosaic.inject(kind)
    assert start(api).status_code == status
    assert api.mosaic.counts().runs_started == 0


def test_slow_body(api: Api) -> None:
    api.mosaic.inject("slow_body", seconds=0.2, pieces=4)
    started_at = time.monotonic()
    assert start(api).status_code == 200
    assert time.monotonic() - started_at >= 0.15


@pytest.mark.parametrize("follow", [False, True])
def test_redirect_reveals_leaked_keys(api: Api, follow: bool) -> None:
    api.mosaic.inject("redirect", status=302)
    response = api.get("/whoami")
    assert response.status_code == 302
    assert not response.headers["location"].startswith(api.mosaic.url)
    if follow:
        api.get(response.headers["location"])
    assert api.mosaic.counts().key_leaks == int(follow)


def test_faults_match_method_and_path(api: Api) -> None:
    api.mosaic.inject("not_found", method="GET", path="/agent/{id}", skip=1, times=2)
    path = f"/agent/{api.mosaic.agent_id}"
    assert api.get("/whoami").status_code == 200
    assert start(api).status_code == 200
    assert [api.get(path).status_code for _ in range(4)] == [200, 404, 404, 200]


def test_fault_path_may_be_a_glob(api: Api) -> None:
    api.mosaic.inject("forbidden", path="/uploads/*", times=None)
    assert api.post("/uploads/video/get_upload_url").status_code == 403
    assert api.post("/uploads/get_view_url", {}).status_code == 403
    assert api.get("/agents").status_code == 200
    api.mosaic.clear_faults()
    assert api.post("/uploads/video/get_upload_url").status_code == 200


def test_faults_apply_in_order(api: Api) -> None:
    api.mosaic.inject("not_found")
    api.mosaic.inject("forbidden", times=2)
    assert [api.get("/whoami").status_code for _ in range(4)] == [404, 403, 403, 200]


def test_probabilities_repeat_after_a_reset(api: Api) -> None:
    def statuses() -> list[int]:
        api.mosaic.reset()
        api.mosaic.inject("forbidden", times=None, probability=0.5)
        return [api.get("/whoami").status_code for _ in range(30)]

    first = statuses()
    assert set(first) == {200, 403}
    assert statuses() == first


def test_unknown_fault_is_rejected(api: Api) -> None:
    with pytest.raises(ValueError, match="no fault 'earthquake'"):
        api.mosaic.inject("earthquake")
    with pytest.raises(ValueError, match=r"no option second\..*seconds, when"):
        api.mosaic.inject("hang", second=1)
    with pytest.raises(ValueError, match="probability"):
        api.mosaic.inject("hang", probability=2)


class TestOnTheStorageHost:
    FORM = "/mosaic-emulator-uploads/"
    MEDIA = "/mosaic-emulator-media/{object}"

    @pytest.mark.parametrize("kind", ["response_lost", "reset"])
    def test_form_response_is_lost(self, api: Api, kind: str) -> None:
        options: dict[str, Any] = {"when": "after"} if kind == "reset" else {}
        api.mosaic.inject(kind, path=self.FORM, **options)
        form = api.reserve()
        with pytest.raises(LOST):
            api.store(form)
        assert api.mosaic.counts().uploads_stored == 1
        assert api.post("/uploads/video/finalize_upload", {"video_id": form["video_id"]}).status_code == 200

    def test_reset_within_the_body(self, api: Api) -> None:
        api.mosaic.inject("reset", path=self.FORM, after_bytes=100_000)
        form = api.reserve()
        with pytest.raises((httpx.WriteError, *LOST)):
            api.store(form, bytes(8 << 20))
        assert api.mosaic.counts().uploads_stored == 0
        assert api.store(form).status_code == 204

    @pytest.mark.parametrize("effect", [False, True])
    def test_server_error(self, api: Api, effect: bool) -> None:
        api.mosaic.inject("server_error", path=self.FORM, status=503, effect=effect, retry_after=1)
        response = api.store(api.reserve())
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert api.mosaic.counts().uploads_stored == int(effect)

    def test_expired_form(self, api: Api) -> None:
        api.mosaic.inject("expired_form")
        form = api.reserve()
        assert [api.store(form).status_code for _ in range(2)] == [403, 204]

    def test_hang(self, api: Api) -> None:
        api.mosaic.inject("hang", path=self.FORM)
        form = api.reserve()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                form["upload_url"], data=form["upload_fields"], files={"file": b"x"}, trust_env=False, timeout=0.2
            )
        assert api.mosaic.counts().uploads_stored == 0

    def test_faults_of_downloads(self, api: Api, storage: httpx.Client) -> None:
        link = api.finished()["outputs"][0]["video_url"]
        expected = {"not_found": 404, "unauthorized": 401, "forbidden": 403, "rate_limit": 429, "server_error": 500}
        for kind, status in expected.items():
            api.mosaic.inject(kind, path=self.MEDIA)
            assert storage.get(link).status_code == status
        api.mosaic.inject("slow_body", path=self.MEDIA, seconds=0.2, pieces=4)
        started_at = time.monotonic()
        assert storage.get(link).status_code == 200
        assert time.monotonic() - started_at >= 0.15
        api.mosaic.inject("redirect", path=self.MEDIA, location=f"{api.mosaic.url}/elsewhere")
        assert storage.get(link).headers["location"] == f"{api.mosaic.url}/elsewhere"
        # A download is counted after its last byte.
        until(lambda: api.mosaic.counts().downloads, lambda downloads: downloads == 1)

    @pytest.mark.parametrize("kind", ["rate_limit", "server_error", "redirect"])
    def test_a_response_says_that_the_connection_is_closed(self, api: Api, storage: httpx.Client, kind: str) -> None:
        """A client would send its next request on the connection, and get no response."""
        link = api.finished()["outputs"][0]["video_url"]
        api.mosaic.inject(kind, path=self.MEDIA)
        assert storage.get(link).headers["connection"] == "close"


def test_every_fault_is_tested() -> None:
    from pathlib import Path

    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [kind for kind in KINDS if f'inject("{kind}"' not in text and f'("{kind}",' not in text] == []
