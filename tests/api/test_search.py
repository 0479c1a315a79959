from __future__ import annotations

import random
from datetime import datetime, timezone
from itertools import product

import pytest

from airflow_provider_mosaic.api.search import (
    OWNER_GRACE_DELAYS,
    PAUSES,
    REQUIRED_SIGHTINGS,
    Candidate,
    Search,
    SearchResult,
    Siblings,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)


def candidates(names: str) -> list[Candidate]:
    return [Candidate(id=name, status="running") for name in names]


def siblings(owned: str = "", unsettled: str = "", waiting: str = "") -> Siblings:
    return Siblings(owned_ids=frozenset(owned), possible_owners=frozenset(unsettled), waiting=frozenset(waiting))


@pytest.mark.parametrize("own_request", [True, False])
@pytest.mark.parametrize(
    ("there", "owned", "unsettled", "comes_to", "left"),
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
def test_what_looks_that_show_the_same_come_to(
    own_request: bool, there: str, owned: str, unsettled: str, comes_to: SearchResult, left: str
) -> None:
    search = Search(own_request=own_request)
    for _ in range(REQUIRED_SIGHTINGS - 1):
        assert search.add_listing(candidates(there), siblings(owned, unsettled))[0] is SearchResult.SEARCH_AGAIN
    fifth = search.add_listing(candidates(there), siblings(owned, unsettled))
    assert fifth == (comes_to if comes_to is SearchResult.FOUND else SearchResult.SEARCH_AGAIN, tuple(candidates(left)))
    at_the_end = search.add_listing(candidates(there), siblings(owned, unsettled), over=True, last=True)
    assert at_the_end == (comes_to, tuple(candidates(left)))


def test_one_is_adopted_only_when_nobody_else_could_own_it() -> None:
    for there, owned, unsettled, own, over in product(
        ["", "a", "ab", "abc"], ["", "a", "ab"], ["", "x", "xy"], [False, True], [False, True]
    ):
        search = Search(own_request=own)
        for _ in range(REQUIRED_SIGHTINGS):
            finding, left = search.add_listing(candidates(there), siblings(owned, unsettled), over=over)
        assert (finding is SearchResult.FOUND) == (len(left) == 1 and not unsettled)
        # What would send it again: only at the end, and only when nothing is left that it could be.
        assert (finding is SearchResult.NOTHING) == (over and not left)


def test_a_doubtful_one_is_never_taken_and_never_left_out_either() -> None:
    doubtful, plain = Candidate(id="d", status="posted", is_partial_match=True), Candidate(id="p", status="posted")

    def at_the_end(*there: Candidate) -> tuple[SearchResult, tuple[Candidate, ...]]:
        return Search(own_request=True).add_listing(there, Siblings(), over=True, last=True)

    assert Search(own_request=True).add_listing([doubtful], Siblings())[0] is SearchResult.SEARCH_AGAIN
    assert at_the_end(doubtful)[0] is SearchResult.UNCLEAR
    # One that is like what was asked for in all that is shown can be told from it.
    assert at_the_end(doubtful, plain) == (SearchResult.FOUND, (plain,))
    assert at_the_end(doubtful, plain, Candidate(id="q", status="posted"))[0] is SearchResult.UNCLEAR


def test_a_sibling_that_had_not_begun_when_it_was_seen_does_not_own_it() -> None:
    search = Search(own_request=True)
    search.add_listing(candidates("a"), siblings())
    for others in "vwx":
        assert search.add_listing(candidates("a"), siblings(unsettled=others))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("a"), siblings(unsettled="y")) == (SearchResult.FOUND, tuple(candidates("a")))


def test_a_sibling_that_was_unsettled_when_it_was_seen_may_own_it_until_it_says_another_id() -> None:
    search = Search(own_request=True)
    for _ in range(REQUIRED_SIGHTINGS + 3):
        assert search.add_listing(candidates("a"), siblings(unsettled="x"))[0] is SearchResult.SEARCH_AGAIN
    for _ in range(REQUIRED_SIGHTINGS - 1):
        assert search.add_listing(candidates("ab"), siblings(owned="b"))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("ab"), siblings(owned="b")) == (SearchResult.FOUND, tuple(candidates("a")))


def test_it_is_not_taken_beside_another_that_may_be_ours_just_as_well() -> None:
    search = Search(own_request=True)
    for _ in range(REQUIRED_SIGHTINGS - 2):
        search.add_listing(candidates("a"), siblings())
    # Another pipeline's may be "a", and ours "b", of which a sibling is suspected.
    for _ in range(REQUIRED_SIGHTINGS):
        search.add_listing(candidates("ab"), siblings(unsettled="x"))
        assert search.add_listing(candidates("ab"), siblings(unsettled="x"))[0] is SearchResult.SEARCH_AGAIN
    assert (
        search.add_listing(candidates("ab"), siblings(unsettled="x"), over=True, last=True)[0] is SearchResult.UNCLEAR
    )


