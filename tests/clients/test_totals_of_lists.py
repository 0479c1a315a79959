"""Lists that report a total instead of a cursor. A caller that relies on missing items must not miss any."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.runs import list_runs
from airflow_provider_mosaic.api.endpoints.social import list_posts
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.paging import Listing

from .servers import HostileServer, answer
from .test_endless_lists import read_list
from .transports import Transport

RUNS = [{"run_id": str(number), "status": "running"} for number in range(25)]


def read(transport: Transport, listing: Listing[Any], body: dict[str, Any]) -> int:
    """Return the number of items of a list."""
    found: list[Any] = []
    with HostileServer(answer(200, body)) as server:
        read_list(transport, server, listing, found)
    return len(found)


@pytest.mark.parametrize(
    "more", [{"page": 1, "total": 26}, {"total_count": 26}, {"pagination": {"page": 1, "totalCount": 300}}]
)
def test_list_with_a_total_and_no_cursor_fails_if_all_items_are_needed(
    transport: Transport, more: dict[str, Any]
) -> None:
    body = {"runs": RUNS, **more}
    with pytest.raises(MosaicResponseError, match="no cursor for the others"):
        read(transport, list_runs("a").all_or_error(), body)
    assert read(transport, list_runs("a"), body) == len(RUNS)


@pytest.mark.parametrize("more", [{}, {"total": 25}, {"total": 0}, {"total": "26"}, {"total": 26, "next_cursor": None}])
def test_list_that_ends_is_complete(transport: Transport, more: dict[str, Any]) -> None:
    assert read(transport, list_runs("a").all_or_error(), {"runs": RUNS, **more}) == len(RUNS)


def test_newest_posts_are_enough(transport: Transport) -> None:
    posts = [{"post_id": str(number)} for number in range(25)]
    assert read(transport, list_posts().all_or_error(), {"posts": posts, "total": 300}) == len(posts)
