"""The saved state of a task counts for the same request, until a clear."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from tasks.fakes import StateStore, bare_context

from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState


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
    state(store).save(record)
    assert state(store, try_number=2).load() == record


@pytest.mark.parametrize("try_number", [1, 2])
def test_an_empty_store_has_no_record(try_number: int) -> None:
    # An attempt that has saved nothing has started nothing, so a retry does not search.
    assert state(StateStore(), try_number=try_number).load() is None


def test_a_clear_discards_the_record_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    state(store).save(RECORD)
    with caplog.at_level(logging.INFO):
        assert state(store, max_tries=3, try_number=2).load() is None
    assert caplog.messages == ["The task was cleared since its earlier attempt saved run 'an-id'."]


def test_only_a_clear_sets_the_cleared_id() -> None:
    store = StateStore()
    assert state(store).cleared_id is None
    state(store).save(RECORD)
    again, cleared, changed = state(store, try_number=2), state(store, max_tries=3, try_number=2), state(store, "b")
    for each in (again, cleared, changed):
        assert each.cleared_id is None
        each.load()
    assert cleared.cleared_id == "an-id"
    # A retry continues it.
    assert again.cleared_id is None
    assert changed.cleared_id is None


def test_a_record_without_an_id_sets_no_cleared_id() -> None:
    store = StateStore()
    state(store).save(StartRecord(started_at=1.0))
    cleared = state(store, max_tries=3, try_number=2)
    assert cleared.load() is None
    assert cleared.cleared_id is None


def test_a_second_clear_returns_the_latest_id() -> None:
    store = StateStore()
    state(store).save(RECORD)
    state(store, max_tries=3, try_number=2).save(StartRecord(started_at=2.0, id="second"))
    again = state(store, max_tries=5, try_number=3)
    assert again.load() is None
    assert again.cleared_id == "second"


def test_a_changed_request_discards_the_record_and_logs_its_id(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    state(store).save(RECORD)
    changed = state(store, "b")
    assert changed.load() is None
    assert changed.changed == RECORD
    assert "an-id" in caplog.text


def test_each_kind_has_its_own_entry() -> None:
    store = StateStore()
    state(store, kind="post").save(RECORD)
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
    state(store, max_tries=3, retries=3).save(RECORD)
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


def test_a_request_without_effect_leaves_what_was_saved_before() -> None:
    store = StateStore()
    first = state(store)
    assert first.load() is None
    first.save(RECORD)
    first.restore()
    assert store.get("mosaic_run") is None
    state(store).save(RECORD)
    retry = state(store, try_number=2)
    assert retry.load() == RECORD
    retry.save(replace(RECORD, id="another", deadline=None))
    retry.restore()
    assert state(store, try_number=3).load() == RECORD
    # The item from before a clear may still have to be cancelled.
    for attempt in (3, 4):
        cleared = state(store, try_number=attempt, max_tries=4)
        assert (cleared.load(), cleared.cleared_id) == (None, "an-id")
        cleared.save(replace(RECORD, id=None))
        cleared.restore()


@pytest.mark.parametrize("raising", [False, True])
def test_a_request_without_effect_keeps_its_intent_if_the_earlier_record_is_lost(raising: bool) -> None:
    store = StateStore()
    state(store).save(RECORD)
    store.lose(raising=raising)
    retry = state(store, try_number=2)
    assert retry.load() is not None
    intent = StartRecord(started_at=2.0)
    retry.save(intent)
    retry.restore()
    assert state(store, try_number=3).load() == intent


def test_without_durable_nothing_is_saved_or_loaded() -> None:
    store = StateStore()
    state(store).save(RECORD)
    again = state(store, durable=False)
    assert again.load() is None
    again.save(RECORD)
    again.restore()
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
