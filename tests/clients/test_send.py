from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_mosaic.api.access import USER_AGENT, Access
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.agents import delete_agent, duplicate_agent
from airflow_provider_mosaic.api.endpoints.assets import finalize_upload
from airflow_provider_mosaic.api.endpoints.posts import create_post, delete_post
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run, resume_run
from airflow_provider_mosaic.api.endpoints.social_connections import delete_social_connection
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.sync_client import send_with_deadline

from .servers import HostileServer, Reply, answer, cut_short, hang_up, late, reset, silence, trickle, trickled_head
from .transports import KEY, SHORT, Transport, access_to, paid_call

STARTED = {"run_id": "run-1"}
HTML = b"<!DOCTYPE html><html><title>Bad Gateway</title></html>"

pytestmark = pytest.mark.usefixtures("no_collection")

#: After these it is unknown whether a run was started.
UNKNOWN: dict[str, Reply] = {
    "no response in time": silence,
    "a reset": reset,
    "a connection that is closed": hang_up,
    "408": answer(408, {"detail": "too slow"}),
    "408 with Retry-After": answer(408, {"detail": "too slow"}, Retry_After="1"),
    "460": answer(460),
    "499": answer(499, HTML),
    "500": answer(500, {"detail": "oops", "error": "internal_server_error"}),
    "500 with Retry-After": answer(500, {"detail": "oops"}, Retry_After="1"),
    "502 as HTML": answer(502, HTML),
    "503": answer(503, HTML),
    "503 with a Retry-After that says nothing": answer(503, {"detail": "busy"}, Retry_After="soon"),
    # As Varnish sends it, also if the server behind it received the request.
    "503 with Retry-After as HTML": answer(503, HTML, Retry_After="5"),
    "504": answer(504, b"upstream timed out"),
    "200 with HTML": answer(200, HTML),
    "200 with JSON that is cut": answer(200, b'{"run_id": "ru'),
    "200 with a body that breaks off": cut_short(STARTED),
    "200 with nothing": answer(200),
    "200 with JSON too deep to read": answer(200, b"[" * 100_000),
    "200 with another list": answer(200, [STARTED]),
    "200 without the run's id": answer(200, {"success": True}),
    "204": answer(204),
    "303 to the result": answer(303, Location="/agent_run/run-1"),
    "302 to the result": answer(302, Location="/agent_run/run-1?new=1"),
    "302 to the result on another host": answer(302, Location="https://app.example.org/agents/a/runs/run-1/"),
}
#: After these no run was started.
REJECTED: dict[str, Reply] = {
    "429": answer(429, {"detail": "slow down", "error": "rate_limit"}),
    "429 with a number": answer(429, {"detail": "slow down"}, Retry_After="3"),
    "429 with a date": answer(
        429, HTML, Retry_After=format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90))
    ),
    "425": answer(425),
    "503 with a number": answer(503, {"detail": "busy"}, Retry_After="3"),
    "503 with a date": answer(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
}
#: Unknown outcomes that are transient: a safe call is retried.
TRANSIENT = {
    name: reply
    for name, reply in UNKNOWN.items()
    if name not in ("200 with another list", "200 without the run's id") and "to the result" not in name
}
SAFE_GOOD = answer(200, {"status": "running"})


def timeout_for(reply: Reply) -> float:
    """Return a timeout that only a server without a response exceeds."""
    return SHORT if reply is silence else 20.0


@pytest.mark.parametrize("fault", UNKNOWN)
def test_start_with_unknown_outcome_is_sent_once(transport: Transport, fault: str) -> None:
    reply = UNKNOWN[fault]
    with (
        HostileServer(reply, answer(200, STARTED)) as server,
        pytest.raises(MosaicAmbiguousOutcomeError) as caught,
    ):
        transport.send(access_to(server.url, timeout=timeout_for(reply)), paid_call())
    assert (server.count, transport.pauses) == (1, [])
    message = str(caught.value)
    assert "start a run of agent 'agent-1'" in message
    assert "not sent again" in message
    assert (caught.value.method, caught.value.path) == ("POST", "/agent/{agent_id}/run")
    assert isinstance(caught.value.__cause__, MosaicError)
    assert "hush" not in message


