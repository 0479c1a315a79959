"""What a task remembers: for the same order and the same request, and nothing else."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from tasks.fakes import StateStore, bare_context

from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState, fingerprint


def memory(
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
def test_what_is_kept_comes_back(record: StartRecord) -> None:
    store = StateStore()
    memory(store).save_intent(record)
    assert memory(store, try_number=2).load() == record


def test_nothing_is_recalled_where_nothing_was_kept() -> None:
    assert memory(StateStore()).load() is None


def test_a_clear_is_another_order(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    with caplog.at_level(logging.INFO):
        cleared = memory(store, max_tries=3, try_number=2)
        assert cleared.load() is None
        assert caplog.text == ""
        cleared.record_failure_reason()
        cleared.record_failure_reason()
    assert caplog.text.count("cleared") == 1
    assert "an-id" in caplog.text


def test_what_the_order_before_a_clear_began_is_known_and_nothing_else_is_taken_for_it() -> None:
    store = StateStore()
    assert memory(store).cleared_id is None
    memory(store).save_intent(RECORD)
    again, cleared, changed = memory(store, try_number=2), memory(store, max_tries=3, try_number=2), memory(store, "b")
    for each in (again, cleared, changed):
        assert each.cleared_id is None
        each.load()
    assert cleared.cleared_id == "an-id"
    # A retry goes on with it, and changed arguments leave it alone: neither may have it cancelled.
    assert again.cleared_id is None
    assert changed.cleared_id is None


def test_an_order_that_left_no_id_left_nothing_to_cancel() -> None:
    store = StateStore()
    memory(store).save_intent(StartRecord(started_at=1.0))
    cleared = memory(store, max_tries=3, try_number=2)
    assert cleared.load() is None
    assert cleared.cleared_id is None


def test_a_second_clear_speaks_of_the_order_just_before_it() -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    memory(store, max_tries=3, try_number=2).save_intent(StartRecord(started_at=2.0, id="second"))
    again = memory(store, max_tries=5, try_number=3)
    assert again.load() is None
    assert again.cleared_id == "second"


def test_another_request_is_another_order_and_the_old_run_is_named(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    changed = memory(store, "b")
    assert changed.load() is None
    changed.record_failure_reason()
    assert "an-id" in caplog.text


def test_each_kind_has_its_own_place() -> None:
    store = StateStore()
    memory(store, kind="post").save_intent(RECORD)
    assert memory(store, kind="run").load() is None


@pytest.mark.parametrize(
    "stored", ["text", 5, [], {}, {"version": 99, "began": 1.0}, {"began": 1.0}, {"version": 1, "order": 2}]
)
def test_what_can_not_be_read_may_be_something_that_an_earlier_try_began(
    stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store, began = StateStore(), datetime.now(timezone.utc) - timedelta(minutes=3)
    store.set("mosaic_run", stored)
    retry = memory(store, try_number=2, start_date=began)
    assert retry.load() == StartRecord(started_at=began.timestamp(), is_saved=False)
    assert "can't be read" in caplog.text
    # No try can have been before the first one, nor before the first one after a clear.
    assert memory(store).load() is None
    assert memory(store, try_number=2, max_tries=3, clear_number=1).load() is None
    assert memory(store, try_number=3, max_tries=3, clear_number=1).load() is not None


def test_a_clear_after_the_retries_were_lowered_is_told_from_a_retry_or_asked_about() -> None:
    store = StateStore()
    memory(store, max_tries=3, retries=3).save_intent(RECORD)
    # One try, and a clear that sets max_tries to what it was: 1 + 2.
    in_doubt = memory(store, try_number=2, max_tries=3, retries=2, clear_number=1)
    assert in_doubt.load() == StartRecord(
        started_at=RECORD.started_at, is_saved=False, deadline=RECORD.deadline, existing_ids=RECORD.existing_ids
    )
    assert in_doubt.cleared_id is None
    # Nothing was cleared; or another task was, and a cleared one would have more tries left.
    assert memory(store, try_number=2, max_tries=3, retries=2).load() == RECORD
    assert memory(store, try_number=2, max_tries=3, retries=3, clear_number=1).load() == RECORD
    assert memory(store, try_number=3, max_tries=3, retries=2, clear_number=1).load() == RECORD
    # Any other clear shows.
    for retries in (0, 1, 3, 4):
        cleared = memory(store, try_number=2, max_tries=1 + retries, retries=retries, clear_number=1)
        assert cleared.load() is None
        assert cleared.cleared_id == "an-id"


def test_an_entry_of_a_release_that_noted_neither_retries_nor_clears_is_gone_on_with() -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    entry = store.get("mosaic_run")
    store.set("mosaic_run", {name: value for name, value in entry.items() if name not in ("retries", "clears")})
    assert memory(store, try_number=2, retries=1, clear_number=1).load() == RECORD


def test_what_is_forgotten_is_gone() -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    memory(store).clear(surely=True)
    assert memory(store).load() is None


def test_without_durable_nothing_is_kept_or_recalled() -> None:
    store = StateStore()
    memory(store).save_intent(RECORD)
    again = memory(store, durable=False)
    assert again.load() is None
    again.save_intent(RECORD)
    again.clear(surely=True)
    assert len(store.history) == 1


# An Airflow without a store


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
def test_without_a_store_a_retry_knows_that_there_may_be_something_and_a_first_try_does_not(
    try_number: int, max_tries: int, is_retry: bool
) -> None:
    # A clear sets max_tries to the tries so far plus the retries.
    retries = 0 if max_tries == 0 else 2
    began = datetime.now(timezone.utc) - timedelta(minutes=3)
    recalled = memory(None, try_number=try_number, max_tries=max_tries, retries=retries, start_date=began).load()
    if is_retry:
        assert recalled is not None
        assert recalled.is_saved is False
        assert recalled.started_at == began.timestamp()
        assert recalled.id is None
    else:
        assert recalled is None


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "is_retry"),
    [(2, 2, 0, True), (3, 3, 0, True), (3, 3, 1, False), (1, 2, 5, False), (2, 2, 5, True)],
    ids=str,
)
def test_without_a_store_it_is_looked_for_where_retries_was_changed_in_the_file_meanwhile(
    try_number: int, max_tries: int, retries: int, is_retry: bool
) -> None:
    # Two of three tries, and retries=1 now, is what the first try after a clear looks like.
    recalled = memory(None, try_number=try_number, max_tries=max_tries, retries=retries).load()
    assert (recalled is not None) is is_retry


def test_without_a_store_and_without_durable_a_retry_knows_nothing() -> None:
    assert memory(None, try_number=2, durable=False).load() is None


# What is the same request


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
def test_a_signature_makes_no_other_request(one: Any, other: Any) -> None:
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
        # These begin like links and are none.
        ("https://[link in bio] one", "https://[link in bio] two"),
        ({"prompt": "http://[a?sig=1"}, {"prompt": "http://[a?sig=2"}),
        (None, ""),
    ],
)
def test_what_is_asked_for_does(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint(["an-agent", {"video_ids": ["v"]}]) == "575f4d21d15ea47b4fda76a4ac8ee4ba"


@pytest.mark.parametrize("text", ["/films/caf\udce9.mp4", "half \ud83d", "https://a.example/?q=\ud83d"])
def test_half_a_character_is_part_of_a_request_as_any_other(text: str) -> None:
    assert fingerprint({"text": text}) == fingerprint({"text": text})
    assert fingerprint({"text": text}) != fingerprint({"text": f"{text}."})
