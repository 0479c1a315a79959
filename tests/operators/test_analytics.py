"""The metrics of a post as rows for a warehouse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import TaskRunner
from tasks.fixtures import ACCOUNT, OTHER_ACCOUNT, Clock, effects, until

from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicNotFoundError, MosaicServerError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicPostAnalyticsOperator

ANALYTICS = "/social/post/{post_id}/analytics"


@pytest.fixture
def post_id(mosaic: Emulator, hook: MosaicHook) -> str:
    post = hook.create_post("Hello", social_connection_ids=[ACCOUNT, OTHER_ACCOUNT])
    until(lambda: mosaic.posts()[0]["status"] == "posted")
    return post.post_id


def task_runner(post_id: str, **options: Any) -> TaskRunner:
    return TaskRunner(lambda: MosaicPostAnalyticsOperator(task_id="metrics", post_id=post_id, **options))


def test_one_row_per_platform_with_a_column_per_metric(mosaic: Emulator, post_id: str) -> None:
    task = task_runner(post_id)
    rows = task.execute()
    assert task.xcom("totals")["views"] == sum(row["views"] for row in rows)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert len({row["platform"] for row in rows}) == len(rows) == 2
    for row in rows:
        assert row["post_id"] == post_id
        assert row["post_url"].startswith("https://")
        assert {"likes", "comments", "views"} <= set(row)
        assert all(value is None or isinstance(value, (int, float, str)) for value in row.values())
    assert json.loads(json.dumps(rows)) == rows
    assert effects(mosaic) == {"posts_made": 1}


def test_metrics_of_one_account(post_id: str) -> None:
    [row] = task_runner(post_id, social_connection_id=ACCOUNT).execute()
    assert row["post_id"] == post_id


def test_unpublished_post_is_retried(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_posts=True)
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    with pytest.raises(MosaicConflictError):
        task_runner(post_id).execute()
    mosaic.configure(unpublished_status=200)
    assert task_runner(post_id).execute() == []


def test_missing_post_fails_without_retries(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException) as failure:
        task_runner("no-such-post").execute()
    assert type(failure.value.error) is MosaicNotFoundError


def test_server_error_is_retried(mosaic: Emulator, post_id: str, clock: Clock) -> None:
    mosaic.inject("server_error", method="GET", path=ANALYTICS, times=None)
    with pytest.raises(MosaicServerError):
        task_runner(post_id).execute()