#: After these the run was most likely started: a status of success came from the API, not from a proxy.
ACCEPTED = {
    "200 with JSON that is cut",
    "200 with a body that breaks off",
    "200 with nothing",
    "200 with JSON too deep to read",
    "200 with another list",
    "200 without the run's id",
    "204",
    "303 to the result",
    "302 to the result",
    "302 to the result on another host",
}


@pytest.mark.parametrize("fault", [*UNKNOWN, "200 with 2 MiB"])
def test_status_of_success_is_reported_with_an_unknown_outcome(transport: Transport, fault: str) -> None:
    reply = UNKNOWN[fault] if fault in UNKNOWN else answer(200, b" " * 2 * 1024 * 1024)
    with HostileServer(reply) as server, pytest.raises(MosaicAmbiguousOutcomeError) as caught:
        transport.send(access_to(server.url, timeout=timeout_for(reply)), paid_call())
    assert caught.value.accepted is (fault in ACCEPTED or fault not in UNKNOWN)


POST = create_post("Premiere", platforms=["x", "linkedin"], media_urls="https://example.org/a.mp4")
#: Bodies of an error that show an effect, each with its call and the ids in it.
EFFECTS: dict[str, tuple[Call[Any], Any, tuple[str, ...]]] = {
    "a run's id": (paid_call(), {"detail": "Late", "run_id": "run-1"}, ("run-1",)),
    "a run's id in the error": (paid_call(), {"error": {"code": "late", "runId": "run-1"}}, ("run-1",)),
    "a run": (paid_call(), {"detail": "Late", "run": {"id": "run-1"}}, ("run-1",)),
    "a post's id": (POST, {"detail": "Late", "post_id": 7}, ("7",)),
    "a post's id and a result": (
        POST,
        {
            "detail": "1 of 2 destinations failed",
            "post_id": "post-1",
            "results": [
                {"platform": "linkedin", "post_url": "https://linkedin.com/p/1"},
                {"platform": "x", "status": "failed"},
            ],
        },
        ("post-1",),
    ),
    "an address": (POST, {"results": [{"platform": "x", "post_url": "https://x.com/1"}]}, ()),
    "a state": (POST, {"detail": {"accounts": [{"id": "A", "status": "posted"}, {"id": "B", "status": "failed"}]}}, ()),
    "a flag": (POST, {"error": {"results": [{"platform": "x", "success": True}]}}, ()),
    "a list with places": (POST, {"detail": [{"platform": "x", "status": "published"}]}, ()),
    "a status": (POST, {"detail": "1 of 2 destinations failed", "status": "partial_failure"}, ()),
}


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (body, status, {"Retry_After": "3"} if status == 503 else {})
        for body, (_, content, ids) in EFFECTS.items()
        for status in (400, 425, 429, 500, 503)
        # In a 429, an id alone is that of what prevented the request.
        if status != 429 or not ids or "results" in content
    ],
    ids=str,
)
def test_error_that_shows_an_effect_is_an_unknown_outcome(
    transport: Transport, body: str, status: int, headers: dict[str, str]
) -> None:
    call, content, ids = EFFECTS[body]
    with HostileServer(answer(status, content, **headers)) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError) as caught:
            transport.send(access_to(server.url), call)
        assert (server.count, transport.pauses) == (1, [])
    assert (caught.value.candidates, caught.value.accepted, caught.value.status) == (ids, True, status)
    assert "Nothing was done" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "status", "body"),
    [
        # The run or the post that exists already.
        (paid_call(), 409, {"detail": "A run is active", "run_id": "run-0"}),
        (POST, 409, {"detail": "Duplicate", "post_id": "post-0"}),
        # The runs that are active, and counts of posts.
        (paid_call(), 429, {"error": "concurrent_agent_limit", "run_id": "run-0"}),
        (paid_call(), 403, {"error": "concurrent_agent_limit", "active_runs": [{"run_id": "run-0"}]}),
        (POST, 429, {"error": "rate_limit", "limits": [{"platform": "tiktok", "posted": 25, "limit": 25}]}),
        # Ids of the request and of the error, and the request itself.
        (paid_call(), 400, {"detail": "No", "request_id": "r", "id": "e", "agent_id": "agent-1", "run_id": None}),
        (duplicate_agent("agent-1"), 400, {"detail": "No", "agent_id": "agent-1"}),
        (POST, 400, {"detail": [{"loc": ["body", "post"], "url": "https://errors.example/1", "input": POST.body}]}),
        (POST, 400, {"type": "https://errors.example/1", "status": "400", "errors": {"post": "No"}, "success": False}),
        (POST, 422, {"destinations": [{"social_connection_id": "A", "status": "failed", "reauth_url": "https://x/"}]}),
        (POST, 403, {"errors": [{"platform": "x", "status": "error", "url": "https://errors.example/1"}]}),
        (POST, 400, {"violations": [{"platform": "x", "type": "https://errors.example/1", "docs_url": "https://x/"}]}),
        (POST, 400, {"connections": [{"platform": "x", "status": "ok"}]}),
    ],
)
def test_error_without_a_new_id_had_no_effect(transport: Transport, call: Call[Any], status: int, body: Any) -> None:
    with HostileServer(answer(status, body)) as server, pytest.raises(MosaicError) as caught:
        transport.send(access_to(server.url), call)
    assert (caught.value.status, caught.value.effect_unknown) == (status, False)


