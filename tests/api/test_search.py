"""When a search adopts a candidate, and when it finds that there is none."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import product

import pytest

from airflow_provider_mosaic.api.search import (
    OWNER_GRACE_DELAYS,
    PAUSES,
    REQUIRED_READINGS,
    Candidate,
    Search,
    SearchResult,
    Siblings,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)


def candidates(names: str) -> list[Candidate]:
    return [Candidate(id=name, status="running") for name in names]


def siblings(owned: str = "", possible_owners: str = "", waiting: str = "") -> Siblings:
    return Siblings(owned_ids=frozenset(owned), possible_owners=frozenset(possible_owners), waiting=frozenset(waiting))


@pytest.mark.parametrize("own_request", [True, False])
@pytest.mark.parametrize(
    ("listed", "owned", "possible_owners", "result", "left"),
    [
        ("", "", "", SearchResult.NOTHING, ""),
        ("", "", "xy", SearchResult.NOTHING, ""),
        ("a", "", "", SearchResult.FOUND, "a"),
        ("a", "", "x", SearchResult.UNCLEAR, "a"),
        ("a", "a", "", SearchResult.NOTHING, ""),
        ("a", "a", "x", SearchResult.NOTHING, ""),
        ("ab", "", "", SearchResult.UNCLEAR, "ab"),
        ("ab", "b", "", SearchResult.FOUND, "a"),
        ("ab", "b", "x", SearchResult.UNCLEAR, "a"),
        ("ab", "ab", "", SearchResult.NOTHING, ""),
        ("abc", "c", "", SearchResult.UNCLEAR, "ab"),
    ],
)
def test_the_result_of_readings_that_show_the_same(
    own_request: bool, listed: str, owned: str, possible_owners: str, result: SearchResult, left: str
) -> None:
    search = Search(own_request=own_request)
    for _ in range(REQUIRED_READINGS - 1):
        assert search.add_listing(candidates(listed), siblings(owned, possible_owners))[0] is SearchResult.UNCLEAR
    fifth = search.add_listing(candidates(listed), siblings(owned, possible_owners))
    assert fifth == (result if result is SearchResult.FOUND else SearchResult.UNCLEAR, tuple(candidates(left)))
    at_the_end = search.add_listing(candidates(listed), siblings(owned, possible_owners), over=True)
    assert at_the_end == (result, tuple(candidates(left)))


def test_a_candidate_is_adopted_only_if_no_other_task_can_own_it() -> None:
    for listed, owned, possible_owners, own, over in product(
        ["", "a", "ab", "abc"], ["", "a", "ab"], ["", "x", "xy"], [False, True], [False, True]
    ):
        search = Search(own_request=own)
        for _ in range(REQUIRED_READINGS):
            result, left = search.add_listing(candidates(listed), siblings(owned, possible_owners), over=over)
        assert (result is SearchResult.FOUND) == (len(left) == 1 and not possible_owners)
        # Only this result sends the request again.
        assert (result is SearchResult.NOTHING) == (over and not left)


def test_a_partial_match_is_neither_adopted_nor_ruled_out() -> None:
    partial, full = Candidate(id="d", status="posted", is_partial_match=True), Candidate(id="p", status="posted")

    def at_the_end(*listed: Candidate) -> tuple[SearchResult, tuple[Candidate, ...]]:
        return Search(own_request=True).add_listing(listed, Siblings(), over=True)

    assert Search(own_request=True).add_listing([partial], Siblings())[0] is SearchResult.UNCLEAR
    assert at_the_end(partial)[0] is SearchResult.UNCLEAR
    # A full match is preferred to a partial one.
    assert at_the_end(partial, full) == (SearchResult.FOUND, (full,))
    assert at_the_end(partial, full, Candidate(id="q", status="posted"))[0] is SearchResult.UNCLEAR


def test_an_id_of_a_sibling_in_another_spelling_is_neither_adopted_nor_ruled_out() -> None:
    def at_the_end(listed: str) -> SearchResult:
        return Search(own_request=True).add_listing(candidates(listed), siblings("A"), over=True)[0]

    assert at_the_end("a") is SearchResult.UNCLEAR
    assert at_the_end("ab") is SearchResult.FOUND


def test_a_sibling_that_started_after_the_first_reading_is_no_owner() -> None:
    search = Search(own_request=True)
    search.add_listing(candidates("a"), siblings())
    for others in "vwx":
        assert search.add_listing(candidates("a"), siblings(possible_owners=others))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), siblings(possible_owners="y")) == (
        SearchResult.FOUND,
        tuple(candidates("a")),
    )


def test_a_sibling_of_the_first_reading_may_own_it_until_it_saves_another_id() -> None:
    search = Search(own_request=True)
    for _ in range(REQUIRED_READINGS + 3):
        assert search.add_listing(candidates("a"), siblings(possible_owners="x"))[0] is SearchResult.UNCLEAR
    for _ in range(REQUIRED_READINGS - 1):
        assert search.add_listing(candidates("ab"), siblings(owned="b"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("ab"), siblings(owned="b")) == (SearchResult.FOUND, tuple(candidates("a")))


def test_a_candidate_with_a_rival_is_not_adopted() -> None:
    search = Search(own_request=True)
    for _ in range(REQUIRED_READINGS - 2):
        search.add_listing(candidates("a"), siblings())
    # "a" may belong to another pipeline, and "b" may be ours although a sibling may own it.
    for _ in range(REQUIRED_READINGS):
        search.add_listing(candidates("ab"), siblings(possible_owners="x"))
        assert search.add_listing(candidates("ab"), siblings(possible_owners="x"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("ab"), siblings(possible_owners="x"), over=True)[0] is SearchResult.UNCLEAR


@pytest.mark.parametrize("between", ["", "ab", "b"])
def test_only_readings_in_a_row_that_show_the_same_candidate_count(between: str) -> None:
    search = Search(own_request=True)
    for listed in (*["a"] * (REQUIRED_READINGS - 1), between, *["a"] * (REQUIRED_READINGS - 1)):
        assert search.add_listing(candidates(listed), siblings())[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), siblings()) == (SearchResult.FOUND, tuple(candidates("a")))


def test_after_a_try_that_died_waiting_siblings_may_own_it() -> None:
    # They may have died together, and only one of them after its request.
    search = Search(own_request=False)
    for _ in range(REQUIRED_READINGS + 1):
        assert search.add_listing(candidates("a"), siblings(waiting="x"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), siblings(possible_owners="x"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), siblings(owned="a"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), siblings(owned="a"), over=True)[0] is SearchResult.NOTHING


def test_unknown_siblings_may_own_it() -> None:
    search = Search(own_request=True)
    unknown = Siblings(possible_owners=None)
    for _ in range(REQUIRED_READINGS + 1):
        assert search.add_listing(candidates("a"), unknown)[0] is SearchResult.UNCLEAR
    # Possible owners at the first reading with known siblings may have been so at the first reading.
    for _ in range(REQUIRED_READINGS + 1):
        assert search.add_listing(candidates("a"), siblings(possible_owners="x"))[0] is SearchResult.UNCLEAR
    assert search.add_listing(candidates("a"), unknown, over=True)[0] is SearchResult.UNCLEAR


def test_an_id_that_a_sibling_has_owned_is_never_adopted() -> None:
    search = Search(own_request=True)
    search.add_listing(candidates("a"), siblings(owned="a"))
    for _ in range(REQUIRED_READINGS):
        search.add_listing(candidates("a"), siblings(possible_owners="x"))
    assert search.add_listing(candidates("a"), siblings(), over=True)[0] is SearchResult.NOTHING


def test_candidates_that_appear_after_two_minutes_are_ignored() -> None:
    search = Search(own_request=True)
    assert search.add_listing(candidates("a"), siblings(possible_owners="x"), over=True)[0] is SearchResult.UNCLEAR
    assert (
        search.add_listing(candidates("ab"), siblings(owned="a", possible_owners="y"), over=True)[0]
        is SearchResult.NOTHING
    )


def test_a_search_takes_two_minutes() -> None:
    assert sum(PAUSES) == 120
    assert list(PAUSES) == sorted(PAUSES)


def test_a_candidate_as_text() -> None:
    assert str(Candidate(id="r", status="running", started_at=NOW)) == "r (running, since 2026-07-01 12:00:00 UTC)"
    assert str(Candidate(id="r", status="running")) == "r (running)"


@pytest.mark.parametrize("happened", [True, False], ids=["it happened", "it did not happen"])
@pytest.mark.parametrize("starts_a_second", [0.02, 0.3, 1.0, 3.0])
def test_a_search_has_a_result_in_a_dag_run_that_starts_more_runs(starts_a_second: float, happened: bool) -> None:
    """Siblings start at random. Each is listed within a second, and saves its id within 2.5 seconds."""
    clear = 0
    for seed in range(100):
        chance = random.Random(seed)
        started_at = -5.0
        others: dict[str, tuple[float, float, float]] = {}
        while started_at < 150:
            started_at += chance.expovariate(starts_a_second)
            shown = started_at + chance.uniform(0.3, 1.0)
            others[f"other-{len(others)}"] = (started_at, shown, shown + chance.uniform(0.1, 1.5))
        search = Search(own_request=True)
        now = 0.0
        for place, pause in enumerate((*PAUSES, *OWNER_GRACE_DELAYS, None)):
            listed = ["ours"] * happened + [name for name, (_, shown, _) in others.items() if shown <= now]
            result, left = search.add_listing(
                [Candidate(id=name, status="running") for name in listed],
                Siblings(
                    owned_ids=frozenset(name for name, (_, _, saved) in others.items() if saved <= now),
                    possible_owners=frozenset(
                        name for name, (start, _, saved) in others.items() if start <= now < saved
                    ),
                ),
                over=place >= len(PAUSES),
            )
            if result is not SearchResult.UNCLEAR:
                break
            now += pause or 0.0
        if result is SearchResult.FOUND:
            assert happened
            assert [each.id for each in left] == ["ours"]
        elif result is SearchResult.NOTHING:
            assert not happened
        clear += result is not SearchResult.UNCLEAR
    assert clear >= 95


@pytest.mark.parametrize("spelled", [str.upper, lambda id: id.replace("-", "")])
def test_a_run_of_another_dag_run_is_not_free_in_any_spelling(spelled: Callable[[str], str]) -> None:
    run_id = "0a000000-0000-4000-8000-00000000000a"
    search = Search(own_request=True)
    assert not search.is_free_beside(Candidate(id=run_id, status="running"), frozenset({spelled(run_id)}))
