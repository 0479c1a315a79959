"""The saved state of a task counts for the same request, until a clear."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from tasks.fakes import StateStore, bare_context

from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState, fingerprint


def state(
    store: StateStore | None, request: Any = "a", *, durable: bool = True, kind: str = "run", **facts: Any
) -> TaskState:
    return TaskState(bare_context(store, **facts), kind=kind, request=request, durable=durable)


RECORD = StartRecord(started_at=12.5, id="an-id", deadline=99.5, existing_ids=("x", "y"), facts={"finalized": True})


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        StartRecord(started_at=1.0),
        StartRecord(started_at=1.0, existing_ids=()),
        StartRecord(started_at=1.0, id="i", deadline=None, existing_ids=("x",)),
    ],
)
def test_a_saved_record_is_loaded(record: StartRecord) -> None:
    store = StateStore()
    state(store).save_intent(record)
    assert state(store, try_number=2).load() == record


def test_an_empty_store_has_no_record() -> None:
    assert state(StateStore()).load() is None


def test_a_clear_discards_the_record_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    state(store).save_intent(RECORD)
    with caplog.at_level(logging.INFO):
        assert state(store, max_tries=3, try_number=2).load() is None
    assert caplog.messages == ["The task was cleared since its earlier attempt saved run 'an-id'."]


def test_only_a_clear_sets_the_cleared_id() -> None:
    store = StateStore()
    assert state(store).cleared_id is None
    state(store).save_intent(RECORD)
    again, cleared, changed = state(store, try_number=2), state(store, max_tries=3, try_number=2), state(store, "b")
    for each in (again, cleared, changed):
        assert each.cleared_id is None
        each.load()
    assert cleared.cleared_id == "an-id"
    # A retry continues it, and changed arguments do not touch it: neither may cancel it.
    assert again.cleared_id is None
    assert changed.cleared_id is None


def test_a_record_without_an_id_sets_no_cleared_id() -> None:
    store = StateStore()
    state(store).save_intent(StartRecord(started_at=1.0))
    cleared = state(store, max_tries=3, try_number=2)
    assert cleared.load() is None
    assert cleared.cleared_id is None


def test_a_second_clear_returns_the_latest_id() -> None:
    store = StateStore()
    state(store).save_intent(RECORD)
    state(store, max_tries=3, try_number=2).save_intent(StartRecord(started_at=2.0, id="second"))
    again = state(store, max_tries=5, try_number=3)
    assert again.load() is None
    assert again.cleared_id == "second"


def test_a_changed_request_discards_the_record_and_logs_its_id(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    state(store).save_intent(RECORD)
    changed = state(store, "b")
    assert changed.load() is None
    assert "an-id" in caplog.text


def test_each_kind_has_its_own_entry() -> None:
    store = StateStore()
    state(store, kind="post").save_intent(RECORD)
    assert state(store, kind="run").load() is None


@pytest.mark.parametrize(
    "stored",
    ["text", 5, [], {}, {"version": 99, "started_at": 1.0}, {"started_at": 1.0}, {"version": 1, "max_tries": 2}],
)
def test_an_unreadable_entry_means_that_an_earlier_attempt_may_have_started(
    stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store, started = StateStore(), datetime.now(timezone.utc) - timedelta(minutes=3)
    store.set("mosaic_run", stored)
    retry = state(store, try_number=2, start_date=started)
    assert retry.load() == StartRecord(started_at=started.timestamp(), is_saved=False)
    assert "is lost or can't be read" in caplog.text
    # No attempt was before the first one, nor before the first one after a clear.
    assert state(store).load() is None
    assert state(store, try_number=2, max_tries=3, clear_number=1).load() is None
    assert state(store, try_number=3, max_tries=3, clear_number=1).load() is not None


def test_a_clear_after_lowered_retries_is_detected_or_in_doubt() -> None:
    store = StateStore()
    state(store, max_tries=3, retries=3).save_intent(RECORD)
    # One attempt, and a clear that sets max_tries to its old value: 1 + 2.
    in_doubt = state(store, try_number=2, max_tries=3, retries=2, clear_number=1)
    assert in_doubt.load() == StartRecord(
        started_at=RECORD.started_at, is_saved=False, deadline=RECORD.deadline, existing_ids=RECORD.existing_ids
    )
    assert in_doubt.cleared_id is None
    # Nothing was cleared; or another task was, and a cleared one would have more attempts left.
    assert state(store, try_number=2, max_tries=3, retries=2).load() == RECORD
    assert state(store, try_number=2, max_tries=3, retries=3, clear_number=1).load() == RECORD
    assert state(store, try_number=3, max_tries=3, retries=2, clear_number=1).load() == RECORD
    # Any other clear shows.
    for retries in (0, 1, 3, 4):
        cleared = state(store, try_number=2, max_tries=1 + retries, retries=retries, clear_number=1)
        assert cleared.load() is None
        assert cleared.cleared_id == "an-id"


def test_a_cleared_record_is_deleted() -> None:
    store = StateStore()
    state(store).save_intent(RECORD)
    state(store).clear(certain=True)
    assert state(store).load() is None


def test_without_durable_nothing_is_saved_or_loaded() -> None:
    store = StateStore()
    state(store).save_intent(RECORD)
    again = state(store, durable=False)
    assert again.load() is None
    again.save_intent(RECORD)
    again.clear(certain=True)
    assert len(store.history) == 1


# Airflow without a task state store


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_retry"),
    [
        (1, 2, False),
        (2, 2, True),
        (3, 2, True),
        (2, 3, False),
        (3, 3, True),
        (4, 5, False),
        (5, 5, True),
        (1, 0, False),
    ],
    ids=str,
)
def test_without_a_store_only_a_retry_may_have_something_to_search(
    try_number: int, max_tries: int, is_retry: bool
) -> None:
    # A clear sets max_tries to the attempts so far plus the retries.
    retries = 0 if max_tries == 0 else 2
    started = datetime.now(timezone.utc) - timedelta(minutes=3)
    loaded = state(None, try_number=try_number, max_tries=max_tries, retries=retries, start_date=started).load()
    if is_retry:
        assert loaded is not None
        assert loaded.is_saved is False
        assert loaded.started_at == started.timestamp()
        assert loaded.id is None
    else:
        assert loaded is None


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "is_retry"),
    [(2, 2, 0, True), (3, 3, 0, True), (3, 3, 1, False), (1, 2, 5, False), (2, 2, 5, True)],
    ids=str,
)
def test_without_a_store_changed_retries_lead_to_a_search(
    try_number: int, max_tries: int, retries: int, is_retry: bool
) -> None:
    # Two of three attempts with retries=1 looks like the first attempt after a clear.
    loaded = state(None, try_number=try_number, max_tries=max_tries, retries=retries).load()
    assert (loaded is not None) is is_retry


def test_without_a_store_and_durable_a_retry_has_nothing_to_search() -> None:
    assert state(None, try_number=2, durable=False).load() is None


# Fingerprints of requests


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
