from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pendulum
import pytest

from airflow_provider_mosaic.api import paging
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import list_agents
from airflow_provider_mosaic.api.endpoints.billing import get_credits_usage, list_plans
from airflow_provider_mosaic.api.endpoints.observability import read_run_progress
from airflow_provider_mosaic.api.endpoints.posts import PostStatus, list_posts
from airflow_provider_mosaic.api.endpoints.runs import list_runs
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicServerError, MosaicTransportError
from airflow_provider_mosaic.api.paging import Listing, Page, aiterate, iterate
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.rows import Row, by_offset

#: Stops a list that has no end.
MAX_PAGES = 20


class Pages:
    """An API with one list. ``pages`` are its responses by cursor."""

    def __init__(self, pages: dict[str | None, Any]) -> None:
        self._pages = pages
        self.cursors: list[str | int | None] = []

    def send(self, call: Call[Page[Any]]) -> Page[Any]:
        self.cursors.append(call.query["cursor"])
        assert len(self.cursors) < MAX_PAGES
        page = self._pages[call.query["cursor"]]  # type: ignore[index]
        return call.result(Response(200, {}, json.dumps(page).encode()))

    async def asend(self, call: Call[Page[Any]]) -> Page[Any]:
        return self.send(call)


def read_sync(pages: Pages, listing: Listing[Any]) -> list[Any]:
    return list(iterate(pages.send, listing))


def read_async(pages: Pages, listing: Listing[Any]) -> list[Any]:
    async def collect() -> list[Any]:
        return [item async for item in aiterate(pages.asend, listing)]

    return asyncio.run(collect())


@pytest.fixture(params=[read_sync, read_async])
def read_all(request: pytest.FixtureRequest) -> Callable[[Pages, Listing[Any]], list[Any]]:
    return request.param  # type: ignore[no-any-return]


ReadAll = Callable[[Pages, Listing[Any]], list[Any]]


def runs(*ids: str, **rest: Any) -> dict[str, Any]:
    return {"runs": [{"run_id": run, "status": "running"} for run in ids], **rest}


def ids(items: list[Any]) -> list[str]:
    return [run.run_id for run in items]


@pytest.mark.parametrize(
    ("pages", "found", "cursors"),
    [
        ({None: runs("a", "b", next_cursor=None)}, "ab", [None]),
        ({None: runs("a", "b")}, "ab", [None]),
        ({None: runs("a", next_cursor="")}, "a", [None]),
        ({None: runs("a", next_cursor="1"), "1": runs("b", next_cursor="2"), "2": runs("c")}, "abc", [None, "1", "2"]),
        ({None: runs("a", cursor="1"), "1": runs("b", cursor=None)}, "ab", [None, "1"]),
        ({None: runs("a", next_cursor=7), "7": runs("b")}, "ab", [None, "7"]),
        ({None: runs(next_cursor="1"), "1": runs("a")}, "a", [None, "1"]),
        ({None: runs("a", next_cursor="1"), "1": runs("b", next_cursor="1")}, "ab", [None, "1"]),
        (
            {None: runs("a", next_cursor="1"), "1": runs("b", next_cursor="2"), "2": runs("c", next_cursor="1")},
            "abc",
            [None, "1", "2"],
        ),
        ({None: runs("a", next_cursor=None, cursor=None), "1": runs("b")}, "a", [None]),
        ({None: runs("a", next_cursor="1"), "1": runs("b", next_cursor=None, cursor="1")}, "ab", [None, "1"]),
        ({None: runs("a", "b", next_cursor="1"), "1": runs("b", "c", "a")}, "abc", [None, "1"]),
        ({None: runs("a", "a")}, "a", [None]),
        ({None: {"runs": None, "next_cursor": "1"}, "1": runs("a")}, "a", [None, "1"]),
        ({None: {"runs": [None, {"run_id": "a", "status": "running"}]}}, "a", [None]),
        ({None: runs()}, "", [None]),
    ],
)
def test_list_is_read_to_its_end_once(
    read_all: ReadAll, pages: dict[str | None, Any], found: str, cursors: list[str | None]
) -> None:
    api = Pages(pages)
    assert ids(read_all(api, list_runs())) == list(found)
    assert api.cursors == cursors


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"next_cursor": None}, "the field 'runs' is missing"),
        ({"runs": {"a": 1}}, "'runs' is a dict where a list was expected"),
        ({"runs": "none"}, "'runs' is a str where a list was expected"),
        ([], "it is a list where an object was expected"),
        ({"runs": ["a"]}, "it is a str where an object was expected"),
        ({"runs": [{"status": "running"}]}, "the field 'run_id' is missing"),
        (runs("a", next_cursor={"after": "a"}), "'next_cursor' is a dict where a text was expected"),
        (runs("a", next_cursor=True), "'next_cursor' is a bool where a text was expected"),
    ],
)
def test_invalid_page_is_an_error_not_an_empty_list(read_all: ReadAll, answer: Any, words: str) -> None:
    with pytest.raises(MosaicResponseError, match=words):
        read_all(Pages({None: answer}), list_runs())


