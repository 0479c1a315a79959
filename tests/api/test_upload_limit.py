"""The size limit of an upload may be written in other ways: as text, or as a float."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.assets import start_upload


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (5368709120, 5368709120),
        ("5368709120", 5368709120),
        (5368709120.0, 5368709120),
        *[(value, None) for value in (None, 0, -1, True, "", "-1", "5 GB", "9" * 5000, float("nan"), 1e300, [5])],
    ],
    ids=lambda value: str(value)[:20],
)
def test_size_limit_of_an_upload(value: Any, limit: int | None) -> None:
    form = {"video_id": "v", "upload_url": "https://storage.test/", "upload_fields": {"key": "k"}}
    assert start_upload("video").read({**form, "max_file_size_bytes": value}).max_file_size_bytes == limit