@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_responses_are_skipped(transport: Transport, status: int) -> None:
    final = answer(200, STARTED)

    def reply(connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 {status} Interim\r\nLink: </a>\r\n\r\n".encode() * 2)
        return final(connection)

    with HostileServer(reply) as server:
        assert transport.send(access_to(server.url), paid_call()) == ["run-1"]
        assert server.count == 1


@pytest.mark.parametrize(
    "call",
    [
        resume_run("run-1"),
        create_post("Premiere", platforms=["x"], media_urls=["https://cdn.example.org/a.mp4?sig=hush"]),
    ],
    ids=["resume", "post"],
)
def test_paid_and_public_calls_are_sent_once(transport: Transport, call: Call[object]) -> None:
    with HostileServer(reset) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError):
            transport.send(access_to(server.url), call)
        assert server.count == 1


DELETIONS = [delete_post("p"), delete_social_connection("c"), delete_agent("a")]


@pytest.mark.parametrize("call", DELETIONS, ids=lambda call: call.path)
@pytest.mark.parametrize("lost", [answer(504, HTML), reset, silence])
def test_deletion_whose_response_was_lost_may_be_done(transport: Transport, call: Call[None], lost: Reply) -> None:
    with HostileServer(lost, answer(404, {"detail": "Not found"})) as server:
        with pytest.raises(MosaicNotFoundError, match="whose response was lost, may have deleted it") as caught:
            transport.send(access_to(server.url, timeout=timeout_for(lost)), call)
        # On a slow machine, the second request may be late too.
        assert server.count == 2 or lost is silence
    assert "organization that owns it" not in str(caught.value)


@pytest.mark.parametrize("replies", [[answer(404)], [answer(429, Retry_After="1"), answer(404)]])
def test_deletion_of_what_does_not_exist_fails(transport: Transport, replies: list[Reply]) -> None:
    with HostileServer(*replies) as server, pytest.raises(MosaicNotFoundError):
        transport.send(access_to(server.url), delete_post("p"))


def test_read_of_what_does_not_exist_fails_after_a_lost_response(transport: Transport) -> None:
    with HostileServer(answer(504, HTML), answer(404)) as server, pytest.raises(MosaicNotFoundError):
        transport.send(access_to(server.url), get_run("run-1"))


@pytest.mark.parametrize("fault", REJECTED)
def test_rejected_start_is_retried(transport: Transport, fault: str) -> None:
    with HostileServer(REJECTED[fault], answer(200, STARTED)) as server:
        assert transport.send(access_to(server.url), paid_call()) == ["run-1"]
        assert server.count == 2
        assert transport.pauses
        assert server.seen[0] == server.seen[1]


@pytest.mark.parametrize(
    ("fault", "least", "most"), [("429 with a number", 3, 4), ("503 with a number", 3, 4), ("429 with a date", 80, 92)]
)
def test_retry_after_sets_the_pause(transport: Transport, fault: str, least: float, most: float) -> None:
    # The date in REJECTED may be over on a slow machine.
    fresh = {
        "429 with a date": answer(
            429, None, Retry_After=format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90))
        )
    }
    with HostileServer(fresh.get(fault, REJECTED[fault]), answer(200, STARTED)) as server:
        transport.send(access_to(server.url), paid_call())
    assert least <= sum(transport.pauses) <= most


