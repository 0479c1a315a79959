from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from airflow_provider_mosaic.api.lookup import (
    PAUSES,
    SKEW,
    Candidate,
    Finding,
    judge_candidates,
    post_candidates,
    run_candidates,
)
from airflow_provider_mosaic.api.runs import Run
from airflow_provider_mosaic.api.social import Post, create_post

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


def candidates(names: str) -> list[Candidate]:
    return [Candidate(id=name, status="running") for name in names]


@pytest.mark.parametrize(
    ("there", "owned", "unsettled", "before_the_end", "at_the_end", "left"),
    [
        ("", "", 0, Finding.LOOK_AGAIN, Finding.NOTHING, ""),
        ("", "", 2, Finding.LOOK_AGAIN, Finding.NOTHING, ""),
        ("a", "", 0, Finding.FOUND, Finding.FOUND, "a"),
        ("a", "", 1, Finding.LOOK_AGAIN, Finding.UNCLEAR, "a"),
        ("a", "a", 0, Finding.LOOK_AGAIN, Finding.NOTHING, ""),
        ("a", "a", 1, Finding.LOOK_AGAIN, Finding.NOTHING, ""),
        ("ab", "", 0, Finding.LOOK_AGAIN, Finding.UNCLEAR, "ab"),
        ("ab", "b", 0, Finding.FOUND, Finding.FOUND, "a"),
        ("ab", "b", 1, Finding.LOOK_AGAIN, Finding.UNCLEAR, "a"),
        ("ab", "ab", 0, Finding.LOOK_AGAIN, Finding.NOTHING, ""),
        ("abc", "c", 0, Finding.LOOK_AGAIN, Finding.UNCLEAR, "ab"),
        ("abc", "xyz", 5, Finding.LOOK_AGAIN, Finding.UNCLEAR, "abc"),
    ],
)
def test_what_a_look_comes_to(
    there: str, owned: str, unsettled: int, before_the_end: Finding, at_the_end: Finding, left: str
) -> None:
    for last_look, finding in ((False, before_the_end), (True, at_the_end)):
        result = judge_candidates(candidates(there), owned=set(owned), unsettled=unsettled, last_look=last_look)
        assert result == (finding, tuple(candidates(left)))


def test_one_is_adopted_only_when_nobody_else_could_own_it() -> None:
    for there, owned, unsettled, last in product(["", "a", "ab", "abc"], ["", "a", "ab"], [0, 1, 2], [False, True]):
        finding, left = judge_candidates(candidates(there), owned=set(owned), unsettled=unsettled, last_look=last)
        assert (finding is Finding.FOUND) == (len(left) == 1 and unsettled == 0)
        # What would send it again: only at the end, and only when nothing is left that it could be.
        assert (finding is Finding.NOTHING) == (last and not left)
        assert (finding is Finding.LOOK_AGAIN) <= (not last)


def test_the_looks_go_on_for_two_minutes() -> None:
    assert sum(PAUSES) == 120
    assert list(PAUSES) == sorted(PAUSES)


def test_a_candidate_is_shown_with_what_a_person_needs_to_find_it() -> None:
    assert str(Candidate(id="r", status="running", began=NOW)) == "r (running, since 2026-07-01 12:00:00 UTC)"
    assert str(Candidate(id="r", status="running")) == "r (running)"


def run(**facts: Any) -> Run:
    return Run.model_validate({"run_id": "r", "status": "running", "started_at": NOW, **facts})


@pytest.mark.parametrize(
    ("triggered_by", "fits"),
    [
        (None, True),
        ({}, True),
        ({"type": "manual", "source": "api"}, True),
        ({"type": "api"}, True),
        ({"type": "youtube", "channel_id": "UC1"}, False),
        ({"type": "schedule"}, False),
        ({"trigger_id": "t"}, False),
        ({"type": "something new"}, False),
        ("manual", True),
        ("youtube", False),
        ({"type": "Manual"}, True),
        ({"trigger_id": None}, True),
        ({"type": None, "trigger_id": None}, True),
        ({"source": "api", "user_id": "u"}, True),
        ({"type": None, "trigger_id": "t"}, False),
        ([], True),
    ],
)
def test_a_run_that_a_trigger_started_is_not_ours(triggered_by: Any, fits: bool) -> None:
    assert [c.id for c in run_candidates([run(triggered_by=triggered_by)], before=[])] == (["r"] if fits else [])


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled", "queued"])
def test_a_run_may_have_ended_already(status: str) -> None:
    [candidate] = run_candidates([run(status=status)], before=["other"])
    assert candidate == Candidate(id="r", status=status, began=NOW)


