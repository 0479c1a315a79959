"""Endless lists over both transports end with an error or a warning."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from airflow_provider_mosaic.api import paging
from airflow_provider_mosaic.api.candidates import post_candidates
from airflow_provider_mosaic.api.endpoints.observability import list_workspace_runs
from airflow_provider_mosaic.api.endpoints.posts import list_posts
from airflow_provider_mosaic.api.endpoints.runs import list_runs
from airflow_provider_mosaic.api.endpoints.storage_watchers import list_storage_triggers
from airflow_provider_mosaic.api.errors import MosaicError, MosaicResponseError
from airflow_provider_mosaic.api.paging import MAX_IDLE_PAGES, Listing, aiterate, iterate
from airflow_provider_mosaic.clients.async_client import AsyncClient
from airflow_provider_mosaic.clients.sync_client import SyncClient

from .hostile_endpoints import at_most
from .servers import HostileServer, Reply, answer
from .transports import Transport, access_to

pytestmark = pytest.mark.hostile


def pages(page: Callable[[int], Any]) -> Reply:
    """Reply with the next page of a list."""
    numbers = itertools.count()

    def reply(connection: Any) -> bool:
        return answer(200, page(next(numbers)))(connection)

    return reply


def run(run_id: object) -> dict[str, Any]:
    return {"run_id": str(run_id), "status": "running"}


def read_list(transport: Transport, server: HostileServer, listing: Listing[Any], found: list[Any]) -> None:
    """Read a list, and keep the items that came before an error."""
    if transport.kind == "sync":
        with SyncClient(access_to(server.url)) as client:
            found.extend(iterate(client.send, listing))
        return

    async def collect() -> None:
        async with AsyncClient(access_to(server.url)) as client:
            async for item in aiterate(client.send, listing):
                found.append(item)  # noqa: PERF401 - what came before an error counts

    asyncio.run(collect())


ENDLESS: dict[str, tuple[Callable[[int], Any], int]] = {
    "empty pages": (lambda n: {"runs": [], "next_cursor": f"c{n}"}, 0),
    "pages of null": (lambda n: {"runs": None, "next_cursor": f"c{n}"}, 0),
    "the same run on each page": (lambda n: {"runs": [run("a")], "next_cursor": f"c{n}"}, 1),
    "two pages again and again": (lambda n: {"runs": [run(n % 2)], "cursor": n + 1}, 2),
}


@pytest.mark.parametrize(("page", "there"), ENDLESS.values(), ids=ENDLESS)
def test_list_without_new_items_fails(transport: Transport, page: Callable[[int], Any], there: int) -> None:
    found: list[Any] = []
    with HostileServer(pages(page)) as server, pytest.raises(MosaicResponseError) as error:
        read_list(transport, server, list_runs("a"), found)
    assert f"{MAX_IDLE_PAGES} pages in a row without a new item" in str(error.value)
    assert f"{there} items were read" in str(error.value)
    assert not error.value.effect_unknown
    assert len(found) == there
    assert len(server.seen) == there + MAX_IDLE_PAGES


def test_ignored_offset_fails(transport: Transport) -> None:
    found: list[Any] = []
    with (
        HostileServer(pages(lambda n: {"runs": [run("a"), run("b")]})) as server,
        pytest.raises(MosaicResponseError, match="without a new item"),
    ):
        read_list(transport, server, list_workspace_runs(), found)
    assert [row.id for row in found] == ["a", "b"]


def test_empty_pages_are_skipped(transport: Transport) -> None:
    last = 2 * MAX_IDLE_PAGES
    found: list[Any] = []

    def page(number: int) -> Any:
        full = number % MAX_IDLE_PAGES == 0
        return {"runs": [run(number)] if full else [], "next_cursor": None if number == last else f"c{number}"}

    with HostileServer(pages(page)) as server:
        read_list(transport, server, list_runs(), found)
    assert [each.run_id for each in found] == ["0", str(MAX_IDLE_PAGES), str(last)]


@pytest.mark.parametrize(
    ("limit", "read", "words"),
    [({"most_pages": 7}, 7, "has more than 7 pages"), ({"most_seconds": 0.0}, 1, "has more pages after 0 s")],
    ids=["pages", "seconds"],
)
def test_endless_list_fails_at_its_limit(transport: Transport, limit: dict[str, Any], read: int, words: str) -> None:
    found: list[Any] = []
    with (
        HostileServer(pages(lambda n: {"runs": [run(n)], "next_cursor": f"c{n}"})) as server,
        pytest.raises(MosaicError, match=words),
    ):
        read_list(transport, server, list_runs().all_or_error(**limit), found)
    assert len(found) == len(server.seen) == read


def test_list_with_endless_pages_fails(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_MIN_ITEM_LIMIT", 5_000)
    found: list[Any] = []
    with (
        HostileServer(pages(lambda n: {"runs": [run(f"{n}-{i}") for i in range(3_000)], "cursor": n + 1})) as server,
        pytest.raises(MosaicResponseError, match="has more than 5,000 items"),
    ):
        read_list(transport, server, list_runs().all_or_error(most_pages=50), found)
    assert (len(found), len(server.seen)) == (5_000, 2)


def test_large_rows_without_ids_use_little_memory(transport: Transport) -> None:
    class Dropped(list[Any]):
        def extend(self, items: Iterable[Any]) -> None:
            for item in items:
                self.append(item)

        def append(self, item: Any) -> None:
            assert item.id is None

    listing = replace(list_storage_triggers(), most_pages=40)
    with (
        HostileServer(pages(lambda n: {"items": [{"n": n, "x": "x" * 2**21}], "next_cursor": str(n)})) as server,
        at_most(60 * 2**20),
        pytest.raises(MosaicResponseError, match="more than 40 pages"),
    ):
        read_list(transport, server, listing, Dropped())


def test_search_for_a_post_among_large_posts_uses_little_memory(plain_environment: None) -> None:
    ligature = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
    texts = itertools.cycle(["Premiere tonight " * 2**17, ligature * 2**18])

    def page(number: int) -> Any:
        return {"posts": [{"post_id": str(number), "description": next(texts)}], "next_cursor": str(number)}

    with (
        HostileServer(pages(page)) as server,
        SyncClient(access_to(server.url)) as client,
        at_most(40 * 2**20),
    ):
        posts = islice(iterate(client.send, list_posts().all_or_error()), 30)
        found = post_candidates(posts, body={"post": "Premiere tonight " * 10}, before=None, since=0.0)
    assert [candidate.id for candidate in found] == [str(number) for number in range(0, 30, 2)]
    assert all(candidate.is_partial_match for candidate in found)


def test_other_coroutines_run_while_a_page_is_processed(plain_environment: None) -> None:
    turns: list[int] = []

    async def read() -> None:
        async def send(call: Any) -> Any:
            return call.read({"runs": [run(number) for number in range(1_000)]})

        async def other() -> None:
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async for _ in aiterate(send, list_runs()):
            pass
        task.cancel()

    asyncio.run(read())
    assert len(turns) >= 40


def test_repeated_cursor_ends_the_list_with_a_warning(transport: Transport, caplog: pytest.LogCaptureFixture) -> None:
    found: list[Any] = []
    with HostileServer(pages(lambda n: {"runs": [run(n)], "next_cursor": f"c{n % 2}"})) as server:
        read_list(transport, server, list_runs(), found)
    assert [each.run_id for each in found] == ["0", "1", "2"]
    [line] = [record.message for record in caplog.records if record.name.startswith("airflow_provider_mosaic")]
    assert line.startswith("GET /agent_runs repeats a cursor. The list ends with the 3 items read so far")


def test_repeated_cursor_fails_if_all_items_are_needed(transport: Transport) -> None:
    found: list[Any] = []
    with (
        HostileServer(pages(lambda n: {"runs": [run(n)], "next_cursor": f"c{n % 2}"})) as server,
        pytest.raises(MosaicResponseError, match="repeats a cursor instead of reaching its end"),
    ):
        read_list(transport, server, list_runs().all_or_error(), found)
    assert len(found) == 3


def test_first_items_of_an_empty_endless_list_fail(plain_environment: None) -> None:
    with (
        HostileServer(pages(lambda n: {"posts": [], "next_cursor": f"c{n}"})) as server,
        SyncClient(access_to(server.url)) as client,
        pytest.raises(MosaicResponseError, match="without a new item"),
    ):
        list(islice(iterate(client.send, list_posts()), 300))


def test_oversized_cursor_fails(transport: Transport) -> None:
    with (
        HostileServer(pages(lambda n: {"runs": [run(n)], "next_cursor": "c" * 100_000})) as server,
        pytest.raises(MosaicResponseError, match="'next_cursor' is longer than 8192 characters"),
    ):
        read_list(transport, server, list_runs(), [])