def test_start_is_retried_if_the_server_is_unreachable(transport: Transport) -> None:
    with ExitStack() as stack:
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        servers: list[HostileServer] = []

        def open_up() -> None:
            servers.append(stack.enter_context(HostileServer(answer(200, STARTED), port=port)))

        transport.on_pause = open_up
        assert transport.send(access_to(f"http://127.0.0.1:{port}"), paid_call()) == ["run-1"]
        assert servers[0].count == 1


def test_unknown_host_is_retried_without_effect(transport: Transport) -> None:
    # Names under .invalid never resolve (https://www.rfc-editor.org/rfc/rfc6761).
    with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
        transport.send(
            access_to("http://mosaic.invalid", allow_http=True), paid_call(), retries=RetryPolicy(attempts=3)
        )
    # Two pauses: of one second and of two, by as much as half shorter. The pauses of workers come in parts.
    assert 1.5 <= sum(transport.pauses) <= 3.0
    assert not caught.value.effect_unknown


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """Return a port of this machine where connecting hangs."""
    with ExitStack() as stack:
        # The backlog is full, and no connection is accepted.
        full = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=0))
        port: int = full.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def test_connect_timeout_has_no_effect(transport: Transport, hanging_port: int) -> None:
    access = access_to(f"http://127.0.0.1:{hanging_port}", connect_timeout=SHORT)
    with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
        transport.send(access, paid_call(patience=600.0), retries=RetryPolicy(attempts=2))
    assert (len(transport.pauses), caught.value.effect_unknown) == (1, False)
    assert "ancelled" not in str(caught.value)


def test_host_with_many_addresses_times_out(
    transport: Transport, hanging_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("many.test", b"many.test"):
            return real(host, *args, **kwargs)
        addresses = [(f"127.0.0.{number}", hanging_port) for number in range(1, 101)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    access = access_to(f"http://many.test:{hanging_port}", connect_timeout=SHORT, timeout=SHORT, allow_http=True)
    started = time.monotonic()
    with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
        transport.send(access, paid_call(), retries=ONCE)
    assert not caught.value.effect_unknown
    # With the whole timeout for each of them it takes half a minute.
    assert time.monotonic() - started < 20


def test_host_whose_ipv6_addresses_lead_nowhere_is_reached(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    with HostileServer(answer(200, {"run_id": "run-1"})) as server:

        def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in ("both.test", b"both.test"):
                return real(host, *args, **kwargs)
            # Of the prefix that routers discard (https://www.rfc-editor.org/rfc/rfc6666).
            discarded = [(f"100::{number}", server.port, 0, 0) for number in range(1, 9)]
            return [
                *((socket.AF_INET6, socket.SOCK_STREAM, 6, "", address) for address in discarded),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
            ]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        access = access_to(f"http://both.test:{server.port}", connect_timeout=3.0, allow_http=True)
        assert transport.send(access, paid_call(), retries=ONCE) == ["run-1"]


@pytest.mark.parametrize("fault", [*REJECTED, *TRANSIENT])
def test_safe_calls_are_retried(transport: Transport, fault: str) -> None:
    reply = {**REJECTED, **TRANSIENT}[fault]
    with HostileServer(reply, reply, SAFE_GOOD) as server:
        [run] = transport.send(access_to(server.url, timeout=timeout_for(reply)), get_run("run-1"))
        assert run.status == "running"
        # On a slow machine, the third request may be late too.
        assert (server.count, len(transport.pauses)) == (3, 2) or reply is silence


def test_cancel_and_finalize_are_retried(transport: Transport) -> None:
    with HostileServer(
        answer(500), answer(200, {"success": True}), hang_up, answer(200, {"video_id": "video-1"})
    ) as server:
        transport.send(access_to(server.url), cancel_run("run-1"))
        assert transport.send(access_to(server.url), finalize_upload(AssetType.VIDEO, "video-1")) == ["video-1"]
        assert server.count == 4


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(500, {"detail": "oops"}), MosaicServerError),
        (answer(429), MosaicRateLimitError),
        (hang_up, MosaicTransportError),
        (answer(200, HTML), MosaicResponseError),
    ],
    ids=["500", "429", "a closed connection", "HTML"],
)
def test_retries_end(transport: Transport, reply: Reply, kind: type[MosaicError]) -> None:
    with HostileServer(reply) as server:
        with pytest.raises(kind):
            transport.send(access_to(server.url), whoami(), retries=RetryPolicy(attempts=4))
        assert (server.count, len(transport.pauses)) == (4, 3)


