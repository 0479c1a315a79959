"""The posts and days that the example DAGs select, and how long they wait."""

from __future__ import annotations

import runpy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import ACCOUNT, OTHER_ACCOUNT, until

from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def tasks_of(name: str) -> dict[str, Any]:
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    return dict(found[name]().task_dict)


def measured(days: int = 7) -> set[str]:
    return set(tasks_of("mosaic_measure_posts")["posts"].python_callable(params={"days": days}))


def test_partly_published_posts_are_measured(mosaic: Emulator, hook: MosaicHook) -> None:
    whole = hook.create_post("Whole", social_connection_ids=[ACCOUNT]).post_id
    until(lambda: hook.get_post(whole).status == "posted")
    mosaic.configure(failing_platforms={"tiktok": "Video too long"})
    halved = hook.create_post("Halved", social_connection_ids=[ACCOUNT, OTHER_ACCOUNT]).post_id
    until(lambda: hook.get_post(halved).status == "partial_failure")
    later = datetime.now(timezone.utc) + timedelta(days=1)
    hook.create_post("Not out yet", social_connection_ids=[ACCOUNT], schedule_date=later)
    assert measured() == {whole, halved}


def test_age_of_a_post_counts_from_its_publication(monkeypatch: pytest.MonkeyPatch) -> None:
    def days_ago(days: int) -> datetime:
        return datetime.now(timezone.utc) - timedelta(days=days)

    posts = [
        Post(post_id="scheduled_long_before", status="posted", created_at=days_ago(20), scheduled_at=days_ago(1)),
        Post(post_id="made_now", status="posted", created_at=days_ago(1)),
        Post(post_id="without_a_time", status="posted"),
        Post(post_id="old", status="posted", created_at=days_ago(20), scheduled_at=days_ago(9)),
        Post(post_id="old_made_now", status="posted", created_at=days_ago(9)),
    ]
    monkeypatch.setattr(
        MosaicHook, "list_posts", lambda self, status: iter([post for post in posts if post.status == status])
    )
    assert measured() == {"scheduled_long_before", "made_now", "without_a_time"}


def test_no_wait_is_longer_than_links_last() -> None:
    tasks = tasks_of("mosaic_publish_tonight")
    assert timedelta(days=7) < timedelta(seconds=tasks["wait"].timeout) <= timedelta(days=8)


@pytest.mark.parametrize(
    ("run_after", "chosen", "day"),
    [
        # Cleared later, a DAG run reports the same day.
        (datetime(2026, 3, 1, 1, tzinfo=timezone.utc), None, "2026-02-28"),
        (datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=9))), None, "2026-02-27"),
        (datetime(2026, 3, 1, 1, tzinfo=timezone.utc), "2026-01-31", "2026-01-31"),
    ],
)
def test_credits_are_reported_for_the_day_before_the_dag_run(
    mosaic: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run_after: datetime,
    chosen: str | None,
    day: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_COSTS", str(tmp_path))
    write_usage = tasks_of("mosaic_credits_used")["write_usage"].python_callable
    path = write_usage(params={"day": chosen}, dag_run=SimpleNamespace(run_after=run_after))
    assert Path(path) == tmp_path / f"{day}.jsonl"
