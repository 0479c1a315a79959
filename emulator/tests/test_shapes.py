from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from mosaic_emulator.core.clock import parse_time

from .conftest import Api

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}


@pytest.mark.parametrize(
    ("style", "message", "sources"), [("documented", None, []), ("null", None, None), ("empty", "", [])]
)
def test_optional_fields_null_or_empty(api: Api, style: str, message: Any, sources: Any) -> None:
    api.mosaic.configure(optional_fields=style)
    run = api.finished(body=URL)
    assert (run["status_message"], run["outputs"][0]["sources"]) == (message, sources)


def test_optional_fields_absent(api: Api) -> None:
    api.mosaic.configure(optional_fields="absent", thumbnails=False)
    run = api.finished(body=URL)
    assert not {"status_message", "errors"} & set(run)
    assert set(run["outputs"][0]) == {"id", "video_url", "completed_at", "original_node_id"}
    assert "triggered_by" not in api.get("/agent_runs").json()["runs"][0]
    # Required fields are kept: a null cursor ends a list.
    assert api.get("/agent_runs").json()["next_cursor"] is None


@pytest.mark.parametrize("key", ["needs_credits", "needsCredits", "absent"])
def test_needs_credits_key(api: Api, key: str) -> None:
    api.mosaic.configure(needs_credits_key=key)
    run_id = api.start(body=URL)
    for body in (api.run(run_id), api.nodes(run_id)[0]):
        assert [name for name in body if name.lower().startswith("needs")] == ([] if key == "absent" else [key])


@pytest.mark.parametrize(("shape", "kind"), [("text", str), ("list", list), ("object", dict)])
@pytest.mark.parametrize("codes", [True, False])
def test_error_shapes(api: Api, shape: str, kind: type, codes: bool) -> None:
    api.mosaic.configure(detail_shape=shape, error_codes=codes)
    for response in (api.get("/agent/none"), api.post(f"/agent/{api.mosaic.agent_id}/run", {"video_ids": 3})):
        assert isinstance(response.json()["detail"], kind)
        assert ("error" in response.json()) == codes


#: One request of each kind that is refused, in another layer each.
REFUSED = {
    "no key": ("GET", "/agents", {"headers": {"Authorization": "Bearer mk_wrong"}}, 401, "invalid_api_key"),
    "an unknown id": ("GET", "/agent_run/none", {}, 404, "not_found"),
    "an unknown path": ("GET", "/v1/agents", {}, 404, "not_found"),
    "an unknown path without a key": ("POST", "/nope", {"headers": {"Authorization": ""}}, 404, "not_found"),
    "another method": ("DELETE", "/agents", {}, 405, "request_error"),
    "a bad query": ("GET", "/agents?limit=0", {}, 400, "validation_error"),
    "a bad body": ("POST", "/agent/create", {"content": b"{"}, 400, "validation_error"),
    "an unknown kind of upload": ("POST", "/uploads/film/get_upload_url", {}, 404, "not_found"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_error_codes(api: Api, case: str) -> None:
    method, path, options, status, code = REFUSED[case]
    response = api.http.request(method, path, **options)
    assert (response.status_code, list(response.json())) == (status, ["detail"])
    api.mosaic.configure(error_codes=True, detail_shape="list")
    response = api.http.request(method, path, **options)
    assert response.json()["error"] == code
    assert isinstance(response.json()["detail"], list)


@pytest.mark.parametrize("kind", ["not_found", "unauthorized", "forbidden", "rate_limit", "server_error"])
def test_errors_of_faults_have_the_same_shape(api: Api, kind: str) -> None:
    api.mosaic.inject(kind)
    assert list(api.get("/agents").json()) == ["detail"]


@pytest.mark.parametrize(
    ("style", "pattern"),
    [
        ("seconds", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("milliseconds", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        ("microseconds", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
        ("offset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+02:00"),
    ],
)
def test_timestamps(api: Api, style: str, pattern: str) -> None:
    api.mosaic.configure(timestamps=style)
    run = api.finished(body=URL)
    for text in (run["started_at"], run["outputs"][0]["completed_at"]):
        assert re.fullmatch(pattern, text)
        assert abs(parse_time(text).timestamp() - time.time()) < 60


def test_clock_skew(api: Api) -> None:
    api.mosaic.configure(clock_skew=3600)
    run_id = api.start(body=URL)
    response = api.get(f"/agent_run/{run_id}")
    for moment in (parse_time(response.json()["started_at"]), parsedate_to_datetime(response.headers["date"])):
        assert 3500 < moment.timestamp() - time.time() < 3700
    query = {"from": datetime.fromtimestamp(time.time() + 1800, timezone.utc).isoformat()}
    assert len(api.get("/agent_runs", params=query).json()["runs"]) == 1


def test_extra_fields(api: Api) -> None:
    api.mosaic.configure(extra_fields=True)
    reserved = api.reserve()
    assert "x_unknown" in reserved
    assert "x_unknown" not in reserved["upload_fields"]
    assert api.store(reserved).status_code == 204
    run = api.finished(body=URL)
    assert "x_unknown" in run["outputs"][0]
    assert "x_unknown" in run["node_status_counts"]


@pytest.mark.parametrize("status", [201, 204])
def test_success_status(api: Api, status: int) -> None:
    api.mosaic.configure(success_status=status, hold_runs=True)
    response = api.post(f"/agent/{api.mosaic.agent_id}/run", URL)
    # The client needs the id, so there is a body.
    assert response.status_code == (201 if status == 201 else 200)
    run_id = response.json()["run_id"]
    for what in ("cancel", "resume"):
        response = api.post(f"/agent_run/{run_id}/{what}")
        assert response.status_code == status
        assert (response.content == b"") == (status == 204)
    assert api.get("/whoami").status_code == 200


def test_unknown_body_fields_can_be_ignored(api: Api) -> None:
    body = {**URL, "priority": "high"}
    assert api.post(f"/agent/{api.mosaic.agent_id}/run", body).status_code == 400
    api.mosaic.configure(unknown_body_fields="ignore")
    assert api.post(f"/agent/{api.mosaic.agent_id}/run", body).status_code == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T10:00:00Z", datetime(2026, 7, 1, 10, tzinfo=timezone.utc)),
        ("2026-07-01T12:00:00.5+02:00", datetime(2026, 7, 1, 10, 0, 0, 500000, tzinfo=timezone.utc)),
        ("2026-07-01T12:00:00 02:00", datetime(2026, 7, 1, 10, tzinfo=timezone.utc)),
        ("2026-07-01T10:00:00.123456789Z", datetime(2026, 7, 1, 10, 0, 0, 123456, tzinfo=timezone.utc)),
        ("2026-07-01", datetime(2026, 7, 1, tzinfo=timezone.utc)),
    ],
)
def test_parse_time(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
