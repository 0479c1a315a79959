"""Plain text in errors, and the headers with the end of a rate limit."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.responses import Response

NOW = datetime(2026, 9, 1, 12, tzinfo=timezone.utc)
EPOCH = int(NOW.timestamp())


def error(status: int, content: bytes, **headers: str) -> errors.MosaicError:
    with pytest.raises(errors.MosaicError) as caught:
        whoami().result(Response(status, {k.replace("_", "-"): v for k, v in headers.items()}, content), ("hush-hush",))
    return caught.value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422, 429])
def test_plain_text_of_a_4xx_is_quoted(status: int) -> None:
    caught = error(status, b"\xef\xbb\xbf The file is\r\n too large.\n", content_type="text/plain")
    assert caught.detail == "The file is too large."
    assert "The file is too large." in str(caught)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Größe überschritten".encode("latin-1"), "e \N{REPLACEMENT CHARACTER}berschritten"),
        (b"[ERROR] no such agent", "[ERROR] no such agent"),
        (b"denied\x1b[31m red", r"denied\x1b[31m red"),
    ],
)
def test_unprintable_characters_do_not_hide_the_text(content: bytes, words: str) -> None:
    assert words in str(error(400, content))


def test_quoted_text_is_short_and_without_secrets() -> None:
    caught = error(400, b"key hush-hush, https://s.example/a?X-Goog-Signature=abc " + b"z " * 50_000)
    assert len(str(caught)) < 1000
    assert "hush-hush" not in str(caught)
    assert "abc" not in str(caught)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<html>Sign in</html>", ""),
        (b"Sorry.<br>", "text/html; charset=utf-8"),
        (b"<?xml version='1.0'?><Error/>", ""),
        (b'{"detail": "cut', ""),
        (b'[{"detail": "cut', ""),
        (b"\x00\x01\x02\x03ab", ""),
        (b"\x89PNG\r\n", "image/png"),
    ],
)
def test_html_xml_json_and_binary_are_not_quoted(content: bytes, content_type: str) -> None:
    assert error(400, content, content_type=content_type).detail is None


def test_plain_text_of_a_5xx_is_not_quoted() -> None:
    assert error(504, b"upstream timed out").detail is None


@pytest.mark.parametrize("header", ["x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset"])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30), ("0.5", 0.5), (str(EPOCH + 40), 40), (str((EPOCH + 40) * 1000), 40), (f"{EPOCH + 40}.5", 40.5)],
)
def test_rate_limit_reset_gives_the_pause(header: str, value: str, seconds: float) -> None:
    assert Response(429, {header: value}).retry_after(now=NOW) == seconds


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "1e400", "9" * 65])
def test_invalid_rate_limit_reset_is_ignored(value: str) -> None:
    assert Response(429, {"x-ratelimit-reset": value}).retry_after(now=NOW) is None


def test_past_rate_limit_reset_gives_no_pause() -> None:
    assert Response(429, {"x-ratelimit-reset": str(EPOCH - 40)}).retry_after(now=NOW) == 0.0


@pytest.mark.parametrize(
    "header", [{"x-ratelimit-reset": str(EPOCH + 3640)}, {"retry-after": "Tue, 01 Sep 2026 13:00:40 GMT"}]
)
def test_a_time_is_measured_by_the_servers_clock(header: dict[str, str]) -> None:
    headers = {**header, "date": "Tue, 01 Sep 2026 13:00:00 GMT"}
    assert Response(429, headers).retry_after(now=NOW) == 40.0
    # Without its time, by this machine's.
    assert Response(429, {**headers, "date": "soon"}).retry_after(now=NOW) == 3640.0


def test_retry_after_wins_over_rate_limit_reset() -> None:
    assert Response(429, {"retry-after": "3", "x-ratelimit-reset": "30"}).retry_after(now=NOW) == 3.0
    assert Response(429, {"retry-after": "soon", "x-ratelimit-reset": "30"}).retry_after(now=NOW) == 30.0


@pytest.mark.parametrize("status", [200, 408, 500, 502, 503])
def test_rate_limit_reset_counts_only_with_429(status: int) -> None:
    assert Response(status, {"x-ratelimit-reset": "30"}).retry_after(now=NOW) is None


def test_503_with_rate_limit_reset_has_an_unknown_effect() -> None:
    assert error(503, b"", x_ratelimit_reset="30").effect_unknown
