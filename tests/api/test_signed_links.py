"""Expiry of signed links."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_mosaic.api.file_links import expiry_of

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "query",
    [
        "X-Goog-Date=20260701T110000Z&X-Goog-Expires=3600&X-Goog-Signature=s",
        "x-amz-signature=s&x-amz-expires=3600&x-amz-date=20260701T110000Z",
        "x-oss-date=20260701T110000Z&x-oss-expires=3600&x-oss-signature=s",
        "sv=2024-11-04&se=2026-07-01T12%3A00%3A00Z&sig=s",
        "se=2026-07-01T12%3A00&sig=s",
        "Expires=1782907200&Signature=s&Key-Pair-Id=k",
    ],
)
def test_expiry_is_read_from_signature(query: str) -> None:
    assert expiry_of(f"https://storage.example/a.mp4?{query}") == NOON


@pytest.mark.parametrize(
    "link",
    [
        "https://storage.example/a.mp4",
        "https://storage.example/a.mp4?expires=1782907200",
        "https://storage.example/a.mp4?se=5",
        "https://storage.example/a.mp4?se=tomorrow&sig=s",
        "https://storage.example/a.mp4?Expires=99999999999999999999&Signature=s",
        "https://storage.example/a.mp4?X-Goog-Date=yesterday&X-Goog-Expires=3600",
        "https://storage.example/a.mp4?X-Goog-Date=20260701T110000Z&X-Goog-Expires=99999999999999",
        "https://[broken/a.mp4?se=1&sig=s",
        pytest.param(f"https://{'é' * 254}/a.mp4?se=2026-07-01T12%3A00&sig=s", id="long host"),
        "",
    ],
)
def test_link_without_expiry(link: str) -> None:
    assert expiry_of(link) is None
