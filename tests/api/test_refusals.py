"""Which bodies of a 2xx response refuse a call, and which fields of them are signs of an effect."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import update_agent
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run, start_run
from airflow_provider_mosaic.api.refusals import Refusal, find_refusal

RUN = "7d1f0c3e-3a52-4f0e-9d6c-5b2a9be8a001"
OUR_FILE = "https://s.example/a.mp4"
START = start_run("a", video_urls=[OUR_FILE])


def refusal(call: Call[Any], body: Any) -> Refusal:
    found = find_refusal(call, body)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("call", "body"),
    [
        # They have other fields than a refusal.
        (get_run("r"), {"success": False, "name": "x"}),
        (get_run("r"), {"error": "ffmpeg failed", "outputs": ["o"]}),
        # The status of the run itself.
        (cancel_run("r"), {"run_id": "r", "status": "failed"}),
        (cancel_run(RUN.upper()), {"run_id": RUN, "status": "failed"}),
        (START, {"error": "none", "run_id": "r-1"}),
        # A number in a detail may be any number.
        (START, {"detail": {"code": 404, "status": 500}, "run_id": "r-1"}),
    ],
)
def test_a_body_that_does_not_refuse(call: Call[Any], body: Any) -> None:
    assert find_refusal(call, body) is None


@pytest.mark.parametrize(
    ("call", "body", "evidence"),
    [
        (get_run("r"), {"success": False, "message": "no"}, "'success' is false"),
        (cancel_run("r"), {"status": 404, "message": "no"}, "'status' is 404"),
        (cancel_run("r"), {"error": "no"}, "'error' is set"),
        (cancel_run("r"), {"detail": {"code": "forbidden"}}, "its body has an error code"),
        (cancel_run("r"), {"errors": ["no"]}, "'errors' is not empty"),
        # No status of a run.
        (cancel_run("r"), {"run_id": "r", "status": "denied"}, "'status' is 'denied'"),
        # An agent has no status of its own.
        (update_agent("a", name="x"), {"agent_id": "a", "status": "failed"}, "'status' is 'failed'"),
    ],
)
def test_the_evidence(call: Call[Any], body: Any, evidence: str) -> None:
    assert refusal(call, body).evidence == evidence


@pytest.mark.parametrize(
    ("body", "reason", "code"),
    [
        ({"success": False, "error": True, "title": "no"}, "no", None),
        ({"success": False, "detail": "first", "error": "second"}, "first", None),
        ({"error": {"status": 402}}, {"status": 402}, 402),
        ({"error": {"type": "insufficient_credits"}}, {"type": "insufficient_credits"}, 402),
        ({"error": "rate_limit"}, "rate_limit", 429),
        ({"detail": {"error": "insufficient_credits"}}, {"error": "insufficient_credits"}, 402),
        ({"error": "forbidden", "code": "insufficient_credits"}, "forbidden", 402),
    ],
)
def test_the_reason_and_the_code(body: Any, reason: Any, code: int | None) -> None:
    found = refusal(START, body)
    assert (found.reason, found.code) == (reason, code)


@pytest.mark.parametrize(
    ("field", "value", "is_sign"),
    [
        ("ok", True, True),
        ("ok", False, False),
        ("status", "queued", True),
        ("status", "failed", False),
        ("nodes_queued", 2, True),
        ("nodes_queued", 0, False),
        ("output_url", "https://s.example/b.mp4", True),
        ("output_url", OUR_FILE, False),
        ("output_url", "", False),
        ("output_url", True, False),
        ("docs_url", "https://docs.example/", False),
        ("note", "x", False),
    ],
)
def test_a_sign_of_an_effect(field: str, value: Any, is_sign: bool) -> None:
    assert refusal(START, {"success": False, field: value}).signs == ((field,) if is_sign else ())


@pytest.mark.parametrize(
    ("field", "value", "ids"),
    [
        ("run_id", "r-1", ("r-1",)),
        ("run_ids", ["r-1", "a", "r-2"], ("r-1", "r-2")),
        ("id", 5, ("5",)),
        # The agent that was named, and values that are no ids.
        ("run_id", "a", ()),
        ("run_id", "null", ()),
        ("run_id", 0, ()),
        ("run_id", True, ()),
        ("trace_id", "t-1", ()),
        # The id of the error.
        ("error", {"id": "e-1"}, ()),
        ("error", {"run_id": "r-1"}, ("r-1",)),
    ],
)
def test_a_new_id(field: str, value: Any, ids: tuple[str, ...]) -> None:
    assert refusal(START, {"success": False, field: value}).ids == ids
