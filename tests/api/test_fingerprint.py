"""The fingerprint of a request changes with what is requested, and not with the signatures of links."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.file_links import fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": (2,), "a": 1}),
        (
            ["https://bucket.s3.amazonaws.com/a.mp4?X-Amz-Signature=1&X-Amz-Date=2&versionId=7"],
            ["https://bucket.s3.amazonaws.com/a.mp4?versionId=7&X-Amz-Signature=9&X-Amz-Expires=3"],
        ),
        ("https://storage.googleapis.com/a?X-Goog-Signature=1", "https://storage.googleapis.com/a?X-Goog-Signature=2"),
        ("https://acc.blob.core.windows.net/a?sv=1&se=2&sig=3", "https://acc.blob.core.windows.net/a?sv=4&se=5&sig=6"),
        ("https://cdn/a?Policy=1&Signature=2&Key-Pair-Id=3", "https://cdn/a?Policy=4&Signature=5&Key-Pair-Id=6"),
        ("https://b/a?AWSAccessKeyId=1&Expires=2&Signature=3", "https://b/a"),
        (
            "https://b.oss-cn.aliyuncs.com/a?OSSAccessKeyId=STS.1&Expires=2&Signature=3&security-token=4",
            "https://b.oss-cn.aliyuncs.com/a?OSSAccessKeyId=STS.5&Expires=6&Signature=7&security-token=8",
        ),
        (
            "https://b.oss-cn.aliyuncs.com/a?x-oss-credential=1&x-oss-date=2&x-oss-expires=3&x-oss-signature=4",
            "https://b.oss-cn.aliyuncs.com/a?x-oss-credential=5&x-oss-date=6&x-oss-expires=7&x-oss-signature=8",
        ),
        (
            "https://b.cos.ap.myqcloud.com/a?q-sign-algorithm=sha1&q-ak=1&q-sign-time=2;3&q-key-time=2;3&q-signature=4",
            "https://b.cos.ap.myqcloud.com/a?q-sign-algorithm=sha1&q-ak=5&q-sign-time=6;7&q-key-time=6;7&q-signature=8"
            "&x-cos-security-token=9",
        ),
        (
            "https://b.obs.myhuaweicloud.com/a?AccessKeyId=1&Expires=2&Signature=3&x-obs-security-token=4",
            "https://b.obs.myhuaweicloud.com/a?AccessKeyId=5&Expires=6&Signature=7&x-obs-security-token=8",
        ),
    ],
)
def test_signatures_do_not_change_the_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://cdn/a?v=1", "https://cdn/a?v=2"),
        ("https://cdn/a", "https://cdn/b"),
        (["a", "b"], ["b", "a"]),
        ({"a": 1}, {"a": "1"}),
        ("https://www.youtube.com/watch?v=one", "https://www.youtube.com/watch?v=two"),
        (
            "https://b.oss-cn.aliyuncs.com/a?x-oss-process=video/1",
            "https://b.oss-cn.aliyuncs.com/a?x-oss-process=video/2",
        ),
        ("https://search/a?q-word=1", "https://search/a?q-word=2"),
        ("say sig=1", "say sig=2"),
        # These start like URLs and are none.
        ("https://[link in bio] one", "https://[link in bio] two"),
        ({"prompt": "http://[a?sig=1"}, {"prompt": "http://[a?sig=2"}),
        pytest.param(f"http://{'é' * 254}?sig=1", f"http://{'é' * 254}?sig=2", id="long host"),
        (None, ""),
    ],
)
def test_other_differences_change_the_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint(["an-agent", {"video_ids": ["v"]}]) == "575f4d21d15ea47b4fda76a4ac8ee4ba"


@pytest.mark.parametrize("text", ["/films/caf\udce9.mp4", "half \ud83d", "https://a.example/?q=\ud83d"])
def test_lone_surrogates_are_part_of_the_fingerprint(text: str) -> None:
    assert fingerprint({"text": text}) == fingerprint({"text": text})
    assert fingerprint({"text": text}) != fingerprint({"text": f"{text}."})