def test_after_a_try_that_died_siblings_that_wait_for_their_turn_may_own_it_too() -> None:
    # They may have died together, and only one of them after it had begun something.
    search = Search(own_request=False)
    for _ in range(REQUIRED_SIGHTINGS + 1):
        assert search.add_listing(candidates("a"), siblings(waiting="x"))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("a"), siblings(unsettled="x"))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("a"), siblings(owned="a"))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("a"), siblings(owned="a"), over=True)[0] is SearchResult.NOTHING


def test_while_the_siblings_are_not_known_anybody_may_own_it() -> None:
    search = Search(own_request=True)
    unknown = Siblings(possible_owners=None)
    for _ in range(REQUIRED_SIGHTINGS + 1):
        assert search.add_listing(candidates("a"), unknown)[0] is SearchResult.SEARCH_AGAIN
    # Who is unsettled at the first look at which they are known may have been so when it was seen.
    for _ in range(REQUIRED_SIGHTINGS + 1):
        assert search.add_listing(candidates("a"), siblings(unsettled="x"))[0] is SearchResult.SEARCH_AGAIN
    assert search.add_listing(candidates("a"), unknown, over=True, last=True)[0] is SearchResult.UNCLEAR


def test_what_a_sibling_has_owned_is_not_ours_when_it_is_retried() -> None:
    search = Search(own_request=True)
    search.add_listing(candidates("a"), siblings(owned="a"))
    for _ in range(REQUIRED_SIGHTINGS):
        search.add_listing(candidates("a"), siblings(unsettled="x"))
    assert search.add_listing(candidates("a"), siblings(), over=True)[0] is SearchResult.NOTHING


def test_what_appears_after_the_two_minutes_is_not_it() -> None:
    search = Search(own_request=True)
    assert search.add_listing(candidates("a"), siblings(unsettled="x"), over=True)[0] is SearchResult.SEARCH_AGAIN
    assert (
        search.add_listing(candidates("ab"), siblings(owned="a", unsettled="y"), over=True)[0] is SearchResult.NOTHING
    )


def test_the_looks_go_on_for_two_minutes() -> None:
    assert sum(PAUSES) == 120
    assert list(PAUSES) == sorted(PAUSES)


def test_a_candidate_is_shown_with_what_a_person_needs_to_find_it() -> None:
    assert str(Candidate(id="r", status="running", started_at=NOW)) == "r (running, since 2026-07-01 12:00:00 UTC)"
    assert str(Candidate(id="r", status="running")) == "r (running)"


@pytest.mark.parametrize("happened", [True, False], ids=["it happened", "it did not happen"])
@pytest.mark.parametrize("starts_a_second", [0.02, 0.3, 1.0, 3.0])
def test_in_a_dag_run_that_goes_on_starting_others_it_is_found_or_surely_not_there(
    starts_a_second: float, happened: bool
) -> None:
    """Siblings start all the time; each is shown within a second, and says its id within two and a half."""
    clear = 0
    for seed in range(100):
        chance = random.Random(seed)
        began = -5.0
        others: dict[str, tuple[float, float, float]] = {}
        while began < 150:
            began += chance.expovariate(starts_a_second)
            shown = began + chance.uniform(0.3, 1.0)
            others[f"other-{len(others)}"] = (began, shown, shown + chance.uniform(0.1, 1.5))
        search = Search(own_request=True)
        now = 0.0
        for place, pause in enumerate((*PAUSES, *OWNER_GRACE_DELAYS, None)):
            there = ["ours"] * happened + [name for name, (_, shown, _) in others.items() if shown <= now]
            finding, left = search.add_listing(
                [Candidate(id=name, status="running") for name in there],
                Siblings(
                    owned_ids=frozenset(name for name, (_, _, said) in others.items() if said <= now),
                    possible_owners=frozenset(name for name, (began, _, said) in others.items() if began <= now < said),
                ),
                over=place >= len(PAUSES),
                last=pause is None,
            )
            if finding is not SearchResult.SEARCH_AGAIN:
                break
            now += pause or 0.0
        if finding is SearchResult.FOUND:
            assert happened
            assert [each.id for each in left] == ["ours"]
        elif finding is SearchResult.NOTHING:
            assert not happened
        clear += finding is not SearchResult.UNCLEAR
    assert clear >= 95
