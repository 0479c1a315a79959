from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.runs import get_run, start_run
from airflow_provider_mosaic.api.response_errors import error_for
from airflow_provider_mosaic.api.responses import Response, describe_body, detail_of

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


def error(status: int, body: Any = None, **headers: str) -> errors.MosaicError:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    return error_for(get_run("r"), Response(status, named, content), now=NOW)


@pytest.mark.parametrize(
    ("status", "kind", "transient", "effect_unknown", "advice"),
    [
        (400, errors.MosaicValidationError, False, False, "Fix the request"),
        (401, errors.MosaicAuthenticationError, False, False, "Set a valid API key"),
        (402, errors.MosaicNeedsCreditsError, False, False, "Buy credits"),
        (403, errors.MosaicPermissionError, False, False, "scopes"),
        (404, errors.MosaicNotFoundError, False, False, "Check the id"),
        (408, errors.MosaicServerError, True, True, "timed out"),
        (409, errors.MosaicConflictError, False, False, "does not allow this"),
        (413, errors.MosaicValidationError, False, False, "smaller or shorter"),
        (418, errors.MosaicValidationError, False, False, "refused"),
        (422, errors.MosaicValidationError, False, False, "Fix the request"),
        (425, errors.MosaicServerError, True, False, "Nothing was done"),
        (460, errors.MosaicServerError, True, True, "gave up"),
        (499, errors.MosaicServerError, True, True, "gave up"),
        (429, errors.MosaicRateLimitError, True, False, "Too many requests"),
        (500, errors.MosaicServerError, True, True, "may be temporary"),
        (502, errors.MosaicServerError, True, True, "may be temporary"),
        (503, errors.MosaicServerError, True, True, "may be temporary"),
        (504, errors.MosaicServerError, True, True, "may be temporary"),
        (599, errors.MosaicServerError, True, True, "may be temporary"),
        (302, errors.MosaicResponseError, False, False, "Check the connection's host"),
        (303, errors.MosaicResponseError, False, True, "Check the connection's host"),
        (304, errors.MosaicResponseError, False, False, "Check the connection's host"),
        (199, errors.MosaicResponseError, False, True, "does not document this status"),
    ],
)
def test_error_of_each_status(
    status: int, kind: type[errors.MosaicError], transient: bool, effect_unknown: bool, advice: str
) -> None:
    caught = error(status, {"detail": "No way", "error": "some_code"})
    assert type(caught) is kind
    assert (caught.transient, caught.effect_unknown) == (transient, effect_unknown)
    assert (caught.status, caught.method, caught.path, caught.detail) == (
        status,
        "GET",
        "/agent_run/{run_id}",
        "No way",
    )
    message = str(caught)
    assert message.startswith(f"Could not read run 'r': GET /agent_run/{{run_id}} returned {status}: No way. ")
    assert advice in message


CREDITS, LIMIT = errors.MosaicNeedsCreditsError, errors.MosaicRateLimitError


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"detail": "no", "error": "insufficient_credits"}, CREDITS),
        (403, {"detail": "no", "error": "concurrent_agent_limit"}, LIMIT),
        (400, {"detail": "Not enough credits", "error": "insufficient_credits"}, CREDITS),
        (403, {"detail": {"error": "insufficient_credits"}}, CREDITS),
        (403, {"detail": {"code": "concurrent_agent_limit"}}, LIMIT),
        (403, {"code": "insufficient_credits"}, CREDITS),
        (400, {"error": {"type": "insufficient_credits"}}, CREDITS),
        (409, {"error": "concurrent_agent_limit"}, LIMIT),
        (422, {"detail": "no", "errorCode": "rate_limit"}, LIMIT),
        (429, {"error": "insufficient_credits"}, CREDITS),
        # A general code, or the status as a number, beside the code that names the cause.
        (400, {"error": "validation_error", "detail": {"code": "insufficient_credits"}}, CREDITS),
        (403, {"error": {"code": 403, "type": "concurrent_agent_limit"}}, LIMIT),
        (403, {"error": "forbidden"}, errors.MosaicPermissionError),
        (403, {"error": None}, errors.MosaicPermissionError),
        (403, {"error": ["insufficient_credits"]}, errors.MosaicPermissionError),
        (403, {"detail": ["insufficient_credits"]}, errors.MosaicPermissionError),
        (403, {"detail": "insufficient_credits"}, errors.MosaicPermissionError),
        # Numbers and other codes do not refine a status.
        (403, {"code": 402}, errors.MosaicPermissionError),
        (400, {"status": 429, "error": "not_found"}, errors.MosaicValidationError),
        # The effect is unknown.
        (408, {"error": "insufficient_credits"}, errors.MosaicServerError),
        (499, {"error": "rate_limit"}, errors.MosaicServerError),
        (500, {"error": "rate_limit"}, errors.MosaicServerError),
    ],
    ids=str,
)
def test_code_of_credits_or_a_limit_refines_a_4xx_without_an_effect(
    status: int, body: Any, kind: type[errors.MosaicError]
) -> None:
    caught = error(status, body)
    assert type(caught) is kind
    assert caught.status == status
    is_unknown = kind is errors.MosaicServerError
    assert (caught.transient, caught.effect_unknown) == (is_unknown or kind is LIMIT, is_unknown)