@pytest.mark.parametrize("call", [whoami(), paid_call()], ids=["safe", "paid"])
def test_retry_after_beyond_the_budget_ends_the_retries(transport: Transport, call: Call[object]) -> None:
    with HostileServer(answer(429, {"detail": "tomorrow"}, Retry_After="86400")) as server:
        with pytest.raises(MosaicRateLimitError, match="tomorrow") as caught:
            transport.send(access_to(server.url), call, retries=RetryPolicy(budget=60.0))
        assert (server.count, transport.pauses, caught.value.retry_after) == (1, [], 86400.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422])
def test_permanent_errors_are_not_retried(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, {"detail": "no"}, Retry_After="1")) as server:
        calls: list[Call[Any]] = [whoami(), paid_call()]
        for call in calls:
            with pytest.raises(MosaicError, match="no") as caught:
                transport.send(access_to(server.url), call)
            assert (caught.value.status, caught.value.effect_unknown) == (status, False)
        assert (server.count, transport.pauses) == (2, [])


def test_missing_field_is_not_retried(transport: Transport) -> None:
    with HostileServer(answer(200, {"agent_id": "agent-1"})) as server:
        with pytest.raises(MosaicResponseError, match="'status' is missing"):
            transport.send(access_to(server.url), get_run("run-1"))
        assert server.count == 1


def test_single_attempt_sends_one_request(transport: Transport) -> None:
    with HostileServer(answer(500)) as server:
        with pytest.raises(MosaicServerError):
            transport.send(access_to(server.url), whoami(), retries=ONCE)
        assert server.count == 1


def test_payments_are_never_retried(transport: Transport) -> None:
    buy: Call[object] = Call(
        description="buy", method="POST", path="/plan/upgrade", read=lambda data: data, retry_safety=RetrySafety.NEVER
    )
    with HostileServer(answer(429, {"detail": "slow down"}, Retry_After="0")) as server:
        with pytest.raises(MosaicRateLimitError):
            transport.send(access_to(server.url), buy)
        assert server.count == 1


def test_request_headers_and_body(transport: Transport) -> None:
    with HostileServer(answer(200, STARTED)) as server:
        access = Access(api_key=KEY, base_url=server.url, workspace_id="workspace-1")
        transport.send(access, paid_call())
        [request] = server.seen
    assert (request.method, request.target) == ("POST", "/agent/agent-1/run")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-workspace-id"] == "workspace-1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith(USER_AGENT)
    assert request.headers["host"] == f"127.0.0.1:{access.base_url.rpartition(':')[2]}"
    assert request.body == b'{"video_urls": ["https://cdn.example.org/a.mp4?X-Goog-Signature=hush"]}'


def test_call_without_body_sends_none(transport: Transport) -> None:
    with HostileServer(answer(200, {"success": True})) as server:
        transport.send(access_to(server.url), cancel_run("a:ü"))
        [request] = server.seen
    assert (request.target, request.body) == ("/agent_run/a%3A%C3%BC/cancel", b"")
    assert "content-type" not in request.headers


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_2xx_is_success(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, STARTED)) as server:
        assert transport.send(access_to(server.url), paid_call()) == ["run-1"]


def test_204_is_success_for_a_cancel(transport: Transport) -> None:
    with HostileServer(answer(204)) as server:
        [cancelled] = transport.send(access_to(server.url), cancel_run("run-1"))
    assert cancelled.run_id is None


def test_calls_share_a_connection(transport: Transport) -> None:
    held: set[int] = set()

    def by_connection(connection: socket.socket) -> bool:
        held.add(connection.getpeername()[1])
        return answer(200, {})(connection)

    with HostileServer(by_connection) as server:
        transport.send(access_to(server.url), whoami(), whoami(), whoami())
        assert (server.count, len(held)) == (3, 1)


# Timeouts


