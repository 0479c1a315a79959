from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_mosaic.api.candidates import (
    SKEW,
    Candidate,
    oldest,
    post_candidates,
    run_candidates,
    runs_before,
)
from airflow_provider_mosaic.api.endpoints.agents import Agent
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.endpoints.social import Post, create_post

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


#: What a row of a list is taken for.
OURS, PERHAPS_OURS, ANOTHERS = "ours", "perhaps ours", "another's"


def seen_as(found: list[Candidate]) -> str:
    return {(): ANOTHERS, (False,): OURS, (True,): PERHAPS_OURS}[
        tuple(candidate.is_partial_match for candidate in found)
    ]


def run(**facts: Any) -> Run:
    return Run.model_validate({"run_id": "r", "status": "running", "started_at": NOW, **facts})


@pytest.mark.parametrize(
    ("triggered_by", "taken_for"),
    [
        (None, OURS),
        ({}, OURS),
        ({"type": "manual", "source": "api"}, OURS),
        ({"type": "api"}, OURS),
        ({"type": "youtube", "channel_id": "UC1"}, ANOTHERS),
        ({"type": "schedule"}, ANOTHERS),
        ({"trigger_id": "t"}, ANOTHERS),
        ({"type": "something new"}, PERHAPS_OURS),
        ("manual", OURS),
        ("youtube", ANOTHERS),
        ({"type": "Manual"}, OURS),
        ({"trigger_id": None}, OURS),
        ({"type": None, "trigger_id": None}, OURS),
        ({"source": "api", "user_id": "u"}, OURS),
        ({"type": None, "trigger_id": "t"}, ANOTHERS),
        ({"type": "something new", "trigger_id": "t"}, ANOTHERS),
        ({"type": "something new", "trigger_id": None}, PERHAPS_OURS),
        ({"source_folder_id": "f"}, PERHAPS_OURS),
        ({"type": "schedule", "schedule_id": "s"}, ANOTHERS),
        ({"id": "t", "type": "youtube", "youtube": {"channel": "c"}}, ANOTHERS),
        ([], OURS),
    ],
)
def test_only_a_run_that_a_trigger_surely_started_is_left_out(triggered_by: Any, taken_for: str) -> None:
    assert seen_as(run_candidates([run(triggered_by=triggered_by)], before=[])) == taken_for


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled", "queued"])
def test_a_run_may_have_ended_already(status: str) -> None:
    [candidate] = run_candidates([run(status=status)], before=["other"])
    assert candidate == Candidate(id="r", status=status, started_at=NOW)


def rows(*ages: float) -> list[Run]:
    """Rows of a list, by how many seconds ago they began."""
    return [run(run_id=f"r{i}", started_at=NOW - timedelta(seconds=age)) for i, age in enumerate(ages)]


EVERY_SECOND = tuple(float(age) for age in range(300))


@pytest.mark.parametrize(
    ("ages", "read"),
    [
        (EVERY_SECOND, 100),
        # Many at once: what is behind the page may be of the same moment.
        ((0.0,) * 150 + EVERY_SECOND, 161),
        # In jumbles of a second, as rows are that are sorted by another time.
        (tuple(age + (0.9 if i % 2 else 0.0) for i, age in enumerate(EVERY_SECOND)), 100),
        (EVERY_SECOND[::-1], 300),
        ((5.0, 0.0, *EVERY_SECOND[6:]), 296),
        ((*EVERY_SECOND[:50], 0.0, *EVERY_SECOND[50:]), 301),
        ((0.0,) * 300, 300),
        (EVERY_SECOND[:100], 100),
        ((), 0),
    ],
)
def test_what_is_there_before_is_read_as_far_as_the_list_shows_that_it_is_newest_first(
    ages: tuple[float, ...], read: int
) -> None:
    listed = iter(rows(*ages))
    found = runs_before(listed, most=1000)
    assert found is not None
    ids, until = found
    assert (len(ids), len(list(listed))) == (read, len(ages) - read)
    if until is None:
        assert read == len(ages)
    else:
        # Nothing of it is taken for ours, and what is begun after the newest may be ours by a clock that is behind.
        assert run_candidates(rows(*ages), before=ids, before_until=until) == []
        behind = run(started_at=NOW - timedelta(seconds=8))
        assert [each.id for each in run_candidates([behind], before=ids[1:], before_until=until)] == ["r"]