def test_503_with_retry_after_had_no_effect() -> None:
    caught = error(503, {"detail": "busy"}, Retry_After="7")
    assert (caught.effect_unknown, caught.retry_after) == (False, 7.0)
    assert "Nothing was done" in str(caught)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=900), usegmt=True), 0.0),
        ("Wed, 01 Jul 2026 14:00:30 +0200", 30.0),
        ("Wed, 01 Jul 2026 12:00:30", 30.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("2026-07-01T12:00:30Z", None),
        ("Wed, 99 Jul 2026 12:00:30 GMT", None),
        ("Wed, 01 Jul 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after_formats(value: str, seconds: float | None) -> None:
    assert Response(429, {"retry-after": value}).retry_after(now=NOW) == seconds


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"detail": "Agent could not be found", "error": "not_found"}, "Agent could not be found"),
        ({"detail": "two\n lines\t here"}, "two lines here"),
        ({"detail": [{"loc": ["body", "limit"], "msg": "too big", "type": "x"}]}, "body.limit: too big"),
        ({"detail": [{"loc": ["query", 0], "msg": "a"}, "b", None]}, "query.0: a; b"),
        ({"detail": {"message": "deep"}}, "deep"),
        ({"detail": {"code": 7}}, '{"code": 7}'),
        ({"error": "not_found"}, "not_found"),
        ({"error": {"message": "inner"}}, "inner"),
        ({"message": "text"}, "text"),
        ({"detail": None, "error": "e"}, "e"),
        ({"detail": 5}, "5"),
        ([{"msg": "a"}, {"msg": "b"}], "a; b"),
        ("plain", "plain"),
        ({}, None),
        ([], None),
        (None, None),
        ({"detail": ""}, '{"detail": ""}'),
        ({"detail": {"detail": {"detail": "inner"}}}, "inner"),
    ],
)
def test_detail_shapes(body: Any, detail: str | None) -> None:
    assert detail_of(Response(400, {}, json.dumps(body).encode())) == detail


@pytest.mark.parametrize(
    "content", [b"", b"   ", b"<html><body>hush</body></html>", b"Bad Gateway hush", b"\xff\xfe\x00", b'{"detail": "hu']
)
def test_body_that_is_not_json_is_not_quoted(content: bytes) -> None:
    caught = error(502, content)
    assert caught.detail is None
    assert "hush" not in str(caught)


def test_long_detail_is_cut() -> None:
    caught = error(400, {"detail": "x" * 10_000})
    assert len(str(caught)) < 800
    assert "x…" in str(caught)


@pytest.mark.parametrize("deep", [900, 100_000])
def test_deeply_nested_detail_is_left_out(deep: int) -> None:
    assert error(400, b'{"detail": ' + b"[" * deep + b'"x"' + b"]" * deep + b"}").status == 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"<!DOCTYPE html><html><head><title>Sign in to  Corp</title>", "an HTML page titled 'Sign in to  Corp'"),
        (b"\xef\xbb\xbf  <HTML>", "an HTML page, as a proxy or a login page would send"),
        (b'{"run_id": "ru', "JSON that is cut short or broken (14 bytes)"),
        (b"[1, 2", "JSON that is cut short"),
        (b"upstream timed out", "18 bytes that are not JSON"),
        (b"\x00\x01", "2 bytes that are not JSON"),
        (b"<html><title>See https://u:p@x.example/?token=hush</title>", "***"),
    ],
)
def test_unreadable_body_is_described_not_quoted(content: bytes, words: str) -> None:
    described = describe_body(Response(200, {}, content))
    assert words in described
    assert "hush" not in described


@pytest.mark.parametrize("content", [b"<html>", b"{", b"nope", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000])
def test_2xx_that_is_not_json_is_transient(content: bytes) -> None:
    with pytest.raises(errors.MosaicResponseError, match="Check that the connection's host is Mosaic's") as caught:
        start_run("a").result(Response(200, {}, content))
    assert (caught.value.transient, caught.value.effect_unknown) == (True, True)


def test_unicode_encodings_are_read() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert start_run("a").result(Response(200, {}, '{"run_id": "r\u00fcn"}'.encode(encoding))) == "rün"


def test_invalid_field_is_named() -> None:
    with pytest.raises(errors.MosaicResponseError, match=r"'outputs.1.video_url|'outputs.1' is wrong"):
        get_run("r").result(Response(200, {}, b'{"status": "running", "outputs": [{"id": "a"}, 5]}'))


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    status=st.integers(100, 999),
    content=st.binary(max_size=200) | st.text().map(str.encode),
    retry=st.text(max_size=40),
)
def test_any_response_gives_a_result_or_a_mosaic_error(status: int, content: bytes, retry: str) -> None:
    answer = Response(status, {"retry-after": retry}, content)
    try:
        whoami().result(answer)
    except errors.MosaicError as caught:
        said = str(caught)
    else:
        assert answer.ok
        return
    assert said.startswith("Could not check the API key: GET /whoami returned ")


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in dir(errors) if name.startswith("Mosaic")])
def test_errors_can_be_pickled(kind: type[errors.MosaicError]) -> None:
    assert issubclass(kind, errors.MosaicError)
    caught = kind("What happened.", status=418, method="GET", path="/x", detail="d", retry_after=1.0, transient=True)
    copy = pickle.loads(pickle.dumps(caught))
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == (str(caught), vars(caught))


def test_errors_can_be_imported_from_exceptions() -> None:
    from airflow_provider_mosaic import exceptions

    names = {name for name in dir(errors) if name.startswith("Mosaic")}
    # MosaicFailException is only in exceptions: it needs Airflow.
    assert set(exceptions.__all__) == names | {"MosaicFailException"}
    assert all(getattr(exceptions, name) is getattr(errors, name) for name in names)
    assert issubclass(exceptions.MosaicFailException, Exception)
