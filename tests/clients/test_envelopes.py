"""A response inside an envelope, or about another run, over both transports."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.posts import Post, get_post
from airflow_provider_mosaic.api.endpoints.runs import Run, get_run, list_runs
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicValidationError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.running_runs import running_runs

from .servers import HostileServer, answer
from .transports import Transport, access_to, paid_call

RUN = {"status": "running", "outputs": [{"id": "out-1", "video_url": "https://cdn.example.org/a.mp4"}]}
POST = {"status": "processing", "description": "Hello"}


@pytest.mark.parametrize(
    "body",
    [
        {"data": RUN},
        {"run": RUN},
        {"agent_run": RUN},
        {"status": "success", "data": RUN},
        {"success": True, "message": "OK", "requestId": "r-1", "meta": {"took": 3}, "data": RUN},
    ],
)
def test_run_is_read_from_an_envelope(transport: Transport, body: Any) -> None:
    with HostileServer(answer(200, body)) as server:
        [run] = transport.send(access_to(server.url), get_run("run-1"))
    assert isinstance(run, Run)
    assert (run.run_id, run.status, run.output_ids) == ("run-1", "running", ["out-1"])


@pytest.mark.parametrize("body", [{"data": POST}, {"post": POST}, {"ok": True, "result": POST}])
def test_post_is_read_from_an_envelope(transport: Transport, body: Any) -> None:
    with HostileServer(answer(200, body)) as server:
        [post] = transport.send(access_to(server.url), get_post("post-1"))
    assert isinstance(post, Post)
    assert (post.post_id, post.status, post.description) == ("post-1", "processing", "Hello")


def test_ids_and_lists_are_read_from_an_envelope(transport: Transport) -> None:
    page = {"data": {"runs": [{"run_id": "run-1", "status": "running"}], "next_cursor": "c"}}
    with HostileServer(answer(201, {"success": True, "data": {"run_id": "run-1"}})) as server:
        assert transport.send(access_to(server.url), paid_call()) == ["run-1"]
    with HostileServer(answer(200, page)) as server:
        [runs] = transport.send(access_to(server.url), list_runs().page(None))
        [rows] = transport.send(access_to(server.url), running_runs())
    assert [run.run_id for run in runs.items] == [row.run_id for row in rows.items] == ["run-1"]
    assert runs.next_cursor == rows.next_cursor == "c"


def test_refusal_inside_an_envelope_is_a_refusal(transport: Transport) -> None:
    body = {"data": {"success": False, "detail": "No such tile."}}
    with HostileServer(answer(200, body)) as server, pytest.raises(MosaicValidationError, match="No such tile"):
        transport.send(access_to(server.url), paid_call(), retries=ONCE)


def test_fields_beside_the_documented_ones_are_no_envelope(transport: Transport) -> None:
    with HostileServer(answer(200, {**RUN, "data": {"status": "failed"}, "agent_id": "a"})) as server:
        [run] = transport.send(access_to(server.url), get_run("run-1"))
    assert isinstance(run, Run)
    assert run.status == "running"


@pytest.mark.parametrize("envelope", [False, True])
def test_response_about_another_run_is_not_used(transport: Transport, envelope: bool) -> None:
    body = {"run_id": "run-2", "status": "completed"}
    with (
        HostileServer(answer(200, {"data": body} if envelope else body)) as server,
        pytest.raises(MosaicResponseError, match="that of another run: 'run-2'"),
    ):
        transport.send(access_to(server.url), get_run("run-1"), retries=ONCE)


def test_the_same_id_in_another_spelling_is_used(transport: Transport) -> None:
    uuid = "7d1f0c3e-3a52-4f0e-9d6c-5b2a9be8a001"
    for requested, id in (("run-1", "RUN-1"), ("run-1", 7), ("run-1", None), (uuid.replace("-", ""), uuid)):
        with HostileServer(answer(200, {"run_id": id, "status": "running"})) as server:
            [run] = transport.send(access_to(server.url), get_run(requested))
        assert isinstance(run, Run)
        assert run.run_id == requested