def test_where_there_are_more_than_can_be_read_it_is_not_known_what_was_there_before() -> None:
    assert runs_before(rows(*EVERY_SECOND[::-1]), most=299) is None
    assert runs_before(rows(*EVERY_SECOND[::-1]), most=300) is not None
    assert runs_before(rows(*EVERY_SECOND), most=100) is not None


def test_rows_without_a_time_are_read_to_the_end() -> None:
    listed = [*rows(*EVERY_SECOND[:50]), run(run_id="x", started_at=None), *rows(*EVERY_SECOND)[50:]]
    assert runs_before(listed, most=1000) == (tuple(each.run_id for each in listed), None)


def test_a_run_without_a_time_may_be_ours_whatever_was_there_before() -> None:
    assert seen_as(run_candidates([run(started_at=None)], before=[], before_until=NOW.timestamp())) == OURS


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
WORDLESS = create_post("", social_connection_ids=["c1", "c2"], media_urls=["https://cdn.example.org/a.mp4"]).body
BY_PLATFORM = create_post("Premiere tonight", platforms=["x", "youtube"]).body
ACCENTED = create_post("Cafe\u0301 & co", social_connection_ids=["c1", "c2"]).body
FILMED = create_post("Premiere \U0001f3ac tonight", social_connection_ids=["c1", "c2"]).body
SCHEDULED = create_post("Premiere tonight", social_connection_ids=["c1", "c2"], schedule_date=NOW, now=NOW).body


@pytest.mark.parametrize(
    ("body", "row", "taken_for"),
    [
        (BODY, {}, OURS),
        (BODY, {"description": " Premiere tonight\n"}, OURS),
        (BODY, {"description": "Premiere \r\n tonight"}, OURS),
        (BODY, {"description": "Premiere"}, PERHAPS_OURS),
        (BODY, {"description": ""}, PERHAPS_OURS),
        (BODY, {"description": None}, OURS),
        (BODY, {"description": "Premiere ton…"}, OURS),
        (BODY, {"description": "Premiere ..."}, OURS),
        (BODY, {"description": "Premiere of another…"}, ANOTHERS),
        (BODY, {"description": "…"}, PERHAPS_OURS),
        (BODY, {"description": " …"}, PERHAPS_OURS),
        (BODY, {"description": "...."}, PERHAPS_OURS),
        # A cut in the middle of an emoji leaves half of it.
        (FILMED, {"description": "Premiere \ufffd…"}, OURS),
        (FILMED, {"description": "Premiere \ufffd"}, PERHAPS_OURS),
        (FILMED, {"description": "Another \ufffd…"}, ANOTHERS),
        (ACCENTED, {"description": "Caf\u00e9 & co"}, OURS),
        (ACCENTED, {"description": "Cafe\u0301 &amp; co"}, OURS),
        (ACCENTED, {"description": "Caf\u00e9 &amp; c…"}, OURS),
        (BODY, {"description": "Premiere tonight https://mosaic.example/s/1"}, PERHAPS_OURS),
        (BODY, {"description": "A premiere tonight"}, ANOTHERS),
        (WORDLESS, {"description": ""}, OURS),
        (WORDLESS, {"description": "Premiere tonight"}, ANOTHERS),
        (BODY, {"destinations": [{"social_connection_id": each} for each in ("c1", "c2", "c3")]}, PERHAPS_OURS),
        (BODY, {"destinations": [{"social_connection_id": each} for each in ("c3", "c4")]}, ANOTHERS),
        (BODY, {"destinations": []}, OURS),
        (BODY, {"destinations": [{"platform": "x"}]}, OURS),
        (BODY, {"destinations": [{"social_connection_id": "c1"}]}, PERHAPS_OURS),
        (BODY, {"destinations": [{"social_connection_id": "c1"}, {"social_connection_id": "c3"}]}, PERHAPS_OURS),
        (BODY, {"scheduled_at": NOW}, OURS),
        (BODY, {"created_at": None}, OURS),
        (BODY, {"created_at": NOW - SKEW}, OURS),
        (BODY, {"created_at": NOW - SKEW - timedelta(seconds=1)}, PERHAPS_OURS),
        (BODY, {"created_at": NOW + timedelta(hours=1)}, OURS),
        (BODY, {"status": "failed"}, OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "x"]}, OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": ["YouTube", "X"]}, OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": ["x"]}, PERHAPS_OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "twitter"]}, OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": []}, OURS),
        (BY_PLATFORM, {"platforms": ["youtube"]}, OURS),
        (BY_PLATFORM, {"destinations": [], "platforms": ["tiktok"]}, ANOTHERS),
        (SCHEDULED, {"scheduled_at": NOW}, OURS),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(seconds=59)}, OURS),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(minutes=2)}, PERHAPS_OURS),
        (SCHEDULED, {"scheduled_at": NOW - timedelta(minutes=2)}, PERHAPS_OURS),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(hours=14)}, PERHAPS_OURS),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(hours=24)}, ANOTHERS),
        (SCHEDULED, {"scheduled_at": None}, OURS),
        # What differs in two ways is as far away as in the worse one.
        (BODY, {"description": "Premiere", "destinations": [{"social_connection_id": "c3"}]}, ANOTHERS),
    ],
)
def test_only_a_post_that_surely_is_anothers_is_left_out(
    body: dict[str, Any], row: dict[str, Any], taken_for: str
) -> None:
    post = Post.model_validate({**ROW, **row})
    assert seen_as(post_candidates([post], body=body, before=[], since=NOW.timestamp())) == taken_for


