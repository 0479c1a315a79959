from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import list_agents
from airflow_provider_mosaic.api.endpoints.runs import list_runs
from airflow_provider_mosaic.api.endpoints.social import list_posts
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicServerError
from airflow_provider_mosaic.api.paging import Listing, Page, aiterate, iterate
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.rows import Row, by_offset

#: Ends a list that would go on for ever.
MOST_PAGES = 20


class Pages:
    """
    An API that gives pages.

    :param pages: By the cursor that asks for them.
    """

    def __init__(self, pages: dict[str | None, Any]) -> None:
        self._pages = pages
        self.asked: list[str | int | None] = []

    def send(self, call: Call[Page[Any]]) -> Page[Any]:
        self.asked.append(call.query["cursor"])
        assert len(self.asked) < MOST_PAGES
        page = self._pages[call.query["cursor"]]  # type: ignore[index]
        return call.result(Response(200, {}, json.dumps(page).encode()))

    async def asend(self, call: Call[Page[Any]]) -> Page[Any]:
        return self.send(call)


def plain(pages: Pages, listing: Listing[Any]) -> list[Any]:
    return list(iterate(pages.send, listing))


def awaited(pages: Pages, listing: Listing[Any]) -> list[Any]:
    async def collect() -> list[Any]:
        return [item async for item in aiterate(pages.asend, listing)]

    return asyncio.run(collect())


@pytest.fixture(params=[plain, awaited])
def walk(request: pytest.FixtureRequest) -> Callable[[Pages, Listing[Any]], list[Any]]:
    return request.param  # type: ignore[no-any-return]


Walk = Callable[[Pages, Listing[Any]], list[Any]]


def runs(*ids: str, **rest: Any) -> dict[str, Any]:
    return {"runs": [{"run_id": run, "status": "running"} for run in ids], **rest}


def ids(items: list[Any]) -> list[str]:
    return [run.run_id for run in items]


@pytest.mark.parametrize(
    ("pages", "found", "asked"),
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
def test_a_list_is_walked_to_its_end_once(
    walk: Walk, pages: dict[str | None, Any], found: str, asked: list[str | None]
) -> None:
    api = Pages(pages)
    assert ids(walk(api, list_runs())) == list(found)
    assert api.asked == asked


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
def test_what_is_no_list_is_an_error_and_not_an_empty_one(walk: Walk, answer: Any, words: str) -> None:
    with pytest.raises(MosaicResponseError, match=words):
        walk(Pages({None: answer}), list_runs())


def test_a_fault_on_a_later_page_is_not_taken_for_the_end(walk: Walk) -> None:
    class Failing(Pages):
        def send(self, call: Call[Page[Any]]) -> Page[Any]:
            if call.query["cursor"]:
                raise MosaicServerError("x")
            return super().send(call)

    with pytest.raises(MosaicServerError):
        walk(Failing({None: runs("a", next_cursor="1")}), list_runs())


def test_pages_are_asked_for_only_when_they_are_needed() -> None:
    api = Pages({None: runs("a", "b", next_cursor="1"), "1": runs("c")})
    items: Iterator[Any] = iterate(api.send, list_runs())
    assert api.asked == []
    next(items)
    next(items)
    assert api.asked == [None]
    next(items)
    assert api.asked == [None, "1"]


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
            list_posts(status="posted", platform="x", social_connection_id="c"),
            "/social/posts",
            "limit=100&status=posted&platform=x&social_connection_id=c",
        ),
    ],
)
def test_filters_stay_the_same_on_every_page(listing: Listing[Any], path: str, query: str) -> None:
    first, second = listing.page(None), listing.page("next one/=")
    assert (first.path, second.path) == (path, path)
    assert first.target.partition("?")[2] == query
    assert sorted(second.target.partition("?")[2].split("&")) == sorted([*query.split("&"), "cursor=next+one%2F%3D"])


@pytest.mark.parametrize("most", [1, 2, 200])
def test_a_list_by_offset_ends_with_an_empty_page_however_few_a_page_has(most: int) -> None:
    there = [{"id": str(number), "status": "failed"} for number in range(5)]
    asked: list[int] = []

    def send(call: Call[Any]) -> Any:
        asked.append(int(call.query.get("offset") or 0))
        rows = there[asked[-1] : asked[-1] + most]
        return call.result(Response(200, {}, json.dumps({"runs": rows}).encode()))

    assert [row.id for row in iterate(send, by_offset("list", "/automations/runs", Row, query={}))] == list("01234")
    assert asked == [*range(0, 5, most), 5]
