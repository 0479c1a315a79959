"""Rows for a warehouse: ids first, integers stay integers, the same columns in all rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.billing import get_credits_usage
from airflow_provider_mosaic.api.endpoints.engagement import get_post_analytics, list_post_comments
from airflow_provider_mosaic.api.endpoints.observability import (
    RunRow,
    list_pipeline_runs,
    list_run_notifications,
    list_run_tasks,
    read_run_progress,
)
from airflow_provider_mosaic.api.paging import iterate
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.rows import Row

IDS = ["post_id", "platform", "platform_post_id", "post_url"]
METRICS = ["likes", "comments", "shares", "impressions", "views", "video_views"]


def read(call: Call[Any], body: Any) -> Any:
    return call.result(Response(200, {}, json.dumps(body).encode()))


def analytics(totals: dict[str, Any], **platforms: dict[str, Any]) -> Any:
    entries = [
        {"platform": name, "platform_post_id": f"{name}-1", "metrics": metrics, "raw_metrics": {"plays": None, "n": 1}}
        for name, metrics in platforms.items()
    ]
    return read(get_post_analytics("p"), {"analytics": {"totals": totals, "platforms": entries}})


def test_analytics_rows_have_the_same_columns_ids_first() -> None:
    rows = analytics({"saves": 5}, youtube={"views": 3, "watch_time": 1.5}, x={"retweets": 2, "likes": 1}, tiktok={})
    columns = [list(row) for row in rows.as_rows()]
    assert columns == [[*IDS, *METRICS, "saves", "watch_time", "retweets"]] * 3
    assert rows.as_rows()[2] == {**dict.fromkeys(columns[0]), "post_id": "p", "platform": "tiktok",
                                 "platform_post_id": "tiktok-1"}  # fmt: skip


def test_documented_metrics_are_always_columns() -> None:
    (row,) = analytics({}, x={}).as_rows()
    assert list(row) == [*IDS, *METRICS]


def test_integers_and_fractions_keep_their_type() -> None:
    found = analytics(
        {"views": 2**53 + 1, "likes": None}, x={"views": 860, "rate": 0.5, "likes": "41", "shares": True, "odd": "many"}
    )
    (row,) = found.as_rows()
    assert [type(row[name]) for name in ("views", "rate", "likes")] == [int, float, int]
    assert (row["views"], row["likes"], row["shares"], row["odd"]) == (860, 41, None, None)
    assert found.totals == {"views": 2**53 + 1, "likes": None}
    assert json.loads(json.dumps(row)) == row


def test_totals_and_raw_metrics_are_kept() -> None:
    found = analytics({"views": 3}, x={"views": 3})
    assert found.totals == {"views": 3}
    assert found.platforms[0].raw_metrics == {"plays": None, "n": 1}


def test_invalid_raw_metrics_do_not_hide_the_metrics() -> None:
    entry = {"platform": "x", "metrics": {"views": 3}, "raw_metrics": ["odd"]}
    found = read(get_post_analytics("p"), {"analytics": {"platforms": [entry]}})
    assert found.platforms[0].metrics == {"views": 3}


def test_integer_credits_stay_integers() -> None:
    row = {"date": "2026-06-12", "tile_id": "t", "tile_name": None, "credits_used": 120, "events": 4}
    body = {"summary": {"total_credits_used": 120.5}, "breakdown": {"by_date_and_tile": [row]}}
    usage = read(get_credits_usage(), body)
    dumped = usage.by_date_and_tile[0].model_dump(mode="json")
    assert [type(dumped[name]) for name in ("credits_used", "events")] == [int, int]
    assert usage.total_credits_used == 120.5


@pytest.mark.parametrize("value", [None, 0, "x"])
def test_row_keeps_null_columns(value: Any) -> None:
    row = Row.model_validate({"progress": value, "status": None, "folder_id": "f", "id": 7}).as_row()
    assert row == {"id": "7", "folder_id": "f", "status": None, "progress": value}
    assert list(row) == ["id", "folder_id", "status", "progress"]


@pytest.mark.parametrize(
    ("facts", "own"),
    [({"run_id": "r", "id": "i"}, "r"), ({"agent_state_id": "a"}, "a"), ({"run_id": None, "id": "i"}, "i"), ({}, None)],
)
def test_names_of_the_id_of_a_run_row(facts: dict[str, Any], own: str | None) -> None:
    assert RunRow.model_validate(facts).id == own


def test_id_beside_a_run_id_is_kept() -> None:
    items = [
        {"id": "pr_1", "run_id": "r_1"},
        {"id": "pr_2", "run_id": "r_1"},
        {"id": None, "run_id": "r_1"},
        {"id": "pr_1", "run_id": "r_1"},
    ]
    found = list(iterate(lambda call: read(call, {"pipeline_runs": items}), list_pipeline_runs()))
    assert [row.as_row() for row in found] == [
        {"id": "r_1", "reported_id": own, "run_id": "r_1", "agent_id": None, "status": None}
        for own in ("pr_1", "pr_2", None)
    ]


def test_id_of_a_run_row_is_not_repeated() -> None:
    assert "reported_id" not in RunRow.model_validate({"id": "r", "agent_id": "a"}).as_row()


def test_rows_of_the_same_run_are_different_rows() -> None:
    tasks = [{"run_id": "r", "task_id": f"t{number}"} for number in range(3)]
    sent = [{"run_id": "r", "channel": channel} for channel in ("email", "slack")]
    for listing, key, items in (
        (list_run_tasks("r"), "tasks", tasks),
        (list_run_notifications("r"), "notifications", sent),
    ):
        found = list(iterate(lambda call, key=key, items=items: read(call, {key: items}), listing))  # type: ignore[misc]
        assert len(found) == len(items)


def test_run_progress_has_the_tiles_of_all_pages() -> None:
    cursors: list[Any] = []

    def send(call: Call[Any]) -> Any:
        cursors.append(call.query["cursor"])
        page = len(cursors)
        tiles = [{"agent_node_id": f"n{page}-{number}", "status": "completed"} for number in range(100)]
        return read(
            call,
            {"completed_node_percent": 10.0 * page, "tiles": tiles, "next_cursor": f"c{page}" if page < 3 else None},
        )

    progress = read_run_progress(send, "r")
    assert cursors == [None, "c1", "c2"]
    assert len({tile.id for tile in progress.tiles}) == len(progress.tiles) == 300
    assert (progress.completed_node_percent, progress.next_cursor) == (30.0, None)


def test_run_progress_without_tiles() -> None:
    progress = read_run_progress(lambda call: read(call, {"completed_node_percent": 50}), "r")
    assert (progress.completed_node_percent, progress.tiles) == (50.0, ())


def test_only_equal_comments_without_an_id_are_one() -> None:
    texts = [{"platform": "x", "created_at": "2026-06-12T10:00:00Z", "text": text} for text in ("Yes", "No", "Yes")]
    ids = [{"platform": platform, "platform_comment_id": "7"} for platform in ("x", "youtube", "x")]
    own_ids = [{"platform": platform, "comment_id": "1"} for platform in ("x", "youtube", "x")]
    comments = [*texts, *ids, *own_ids]
    found = list(iterate(lambda call: read(call, {"comments": comments}), list_post_comments("p")))
    assert [comment.model_extra for comment in found[:2]] == [{"text": "Yes"}, {"text": "No"}]
    assert [comment.platform for comment in found[2:]] == ["x", "youtube"] * 2


def test_comments_are_requested_without_limit() -> None:
    assert "limit" not in list_post_comments("p").page("c").target