LONG = {
    "spaces": "a" + " " * 200_000 + "b",
    "dots": "." * 200_000 + "b",
    "dots after dots": "a ..." * 40_000,
    "ellipses": "\u2026" * 200_000,
    "marks in the wrong order": "a" + "\u0301\u0323" * 100_000,
    "marks that stand for marks in the wrong order": "a" + "\u0f73" * 100_000,
    "ampersands": "&" * 200_000,
    "a character's number of 5,000 digits": "&#" + "9" * 5000 + ";",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_no_text_of_a_post_is_compared_in_the_square_of_its_length(text: str) -> None:
    # A fraction of a second; the square would take minutes.
    post = Post.model_validate({**ROW, "description": text})
    assert seen_as(post_candidates([post], body=BODY, before=[], since=NOW.timestamp())) in (ANOTHERS, PERHAPS_OURS)
    sent = create_post(text, social_connection_ids=["c1", "c2"]).body
    assert seen_as(post_candidates([post], body=sent, before=[], since=NOW.timestamp())) == OURS


def test_where_those_before_are_not_known_an_old_post_is_anothers() -> None:
    old = Post.model_validate({**ROW, "created_at": NOW - SKEW - timedelta(seconds=1)})
    assert post_candidates([old], body=BODY, before=None, since=NOW.timestamp()) == []


def test_a_post_that_was_there_before_is_not_ours() -> None:
    assert post_candidates([Post.model_validate(ROW)], body=BODY, before={"p"}, since=0.0) == []


def agent(agent_id: str, minutes: float | None = 0) -> Agent:
    made = None if minutes is None else (NOW + timedelta(minutes=minutes)).isoformat()
    return Agent.model_validate({"id": agent_id, "created_at": made})


@pytest.mark.parametrize(
    ("agents", "first"),
    [
        ([agent("b", 1), agent("a", 2)], "b"),
        ([agent("a", 2), agent("b", 1)], "b"),
        ([agent("b"), agent("a")], "a"),
        ([agent("c"), agent("a"), agent("b", -1)], "b"),
        ([agent("a")], "a"),
        ([agent("a", None), agent("b")], None),
        ([], None),
    ],
)
def test_whoever_sees_the_same_agents_takes_the_same_one_for_the_first(agents: list[Agent], first: str | None) -> None:
    for each in (agents, agents[::-1]):
        found = oldest(each)
        assert (found.agent_id if found else None) == first