def test_a_run_that_was_there_before_is_not_ours() -> None:
    assert run_candidates([run()], before={"r"}) == []


BODY = create_post("Premiere tonight", social_connection_ids=["c1", "c2"]).body
ROW = {
    "post_id": "p",
    "status": "processing",
    "description": "Premiere tonight",
    "created_at": NOW,
    "destinations": [{"social_connection_id": "c2", "platform": "x"}, {"social_connection_id": "c1", "platform": "x"}],
}
BY_PLATFORM = create_post("Premiere tonight", platforms=["x", "youtube"]).body
ACCENTED = create_post("Cafe\u0301 & co", social_connection_ids=["c1", "c2"]).body
SCHEDULED = create_post("Premiere tonight", social_connection_ids=["c1", "c2"], schedule_date=NOW, now=NOW).body


@pytest.mark.parametrize(
    ("body", "row", "fits"),
    [
        (BODY, {}, True),
        (BODY, {"description": " Premiere tonight\n"}, True),
        (BODY, {"description": "Premiere \r\n tonight"}, True),
        (BODY, {"description": "Premiere"}, False),
        (BODY, {"description": ""}, False),
        (BODY, {"description": None}, True),
        (BODY, {"description": "Premiere ton…"}, True),
        (BODY, {"description": "Premiere ..."}, True),
        (BODY, {"description": "Premiere of another…"}, False),
        (BODY, {"description": "…"}, False),
        (ACCENTED, {"description": "Caf\u00e9 & co"}, True),
        (ACCENTED, {"description": "Cafe\u0301 &amp; co"}, True),
        (ACCENTED, {"description": "Caf\u00e9 &amp; c…"}, True),
        (BODY, {"destinations": []}, True),
        (BODY, {"destinations": [{"platform": "x"}]}, True),
        (BODY, {"destinations": [{"social_connection_id": "c1"}]}, False),
        (BODY, {"destinations": [{"social_connection_id": "c1"}, {"social_connection_id": "c3"}]}, False),
        (BODY, {"scheduled_at": NOW}, True),
        (BODY, {"created_at": None}, True),
        (BODY, {"created_at": NOW - SKEW}, True),
        (BODY, {"created_at": NOW - SKEW - timedelta(seconds=1)}, False),
        (BODY, {"created_at": NOW + timedelta(hours=1)}, True),
        (BODY, {"status": "failed"}, True),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "x"]}, True),
        (BY_PLATFORM, {"destinations": [], "platforms": ["YouTube", "X"]}, True),
        (BY_PLATFORM, {"destinations": [], "platforms": ["x"]}, False),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "twitter"]}, True),
        (BY_PLATFORM, {"destinations": [], "platforms": []}, True),
        (BY_PLATFORM, {"platforms": ["youtube"]}, True),
        (SCHEDULED, {"scheduled_at": NOW}, True),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(seconds=59)}, True),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(minutes=2)}, False),
        (SCHEDULED, {"scheduled_at": NOW - timedelta(minutes=2)}, False),
        (SCHEDULED, {"scheduled_at": None}, True),
    ],
)
def test_a_post_fits_when_nothing_that_is_shown_speaks_against_it(
    body: dict[str, Any], row: dict[str, Any], fits: bool
) -> None:
    post = Post.model_validate({**ROW, **row})
    found = post_candidates([post], body=body, before=[], since=NOW.timestamp())
    assert [candidate.id for candidate in found] == (["p"] if fits else [])


def test_a_post_that_was_there_before_is_not_ours() -> None:
    assert post_candidates([Post.model_validate(ROW)], body=BODY, before={"p"}, since=0.0) == []