def test_silent_server_times_out(transport: Transport) -> None:
    with HostileServer(silence) as server, pytest.raises(MosaicTransportError, match="no response came in time"):
        transport.send(access_to(server.url, timeout=SHORT), whoami(), retries=ONCE)


def test_slow_calls_have_a_longer_timeout(transport: Transport) -> None:
    with HostileServer(late(2 * SHORT, answer(200, STARTED))) as server:
        assert transport.send(access_to(server.url, timeout=SHORT / 3), paid_call(patience=20.0)) == ["run-1"]


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_reads_follow_redirects_on_the_same_host(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, Location="/moved?to=here"), answer(200, {})) as server:
        transport.send(access_to(server.url), whoami())
        assert [(seen.method, seen.target) for seen in server.seen] == [("GET", "/whoami"), ("GET", "/moved?to=here")]
        assert server.seen[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [307, 308])
def test_start_follows_redirects_that_keep_the_request(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, Location="/agent/moved/run"), answer(200, STARTED)) as server:
        assert transport.send(access_to(server.url), paid_call()) == ["run-1"]
        assert [(seen.method, seen.target) for seen in server.seen] == [
            ("POST", "/agent/agent-1/run"),
            ("POST", "/agent/moved/run"),
        ]
        assert server.seen[0].body == server.seen[1].body != b""


@pytest.mark.parametrize("status", [301, 302])
def test_start_does_not_follow_redirects_that_change_the_method(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, Location="/elsewhere"), answer(200, STARTED)) as server:
        with pytest.raises(MosaicResponseError, match="Check the connection's host"):
            transport.send(access_to(server.url), paid_call())
        assert server.count == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [whoami(), cancel_run("run-1")], ids=["GET", "POST"])
def test_redirect_to_another_port_is_not_followed(transport: Transport, status: int, call: Call[object]) -> None:
    with HostileServer(answer(200, {})) as other:
        for place in (f"{other.url}/whoami", f"//127.0.0.1:{other.port}/", f"http://localhost:{other.port}/"):
            with HostileServer(answer(status, Location=place)) as server:
                with pytest.raises(MosaicResponseError, match="not sent to"):
                    transport.send(access_to(server.url), call)
                assert server.count == 1
        assert other.seen == []


def test_redirect_without_location_fails(transport: Transport) -> None:
    with HostileServer(answer(302)) as server, pytest.raises(MosaicResponseError):
        transport.send(access_to(server.url), whoami())


def test_invalid_redirect_is_not_retried(transport: Transport) -> None:
    with HostileServer(answer(302, Location="http://127.0.0.1:99999/")) as server:
        with pytest.raises(MosaicError):
            transport.send(access_to(server.url), whoami())
        assert server.count == 1


def test_404_raises_not_found(transport: Transport) -> None:
    pattern = r"Could not read run 'run-1'.*No such run.*Check the id"
    with (
        HostileServer(answer(404, {"detail": "No such run"})) as server,
        pytest.raises(MosaicNotFoundError, match=pattern),
    ):
        transport.send(access_to(server.url), get_run("run-1"))


def test_invalid_argument_sends_nothing(transport: Transport) -> None:
    with HostileServer(answer(200, STARTED)) as server:
        with pytest.raises(MosaicValidationError):
            transport.send(access_to(server.url), get_run("{{ run_id }}"))
        assert server.count == 0


@pytest.mark.parametrize("reply", [silence, trickle(0.02), trickled_head], ids=["silence", "a body", "a head"])
def test_send_with_deadline_ends_in_time(reply: Reply) -> None:
    with HostileServer(reply) as server, pytest.raises(MosaicTransportError, match="no response came in time"):
        send_with_deadline(0.3, access_to(server.url), whoami())


def test_send_with_deadline_returns_or_raises() -> None:
    good = answer(200, {"organization_id": "o", "organization_name": "N", "organization_slug": "n"})
    with HostileServer(good, answer(401, {"detail": "no"}), answer(500)) as server:
        assert send_with_deadline(10.0, access_to(server.url), whoami()).name == "N"
        with pytest.raises(MosaicAuthenticationError):
            send_with_deadline(10.0, access_to(server.url), whoami())
        with pytest.raises(MosaicServerError):
            send_with_deadline(10.0, access_to(server.url), whoami())
        assert server.count == 3
