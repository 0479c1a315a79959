"""JSON with invalid ids, texts, numbers and times over both transports: a usable result or a MosaicError."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import create_agent
from airflow_provider_mosaic.api.endpoints.assets import start_upload
from airflow_provider_mosaic.api.endpoints.billing import get_credits, get_credits_usage, list_plans
from airflow_provider_mosaic.api.endpoints.posts import create_post, list_posts
from airflow_provider_mosaic.api.endpoints.runs import get_run, list_runs
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.running_runs import running_runs

from .servers import HostileServer, answer
from .transports import Transport, access_to, paid_call

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_collection")]

#: As JSON.
IDS = {
    "NUL": rb'"a\u0000b"',
    "half of a character": rb'"\ud800"',
    "the other half": rb'"run-\udfff"',
    "a replaced character": b'"\xef\xbf\xbd"',
    "a line break": rb'"a\nb"',
    "a space": b'"a b"',
    "100,000 characters": b'"' + b"x" * 100_000 + b'"',
    "nothing": b'""',
    "a number of 5,000 digits": b"9" * 5000,
    "a number of 4,000 digits": b"9" * 4000,
    "NaN": b"NaN",
    "1e999": b"1e999",
    "an object": b'{"id":1}',
    "a deep list": b"[" * 900 + b"]" * 900,
    "an endless list": b"[" * 100_000,
}
BODIES: dict[str, tuple[Call[Any], bytes]] = {
    "start": (paid_call(), b'{"run_id":ID}'),
    "post": (create_post("Hello", platforms=["x"]), b'{"post_id":ID}'),
    "agent": (create_agent(name="An agent"), b'{"agent_id":ID}'),
    "upload": (start_upload(AssetType.VIDEO), b'{"video_id":ID,"upload_url":"https://a/","upload_fields":{}}'),
    "runs": (list_runs("a").page(None), b'{"runs":[{"run_id":ID,"status":"running"}]}'),
    "posts": (list_posts().page(None), b'{"posts":[{"post_id":ID,"status":"posted"}]}'),
    "output": (get_run("r"), b'{"status":"completed","outputs":[{"id":{},"video_url":"https://a/"},{"id":ID}]}'),
}


@pytest.mark.parametrize("unfit", IDS.values(), ids=IDS)
def test_invalid_ids_in_responses_fail(transport: Transport, unfit: bytes) -> None:
    for name, (call, body) in BODIES.items():
        with HostileServer(answer(200, body.replace(b"ID", unfit))) as server, pytest.raises(MosaicError) as error:
            transport.send(access_to(server.url), call, retries=ONCE)
        kind = MosaicAmbiguousOutcomeError if name in ("start", "post", "agent") else MosaicResponseError
        assert type(error.value) is kind, name
        assert len(str(error.value)) < 1000
        str(error.value).encode()


VALUES = {
    "NUL": rb'"\u0000"',
    "half of a character": rb'"\ud83d"',
    "a key that is half of a character": rb'{"\ud800":1}',
    "100,000 characters": b'"' + b"9" * 100_000 + b'"',
    "5,000 digits as text": b'"' + b"9" * 5000 + b'"',
    "4,000 digits": b"9" * 4000,
    "NaN": b"NaN",
    "-Infinity": b"-Infinity",
    "1e999": b"1e999",
    "an offset of a day": b'"2026-07-01T10:00:00+24:00"',
    "an offset of 99 hours": b'"2026-07-01T10:00:00+99:99"',
    "the first day": b'"0001-01-01T00:00:00+14:00"',
    "the last day": b'"9999-12-31T23:59:59-14:00"',
    "a pair of durations": b'"P1D/P1D"',
    "a list of 90 levels": b"[" * 90 + b"]" * 90,
}
FIELDS = {
    "run": (
        get_run("r"),
        b'{"status":"running","status_message":V,"started_at":V,"updated_at":V,"needs_credits":V,"errors":V,'
        b'"node_status_counts":{"completed":V,"failed":V},"inputs":V,"triggered_by":V,"x":V,'
        b'"outputs":[{"id":"o","video_url":"https://a/","completed_at":V,"sources":V}]}',
    ),
    "runs": (
        list_runs().page(None),
        b'{"runs":[{"run_id":"r","status":"running","status_message":V,"started_at":V,"triggered_by":V,"x":V}]}',
    ),
    "posts": (
        list_posts().page(None),
        b'{"posts":[{"post_id":"p","status":"posted","description":V,"scheduled_at":V,"created_at":V,"x":V,'
        b'"destinations":[{"platform":V,"message":V}]}]}',
    ),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_invalid_values_are_replaced(transport: Transport, value: bytes, name: str) -> None:
    call, body = FIELDS[name]
    with HostileServer(answer(200, body.replace(b"V", value))) as server:
        [result] = transport.send(access_to(server.url), call, retries=ONCE)
    # XComs, PostgreSQL and logs can hold it.
    shown = repr(result)
    assert "\0" not in shown
    assert r"\x00" not in shown
    shown.encode()


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_invalid_rows_do_not_hide_running_runs(transport: Transport, value: bytes) -> None:
    rows = b'{"run_id":V,"status":V,"node_status_counts":{"completed":V}},{"run_id":"r","status":"running"}'
    with HostileServer(answer(200, b'{"runs":[' + rows.replace(b"V", value) + b"]}")) as server:
        [page] = transport.send(access_to(server.url), running_runs(), retries=ONCE)
    assert [row.run_id for row in page.items if row.running] == ["r"]


def test_half_characters_are_replaced(transport: Transport) -> None:
    body = json.dumps({"status": "running", "status_message": "Rendering \U0001f3ac and \ud83c"}).encode()
    with HostileServer(answer(200, body)) as server:
        [run] = transport.send(access_to(server.url), get_run("r"))
    assert run.status_message == "Rendering \U0001f3ac and \ufffd"


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[" * 101 + b"]" * 101, b'{"a":' * 900 + b"1" + b"}" * 900])
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_deeply_nested_body_fails(transport: Transport, status: int, body: bytes) -> None:
    for call in (get_run("r"), list_runs().page(None), running_runs(), paid_call()):
        with HostileServer(answer(status, body)) as server, pytest.raises(MosaicError):
            transport.send(access_to(server.url), call, retries=ONCE)


@pytest.mark.parametrize("price", [b'"NaN"', b'"Infinity"', b"NaN", b'"custom"'])
def test_invalid_price_is_none(transport: Transport, price: bytes) -> None:
    with HostileServer(
        answer(200, b'{"plans":[{"id":"p","price_usd":' + price + b'},{"id":"q","price_usd":"9.5"}]}')
    ) as server:
        [plans] = transport.send(access_to(server.url), list_plans())
    assert [plan.price_usd for plan in plans] == [None, 9.5]


@pytest.mark.parametrize("balance", [b"NaN", b"Infinity", b"1e999"])
def test_invalid_balance_is_none(transport: Transport, balance: bytes) -> None:
    with HostileServer(answer(200, b'{"credits":{"balance":' + balance + b'},"balance":' + balance + b"}")) as server:
        [credits] = transport.send(access_to(server.url), get_credits())
    assert credits.balance is None


@pytest.mark.parametrize("number", [b'"NaN"', b'"Infinity"', b'"-inf"', b'"1e999"'])
def test_text_that_is_no_finite_number_fails(transport: Transport, number: bytes) -> None:
    bodies: list[tuple[Call[Any], bytes]] = [
        # Infinity would always be enough for a run, and PostgreSQL rejects it in an XCom.
        (get_credits(), b'{"balance":N}'),
        (get_credits_usage(), b'{"summary":{"total_credits_used":N}}'),
    ]
    for call, body in bodies:
        with (
            HostileServer(answer(200, body.replace(b":N", b":" + number))) as server,
            pytest.raises(MosaicResponseError, match="is wrong: Input should be a"),
        ):
            transport.send(access_to(server.url), call, retries=ONCE)


def test_unencodable_argument_is_rejected(transport: Transport) -> None:
    with (
        HostileServer(answer(200, {"posts": []})) as server,
        pytest.raises(MosaicValidationError, match="half of a surrogate pair"),
    ):
        transport.send(access_to(server.url), list_posts(status="\ud800").page(None))
    assert server.seen == []


def test_oversized_status_is_cut(transport: Transport) -> None:
    with HostileServer(answer(200, {"status": "completed" + "x" * 100_000})) as server:
        [run] = transport.send(access_to(server.url), get_run("r"))
    assert len(run.status) == 100
    assert not run_outcome(run).ended


def test_unusable_id_is_an_unknown_outcome(transport: Transport) -> None:
    for unfit in ("..", "{{ x }}", "None", "https://mosaic.example/r"):
        with (
            HostileServer(answer(200, {"run_id": unfit})) as server,
            pytest.raises(MosaicAmbiguousOutcomeError, match="'run_id' is wrong"),
        ):
            transport.send(access_to(server.url), paid_call(), retries=ONCE)


#: Python's e-mail parser, which reads the head for requests, fails at these.
HEADS = {
    "a character set without such errors": b"multipart/x; boundary*=idna''%ff",
    "parts without numbers": b"multipart/x; boundary*=a; boundary*0=b",
    "messages in messages": b"Content-Type:message/a\r\r" * 1_100,
    "a parameter without a value": b"application/json; charset",
}


@pytest.mark.parametrize("content_type", HEADS.values(), ids=HEADS)
def test_content_type_that_cannot_be_parsed(transport: Transport, content_type: bytes) -> None:
    def reply(connection: Any) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nContent-Type: " + content_type)
        connection.sendall(b'\r\n\r\n{"run_id":"r"}')
        return False

    with HostileServer(reply) as server:
        # The transport of triggerers reads no content type, and cannot take a bare CR.
        try:
            [run_id] = transport.send(access_to(server.url), paid_call(), retries=ONCE)
        except MosaicAmbiguousOutcomeError:
            assert content_type != HEADS["a parameter without a value"]
        else:
            assert run_id == "r"
        assert len(server.seen) == 1
