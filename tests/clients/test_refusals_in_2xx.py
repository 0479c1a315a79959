"""A 2xx whose body reports a refusal raises. A contradictory 2xx is an unknown outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.agents import create_agent, delete_agent, duplicate_agent, update_agent
from airflow_provider_mosaic.api.endpoints.assets import AssetType, finalize_upload, start_upload
from airflow_provider_mosaic.api.endpoints.avatars import create_avatar_profile, get_avatar_profile
from airflow_provider_mosaic.api.endpoints.billing import get_credits, set_auto_topup, upgrade_plan
from airflow_provider_mosaic.api.endpoints.posts import create_post, delete_post, get_post, update_post
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run, list_runs, resume_run
from airflow_provider_mosaic.api.endpoints.social_connections import create_connect_link, delete_social_connection
from airflow_provider_mosaic.api.endpoints.triggers import add_youtube_channels, remove_youtube_channels
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import finalize

from .servers import HostileServer, answer
from .transports import KEY, Transport, access_to, paid_call

RUN, POST, AGENT = "run-1", "post-1", "agent-1"


def post() -> Call[Any]:
    return create_post("Premiere", platforms=["x"])


#: Calls that create something, with the field of its id.
MAKING: dict[str, tuple[Call[Any], str]] = {
    "start": (paid_call(), "run_id"),
    "post": (post(), "post_id"),
    "agent": (create_agent(name="Shorts"), "agent_id"),
    "copy": (duplicate_agent(AGENT), "id"),
    "avatar": (create_avatar_profile("Host", video_url="https://cdn.example.org/a.mp4"), "id"),
}
#: Calls that change something.
CHANGING: dict[str, Call[Any]] = {
    "cancel": cancel_run(RUN),
    "resume": resume_run(RUN),
    "update agent": update_agent(AGENT, name="New"),
    "delete agent": delete_agent(AGENT),
    "finalize": finalize_upload(AssetType.VIDEO, "video-1"),
    "start upload": start_upload(AssetType.VIDEO),
    "add channels": add_youtube_channels(AGENT, "UCaaaaaaaaaaaaaaaaaaaaaa"),
    "remove channels": remove_youtube_channels(AGENT, "UCaaaaaaaaaaaaaaaaaaaaaa"),
    "upgrade": upgrade_plan("creator"),
    "top-up": set_auto_topup(enabled=False),
    "change post": update_post(POST, approve=True),
    "delete post": delete_post(POST),
    "delete connection": delete_social_connection("account-1"),
    "connect": create_connect_link("x"),
}
EVERY = {**{name: call for name, (call, _) in MAKING.items()}, **CHANGING}
NOS: dict[str, Any] = {
    "success": {"success": False, "detail": "The clip is too long"},
    "success, with the id that was sent": {
        "success": False, "agent_id": AGENT, "post_id": None, "run_id": None, "message": "The clip is too long",
    },
    "ok": {"ok": False, "error": "The clip is too long"},
    "a text": {"success": "false", "error_description": "The clip is too long"},
    "a number": {"success": 0, "message": "The clip is too long"},
    "a number as a text": {"ok": "0", "message": "The clip is too long"},
    "another case": {"Success": False, "message": "The clip is too long"},
    "error as an object": {"error": {"message": "The clip is too long"}},
    "error as a text": {"error": "The clip is too long"},
    "error beside a message": {"error": True, "message": "The clip is too long"},
    "errors": {"errors": [{"message": "The clip is too long"}]},
    "status": {"post_id": None, "status": "error", "error": {"message": "The clip is too long"}},
    "status alone": {"status": "failed", "detail": "The clip is too long"},
    "a problem document": {"type": "about:blank", "title": "Too long", "status": 400, "detail": "The clip is too long"},
    "a price": {"error": "The clip is too long", "minimum_required_credits": 12, "current_balance": 3},
    "a request's id": {"success": False, "detail": "The clip is too long", "request_id": "req-7", "data": None},
}  # fmt: skip


@pytest.mark.parametrize("no", NOS)
@pytest.mark.parametrize("name", EVERY)
def test_2xx_refusal_raises_with_its_message(transport: Transport, name: str, no: str) -> None:
    # Creating an agent sends no agent_id.
    body = {field: value for field, value in NOS[no].items() if (name, field) != ("agent", "agent_id")}
    with HostileServer(answer(200, body)) as server:
        with pytest.raises(MosaicValidationError, match="The clip is too long") as caught:
            transport.send(access_to(server.url), EVERY[name])
        assert (server.count, transport.pauses) == (1, [])
    error = caught.value
    assert (error.status, error.detail) == (200, "The clip is too long")
    assert (error.effect_unknown, error.transient) == (False, False)
    assert EVERY[name].description in str(error)


@pytest.mark.parametrize("name", EVERY)
def test_bare_false_is_a_refusal(transport: Transport, name: str) -> None:
    with (
        HostileServer(answer(200, False)) as server,
        pytest.raises(MosaicValidationError, match="its body is false, and no reason is given") as caught,
    ):
        transport.send(access_to(server.url), EVERY[name])
    assert (caught.value.effect_unknown, caught.value.transient) == (False, False)


@pytest.mark.parametrize("body", [{"success": 1, "error": "none"}, {"ok": "1"}, {}, []])
@pytest.mark.parametrize("name", ["cancel", "resume", "delete post", "remove channels"])
def test_success_as_a_number_is_no_refusal(transport: Transport, name: str, body: Any) -> None:
    with HostileServer(answer(200, body)) as server:
        transport.send(access_to(server.url), CHANGING[name])


def test_2xx_refusal_without_message(transport: Transport) -> None:
    with (
        HostileServer(answer(200, {"success": False})) as server,
        pytest.raises(MosaicValidationError, match="'success' is false, and no reason is given"),
    ):
        transport.send(access_to(server.url), paid_call())


def test_refusal_message_is_bounded_and_redacted(transport: Transport) -> None:
    text = f"Bearer {KEY} https://cdn.example.org/a.mp4?X-Goog-Signature=hush \x1b[31m" + "z" * 100_000
    no = answer(200, {"success": False, "detail": text})
    with HostileServer(no) as server, pytest.raises(MosaicValidationError) as caught:
        transport.send(access_to(server.url), paid_call())
    message = str(caught.value)
    assert len(message) < 1500
    assert KEY not in message
    assert "hush" not in message
    assert "\x1b" not in message


#: Contradictory bodies: something may have been created.
UNCLEAR: dict[str, Callable[[str], Any]] = {
    "an id": lambda key: {"success": False, key: "made-1", "detail": "Too late"},
    "an id and an error": lambda key: {key: "made-1", "status": "error", "error": {"message": "Too late"}},
    "an id deeper": lambda key: {"success": False, "data": {key: "made-1"}},
    "an id below another level": lambda key: {"data": {"success": False, key: "made-1"}},
    "its name": lambda key: {"success": False, key.removesuffix("_id"): "made-1", "detail": "Too late"},
    "a yes beside it": lambda key: {"success": True, "error": "Too late"},
    "a good status": lambda key: {"success": False, "status": "processing"},
    "a fault of the server": lambda key: {"success": False, "error": "internal_server_error"},
    "a fault by its number": lambda key: {"error": {"code": 504, "message": "Too late"}},
    "a link to it": lambda key: {"error": "Too late", "results": [{"platform": "x", "post_url": "https://x.com/1"}]},
    "nothing said": lambda key: {"detail": "Too late"},
}


@pytest.mark.parametrize("shape", UNCLEAR)
@pytest.mark.parametrize("name", MAKING)
def test_contradictory_2xx_is_an_unknown_outcome(transport: Transport, name: str, shape: str) -> None:
    call, key = MAKING[name]
    with HostileServer(answer(200, UNCLEAR[shape](key))) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError, match="not sent again") as caught:
            transport.send(access_to(server.url), call)
        assert server.count == 1
    assert isinstance(caught.value.__cause__, MosaicError)
    if shape in ("an id", "an id and an error", "an id deeper"):
        assert caught.value.candidates == ("made-1",)


#: Responses with a field or a value of a refusal that are none.
GOOD: dict[str, tuple[Call[Any], Any]] = {
    "a start with an empty list of errors": (paid_call(), {"run_id": RUN, "errors": [], "error": None}),
    "a run that failed at once": (
        paid_call(),
        {"run_id": RUN, "status": "failed", "errors": [{"original_node_id": "n", "messages": ["no"]}]},
    ),
    "a post that failed": (post(), {"post_id": POST, "status": "failed"}),
    "a post that is out in part": (post(), {"post_id": POST, "status": "partial_failure", "error": {"code": 1}}),
    "a post of March 2026": (post(), {"post_id": POST, "status": "success", "error": None}),
    "a checkout": (upgrade_plan("creator"), {"success": False, "requires_checkout": True, "checkout_url": "https://b"}),
    "a checkout by its link": (upgrade_plan("creator"), {"success": False, "checkout_url": "https://b"}),
    "a refused approval": (update_post(POST, approve=False), {"post_id": POST, "status": "rejected"}),
    "a deleted post": (delete_post(POST), {"post_id": POST, "status": "rejected"}),
    "a deleted post without its id": (delete_post(POST), {"status": "rejected"}),
    "a deleted post that had failed": (delete_post(POST), {"post_id": POST, "status": "failed"}),
    "a cancelled run that had failed": (cancel_run(RUN), {"run_id": RUN, "status": "failed"}),
    "a cancel with words": (cancel_run(RUN), {"message": "Run stopped"}),
    "a cancel without a body": (cancel_run(RUN), None),
    "a finalize of 2025": (finalize_upload(AssetType.VIDEO, "video-1"), {"status": "ok"}),
    "no error": (delete_agent(AGENT), {"success": True, "error": "", "errors": []}),
    "a run that failed": (get_run(RUN), {"status": "failed", "errors": [{"messages": ["x"]}]}),
    "a run that failed, in short": (get_run(RUN), {"status": "failed", "error": "Out of memory"}),
    "a post that failed, of March 2026": (get_post(POST), {"post_id": POST, "status": "error", "error": {"code": 1}}),
    "a run with another spelling of its end": (get_run(RUN), {"status": "error"}),
    "a run that failed, with its message": (get_run(RUN), {"status": "error", "status_message": "Out of memory"}),
    "a run that failed with a reason": (get_run(RUN), {"status": "failed", "message": "Out of memory"}),
    "a run that failed with the code of its error": (
        get_run(RUN),
        {"agent_id": AGENT, "status": "failed", "error": {"code": 500, "message": "Out of memory"}},
    ),
    "a run that timed out": (get_run(RUN), {"status": "timed_out", "errors": [{"messages": ["x"]}]}),
    "an avatar profile that failed": (
        get_avatar_profile("p"),
        {"id": "p", "status": "error", "message": "Two persons", "code": 422},
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_2xx_that_resembles_a_refusal_succeeds(transport: Transport, name: str) -> None:
    call, body = GOOD[name]
    with HostileServer(answer(200, body)) as server:
        transport.send(access_to(server.url), call)
        assert server.count == 1


@pytest.mark.parametrize("status", [200, 400, 402, 409, 503])
def test_checkout_is_returned_with_any_status(transport: Transport, status: int) -> None:
    body = {"success": False, "requires_checkout": True, "checkout_url": "https://b", "message": "Payment required"}
    with HostileServer(answer(status, body)) as server:
        [change] = transport.send(access_to(server.url), upgrade_plan("creator"))
    assert (change.requires_checkout, change.checkout_url) == (True, "https://b")


@pytest.mark.parametrize("body", [[], "no", None, {"message": "No", "requires_checkout": "false", "checkout_url": ""}])
def test_refused_plan_without_a_checkout_fails(transport: Transport, body: Any) -> None:
    with HostileServer(answer(402, body)) as server, pytest.raises(MosaicNeedsCreditsError):
        transport.send(access_to(server.url), upgrade_plan("creator"))


@pytest.mark.parametrize("status", ["Failed", "error", "TIMED_OUT", "canceled", "rejected", "expired"])
def test_failed_asset_status_is_a_refusal(transport: Transport, status: str) -> None:
    body = {"video_id": "video-1", "status": status, "message": "Not a film"}
    with HostileServer(answer(200, body)) as server, pytest.raises(MosaicValidationError, match="Not a film"):
        transport.send(access_to(server.url), finalize_upload(AssetType.VIDEO, "video-1"))


def test_early_finalize_is_retried() -> None:
    no = answer(200, {"success": False, "detail": "Not uploaded yet"})
    pauses: list[float] = []
    yes = answer(200, {"video_id": "video-1"})
    with HostileServer(no, no, yes) as server, SyncClient(access_to(server.url)) as client:
        assert finalize(client, AssetType.VIDEO, "video-1", sleep=pauses.append) == "video-1"
    assert len(pauses) == 2
    with (
        HostileServer(no) as server,
        SyncClient(access_to(server.url)) as client,
        pytest.raises(MosaicValidationError, match="Not uploaded yet"),
    ):
        finalize(client, AssetType.VIDEO, "video-1", sleep=pauses.append)


def test_partly_added_channels_succeed(transport: Transport) -> None:
    body = {"channels": [{"input": "@a", "channel_id": "UCx"}], "errors": ["@b is not known"]}
    with HostileServer(answer(200, body)) as server:
        [added] = transport.send(access_to(server.url), CHANGING["add channels"])
    assert added.channels == (body["channels"][0],)


@pytest.mark.parametrize("call", [whoami(), get_credits(), get_run(RUN), get_post(POST), list_runs().page(None)])
@pytest.mark.parametrize("body", [{"success": False, "detail": "Ask later"}, {"error": {"message": "Ask later"}}])
def test_2xx_refusal_of_a_read_fails(transport: Transport, call: Call[Any], body: Any) -> None:
    with HostileServer(answer(200, body)) as server, pytest.raises(MosaicResponseError, match="Ask later"):
        transport.send(access_to(server.url), call)


READS = [get_run(RUN), get_post(POST), get_avatar_profile("p"), whoami()]
#: Bodies of a gateway that must not pass for a run, a post or a profile that failed.
GATEWAY_ERRORS: list[Any] = [
    {"status": "error", "statusCode": 503, "message": "Service Unavailable"},
    {"status": "error", "code": 500, "message": "Service Unavailable", "data": None},
    {"status": "fail", "error": {"code": 502, "message": "Service Unavailable"}},
    {"status": "failed", "status_code": "503", "detail": "Service Unavailable"},
]


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("body", GATEWAY_ERRORS)
def test_read_with_the_code_of_a_server_error_is_retried(transport: Transport, call: Call[Any], body: Any) -> None:
    with HostileServer(answer(200, body), answer(200, {"id": "p", "status": "processing"})) as server:
        transport.send(access_to(server.url), call)
        assert server.count == 2
    with (
        HostileServer(answer(200, body)) as server,
        pytest.raises(MosaicServerError, match="Service Unavailable") as caught,
    ):
        transport.send(access_to(server.url), call)
    assert caught.value.transient


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("field", ["detail", "message", "error", "title"])
@pytest.mark.parametrize("status", ["error", "Fail", "timeout", "denied"])
def test_bad_status_with_only_an_explanation_is_not_an_end(
    transport: Transport, call: Call[Any], field: str, status: str
) -> None:
    body = {"status": status, field: "upstream connect error", "timestamp": "2026-11-24T01:00:00Z"}
    with (
        HostileServer(answer(200, body)) as server,
        pytest.raises(MosaicResponseError, match="upstream connect error"),
    ):
        transport.send(access_to(server.url), call)


@pytest.mark.parametrize(
    ("code", "kind", "sendings"),
    [
        ("invalid_api_key", MosaicAuthenticationError, 1),
        ("not_found", MosaicNotFoundError, 1),
        ("insufficient_credits", MosaicNeedsCreditsError, 1),
        ("rate_limit", MosaicRateLimitError, 6),
    ],
)
def test_documented_codes_choose_the_error(
    transport: Transport, code: str, kind: type[MosaicError], sendings: int
) -> None:
    with HostileServer(answer(200, {"success": False, "error": code, "detail": "No"})) as server:
        with pytest.raises(kind, match="No"):
            transport.send(access_to(server.url), paid_call())
        assert server.count == sendings


@pytest.mark.parametrize("status", [400, 403, 409, 422])
def test_start_above_the_limit_of_concurrent_runs_is_sent_again(transport: Transport, status: int) -> None:
    above = answer(status, {"detail": {"error": "concurrent_agent_limit"}})
    with HostileServer(above, answer(200, {"run_id": RUN})) as server:
        assert transport.send(access_to(server.url), paid_call()) == [RUN]
        assert server.count == 2


def test_server_error_in_a_2xx_is_retried_if_safe(transport: Transport) -> None:
    fault = answer(200, {"success": False, "error": {"code": "internal_server_error"}})
    with HostileServer(fault, answer(200, {"success": True})) as server:
        transport.send(access_to(server.url), cancel_run(RUN))
        assert server.count == 2
    with HostileServer(fault) as server, pytest.raises(MosaicServerError):
        transport.send(access_to(server.url), cancel_run(RUN))


@pytest.mark.parametrize("code", ["internal_server_error", 408])
def test_server_error_in_a_2xx_never_repeats_a_payment(transport: Transport, code: object) -> None:
    fault = answer(200, {"success": False, "error": {"code": code}})
    with HostileServer(fault) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError):
            transport.send(access_to(server.url), upgrade_plan("creator"))
        assert server.count == 1


def test_2xx_refusal_of_the_connection_test_fails(transport: Transport) -> None:
    no = answer(200, {"success": False, "error": "invalid_api_key"})
    with HostileServer(no) as server, pytest.raises(MosaicAuthenticationError):
        transport.send(access_to(server.url), whoami())