def test_error_on_a_later_page_does_not_end_the_list(read_all: ReadAll) -> None:
    class Failing(Pages):
        def send(self, call: Call[Page[Any]]) -> Page[Any]:
            if call.query["cursor"]:
                raise MosaicServerError("x")
            return super().send(call)

    with pytest.raises(MosaicServerError):
        read_all(Failing({None: runs("a", next_cursor="1")}), list_runs())


class SlowPages(Pages):
    """An API with seven pages that take 70 seconds each, by its own clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = {n: {**runs(str(n)), "tiles": [{"id": str(n)}]} for n in range(7)}
        more = {n: {"next_cursor": str(n + 1) if n < 6 else None} for n in rows}
        super().__init__({str(n) if n else None: rows[n] | more[n] for n in rows})
        self.now = 0.0
        monkeypatch.setattr(paging, "time", self)

    def monotonic(self) -> float:
        return self.now

    def send(self, call: Call[Page[Any]]) -> Page[Any]:
        self.now += 70.0
        return super().send(call)


def test_pages_that_take_too_long_are_an_error(read_all: ReadAll, monkeypatch: pytest.MonkeyPatch) -> None:
    api = SlowPages(monkeypatch)
    with pytest.raises(MosaicTransportError, match=r"has more pages after 350 s\. 5 items were read") as error:
        read_all(api, list_runs().all_or_error())
    assert error.value.transient
    assert not error.value.effect_unknown
    with pytest.raises(MosaicTransportError, match="has more pages after 350 s"):
        read_run_progress(api.send, "r")  # type: ignore[arg-type]


def test_slow_list_without_a_limit_is_logged_once(
    read_all: ReadAll, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert len(read_all(SlowPages(monkeypatch), list_runs())) == 7
    assert caplog.messages == ["GET /agent_runs is slow: 1 items in 70 s. Reading more pages."]


def test_time_of_the_caller_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    api = SlowPages(monkeypatch)
    items = iterate(api.send, list_runs().all_or_error(most_seconds=450))
    for _ in items:
        api.now += 1000.0
    assert len(api.cursors) == 7


def test_pages_are_read_lazily() -> None:
    api = Pages({None: runs("a", "b", next_cursor="1"), "1": runs("c")})
    items: Iterator[Any] = iterate(api.send, list_runs())
    assert api.cursors == []
    next(items)
    next(items)
    assert api.cursors == [None]
    next(items)
    assert api.cursors == [None, "1"]


@pytest.mark.parametrize(
    ("listing", "path", "query"),
    [
        (list_agents(), "/agents", "limit=100"),
        (list_runs(), "/agent_runs", "limit=100"),
        (list_runs("a"), "/agent/{agent_id}/runs", "limit=100"),
        (
            list_runs(
                "a",
                status=["running", "failed"],
                created_from="2026-07-01T12:00:00+02:00",
                created_to="2026-07-02T00:00:00Z",
            ),
            "/agent/{agent_id}/runs",
            "limit=100&status=running%2Cfailed&from=2026-07-01T10%3A00%3A00Z&to=2026-07-02T00%3A00%3A00Z",
        ),
        (list_runs(status="running"), "/agent_runs", "limit=100&status=running"),
        (
            list_posts(status=PostStatus.POSTED, platform="x", social_connection_id="c"),
            "/social/posts",
            "limit=100&status=posted&platform=x&social_connection_id=c",
        ),
    ],
)
def test_filters_are_sent_with_every_page(listing: Listing[Any], path: str, query: str) -> None:
    first, second = listing.page(None), listing.page("next one/=")
    assert (first.path, second.path) == (path, path)
    assert first.target.partition("?")[2] == query
    assert sorted(second.target.partition("?")[2].split("&")) == sorted([*query.split("&"), "cursor=next+one%2F%3D"])


@pytest.mark.parametrize("most", [1, 2, 200])
@pytest.mark.parametrize(
    "pagination",
    [
        lambda more: {},
        lambda more: {"has_more": more, "total": 5},
        lambda more: {"pagination": {"hasMore": more}},
    ],
)
def test_offset_list_ends_with_an_empty_page(most: int, pagination: Callable[[bool], dict[str, Any]]) -> None:
    there = [{"id": str(number), "status": "failed"} for number in range(5)]
    cursors: list[int] = []

    def send(call: Call[Any]) -> Any:
        cursors.append(int(call.query.get("offset") or 0))
        rows = there[cursors[-1] : cursors[-1] + most]
        body = {"runs": rows, **pagination(cursors[-1] + most < len(there))}
        return call.result(Response(200, {}, json.dumps(body).encode()))

    assert [row.id for row in iterate(send, by_offset("list", "/automations/runs", Row, query={}))] == list("01234")
    assert cursors == [*range(0, 5, most), 5]


@pytest.mark.parametrize(
    "more", [{"cursor": "c"}, {"nextCursor": "c"}, {"pagination": {"next_cursor": "c", "has_more": True}}], ids=str
)
def test_cursor_has_other_names(read_all: ReadAll, more: dict[str, Any]) -> None:
    pages = Pages({None: {"posts": [{"post_id": "a"}], **more}, "c": {"posts": [{"post_id": "b"}], "has_more": False}})
    assert [post.post_id for post in read_all(pages, list_posts())] == ["a", "b"]


@pytest.mark.parametrize(
    "last",
    [
        {"next_cursor": None, "cursor": "c"},
        {"nextCursor": None, "cursor": "c"},
        {"next_cursor": "", "cursor": "c"},
        {"pagination": {"next_cursor": None, "cursor": "c", "has_more": False}},
        {"cursor": "c", "pagination": {"next_cursor": None}},
        {"next_cursor": "c", "has_more": False},
        {"next_cursor": "d", "hasMore": False},
        {"next_cursor": {"after": "b"}, "has_more": False},
        {"pagination": {"next_cursor": "c", "has_more": False}},
    ],
    ids=str,
)
def test_last_page_may_repeat_the_cursor_that_was_sent(
    read_all: ReadAll, last: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pages = Pages({None: runs("a", next_cursor="c", cursor=None), "c": runs("b", **last)})
    assert ids(read_all(pages, list_runs().all_or_error())) == ["a", "b"]
    assert pages.cursors == [None, "c"]
    assert caplog.messages == []


def test_cursor_counts_if_one_of_two_fields_says_that_more_follows(read_all: ReadAll) -> None:
    more = {"next_cursor": "c", "has_more": False, "pagination": {"has_more": True}}
    assert ids(read_all(Pages({None: runs("a", **more), "c": runs("b")}), list_runs())) == ["a", "b"]


def test_list_without_pagination_may_end_with_a_cursor() -> None:
    body = {"plans": [{"id": "p"}], "next_cursor": "p", "has_more": False}
    assert [plan.id for plan in list_plans().result(Response(200, {}, json.dumps(body).encode()))] == ["p"]


@pytest.mark.parametrize("day", ["2026-09-01", " 2026-09-01 ", date(2026, 9, 1), pendulum.date(2026, 9, 1)], ids=repr)
def test_period_of_used_credits_may_be_dates(day: Any) -> None:
    assert get_credits_usage(start_date=day, end_date=day).query["start_date"] == "2026-09-01"
    assert get_credits_usage(start_date=day, end_date=day).query["end_date"] == "2026-09-01"


def test_period_of_used_credits_may_be_times() -> None:
    query = get_credits_usage(start_date="2026-09-01T02:00:00+02:00", end_date=pendulum.datetime(2026, 9, 2)).query
    assert (query["start_date"], query["end_date"]) == ("2026-09-01T00:00:00Z", "2026-09-02T00:00:00Z")


def test_two_names_of_the_next_cursor(read_all: ReadAll) -> None:
    pages = Pages({None: runs("a", next_cursor=None, nextCursor="c", cursor="b"), "c": runs("b")})
    assert ids(read_all(pages, list_runs().all_or_error())) == ["a", "b"]


@pytest.mark.parametrize(
    "more", [{"has_more": True}, {"hasMore": True}, {"pagination": {"has_more": True, "next": "/x"}}], ids=str
)
def test_list_with_more_items_and_no_cursor_is_an_error(read_all: ReadAll, more: dict[str, Any]) -> None:
    with pytest.raises(MosaicResponseError, match=r"has_more|hasMore"):
        read_all(Pages({None: {"posts": [{"post_id": "a"}], **more}}), list_posts())


def test_empty_page_of_an_offset_list_that_has_more_is_an_error() -> None:
    def send(call: Call[Any]) -> Any:
        return call.result(Response(200, {}, b'{"runs": [], "has_more": true}'))

    with pytest.raises(MosaicResponseError, match="'has_more' is true"):
        list(iterate(send, by_offset("list", "/automations/runs", Row, query={})))
