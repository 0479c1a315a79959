"""Lists that report more items than they have, or a failure. A caller that relies on missing items gets an error."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.agents import list_agents, list_node_types
from airflow_provider_mosaic.api.endpoints.avatars import list_avatar_profiles
from airflow_provider_mosaic.api.endpoints.billing import list_plans
from airflow_provider_mosaic.api.endpoints.observability import list_trigger_runs
from airflow_provider_mosaic.api.endpoints.posts import list_posts
from airflow_provider_mosaic.api.endpoints.runs import get_run_nodes, list_runs
from airflow_provider_mosaic.api.endpoints.social_connections import list_social_connections
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.paging import Listing

from .servers import HostileServer, answer
from .test_endless_lists import read_list
from .transports import Transport, access_to

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


#: Bodies with a list of agents that may be a part of it, each with the reason and the number of agents in it.
PARTS: dict[str, tuple[dict[str, Any], str, int]] = {
    "null": ({"agents": None}, "'agents' is null", 0),
    "a null row": ({"agents": [None, {"id": "a"}]}, "an item of 'agents' is null", 1),
    "errors": ({"agents": [], "errors": ["shard down"]}, "'errors' is not empty: shard down", 0),
    "errors beside agents": ({"agents": [{"id": "a"}], "Errors": [{"message": "shard down"}]}, "shard down", 1),
    "an error": ({"agents": [{"id": "a"}], "error": "shard down"}, "'error' is set: shard down", 1),
    "no success": ({"agents": [{"id": "a"}], "success": False}, "'success' is false", 1),
    "an envelope with errors": ({"data": {"agents": []}, "errors": ["shard down"]}, "shard down", 0),
}


@pytest.mark.parametrize("part", PARTS)
def test_list_with_a_failure_is_an_error_if_all_items_are_needed(transport: Transport, part: str) -> None:
    body, reason, there = PARTS[part]
    with pytest.raises(MosaicResponseError, match=reason) as error:
        read(transport, list_agents().all_or_error(), body)
    assert not error.value.effect_unknown
    assert read(transport, list_agents(), body) == there


@pytest.mark.parametrize(
    "more", [{"errors": []}, {"errors": None}, {"error": "none", "success": True}, {"error": {"message": ""}}], ids=str
)
def test_list_without_a_failure_is_complete(transport: Transport, more: dict[str, Any]) -> None:
    assert read(transport, list_agents().all_or_error(), {"agents": [{"id": "a"}], **more}) == 1


def test_failure_on_a_later_page_is_an_error_if_all_items_are_needed(transport: Transport) -> None:
    first = answer(200, {"agents": [{"id": "a"}], "next_cursor": "c"})
    found: list[Any] = []
    with (
        HostileServer(first, answer(200, {"agents": None})) as server,
        pytest.raises(MosaicResponseError, match="'agents' is null"),
    ):
        read_list(transport, server, list_agents().all_or_error(), found)
    assert len(found) == 1


#: Lists without documented pagination, by the name of their field.
UNPAGED: dict[str, Call[Any]] = {
    "avatar_profiles": list_avatar_profiles(),
    "connected_accounts": list_social_connections(),
    "node_types": list_node_types(),
    "nodes": get_run_nodes("r"),
    "plans": list_plans(),
}


def read_unpaged(transport: Transport, name: str, more: dict[str, Any]) -> Any:
    with HostileServer(answer(200, {name: [], **more})) as server:
        return transport.send(access_to(server.url), UNPAGED[name])[0]


@pytest.mark.parametrize("name", UNPAGED)
@pytest.mark.parametrize(
    "more",
    [{"next_cursor": "c"}, {"cursor": 7}, {"has_more": True}, {"pagination": {"nextCursor": "c"}}, {"total": 1}],
    ids=str,
)
def test_part_of_a_list_without_pagination_is_an_error(transport: Transport, name: str, more: dict[str, Any]) -> None:
    with pytest.raises(MosaicResponseError, match="cursor"):
        read_unpaged(transport, name, more)


@pytest.mark.parametrize("name", UNPAGED)
def test_empty_fields_of_pagination_are_ignored(transport: Transport, name: str) -> None:
    more = {"next_cursor": None, "cursor": "", "has_more": False, "pagination": None, "total": None}
    assert read_unpaged(transport, name, more) == ()


#: A list without items, or with a part of them.
PARTIAL_LISTS = [({"{}": None}, "is null"), ({"{}": [None]}, "is null"), ({"errors": ["shard down"]}, "shard down")]


@pytest.mark.parametrize(("more", "problem"), PARTIAL_LISTS, ids=str)
def test_failure_of_a_list_is_an_error_if_missing_items_would_be_created_again(
    transport: Transport, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(MosaicResponseError, match=problem):
        read_unpaged(transport, "avatar_profiles", {key.format("avatar_profiles"): more[key] for key in more})


@pytest.mark.parametrize("name", sorted(UNPAGED.keys() - {"avatar_profiles"}))
@pytest.mark.parametrize(("more", "problem"), PARTIAL_LISTS, ids=str)
def test_failure_of_another_list_without_pagination_hides_no_item(
    transport: Transport, name: str, more: dict[str, Any], problem: str
) -> None:
    assert read_unpaged(transport, name, {key.format(name): more[key] for key in more}) == ()


RUN_LISTS = {"all runs": list_runs(), "runs of an agent": list_runs("a"), "runs of a trigger": list_trigger_runs("t")}
#: Rows without a field that a caller of the single item depends on, or with a field that can't be parsed.
ODD_ROWS: dict[str, tuple[Listing[Any], str, dict[str, Any]]] = {
    **{
        f"{name} {odd}": (listing, "runs", {"run_id": "odd", "status": "running", **odd})
        for name, listing in RUN_LISTS.items()
        for odd in (
            {"status": None},
            {"status": ""},
            {"status": {"state": "done"}},
            {"outputs": ["https://cdn.example.org/a.mp4"]},
            {"agent_id": {"id": "a"}},
        )
    },
    "post": (list_posts(), "posts", {"post_id": "odd", "status": {"state": "posted"}, "destinations": "x"}),
}


@pytest.mark.parametrize("odd", ODD_ROWS)
def test_odd_row_does_not_hide_the_others(transport: Transport, odd: str) -> None:
    listing, name, row = ODD_ROWS[odd]
    key = next(iter(row))
    found: list[Any] = []
    with HostileServer(answer(200, {name: [row, {key: "good", "status": "failed"}]})) as server:
        read_list(transport, server, listing.all_or_error(), found)
    assert [(getattr(item, key), item.status) for item in found] == [
        ("odd", row["status"] if isinstance(row["status"], str) and row["status"] else "unknown"),
        ("good", "failed"),
    ]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("avatar_profiles", {"id": "a", "name": "Host", "status": ["ready"]}),
        ("connected_accounts", {"social_connection_id": "c", "connected": "perhaps"}),
        ("nodes", {"agent_node_id": {"id": "n"}, "status": {"state": "failed"}, "errors": ["Out of memory"]}),
    ],
)
def test_odd_row_of_a_list_without_pagination_is_read(transport: Transport, name: str, row: dict[str, Any]) -> None:
    assert len(read_unpaged(transport, name, {name: [row]})) == 1


@pytest.mark.parametrize("id", [None, "", {"id": "a"}])
def test_row_without_an_id_fails_the_list(transport: Transport, id: Any) -> None:
    with pytest.raises(MosaicResponseError, match="run_id"):
        read(transport, list_runs(), {"runs": [{"run_id": id, "status": "running"}]})
