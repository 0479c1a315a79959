"""Which listed runs and posts a lost request may have created."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_mosaic.api.arguments import format_time
from airflow_provider_mosaic.api.candidates import (
    SKEW,
    Candidate,
    post_candidates,
    run_candidates,
    runs_before,
)
from airflow_provider_mosaic.api.endpoints.posts import Post, create_post
from airflow_provider_mosaic.api.endpoints.runs import Run

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


FULL, PARTIAL, NONE = "full match", "partial match", "no match"


def match_of(candidates: list[Candidate]) -> str:
    """Return how well the only row of a list matched."""
    return {(): NONE, (False,): FULL, (True,): PARTIAL}[tuple(each.is_partial_match for each in candidates)]


def run(**facts: Any) -> Run:
    return Run.model_validate({"run_id": "r", "status": "running", "started_at": NOW, **facts})


@pytest.mark.parametrize(
    ("triggered_by", "match"),
    [
        (None, FULL),
        ({}, FULL),
        ({"type": "manual", "source": "api"}, FULL),
        ({"type": "manual", "source": "API"}, FULL),
        ({"type": "manual", "source": None}, FULL),
        ({"type": "manual", "source": ""}, FULL),
        ({"type": "manual", "source": "ui", "user_id": "u"}, NONE),
        ({"type": "Manual", "source": "UI"}, NONE),
        ({"source": "ui"}, NONE),
        ({"type": "something new", "source": "ui"}, NONE),
        ({"type": "manual", "source": "zapier"}, PARTIAL),
        ({"source": {"kind": "ui"}}, PARTIAL),
        ({"type": "api"}, FULL),
        ({"type": "youtube", "channel_id": "UC1"}, NONE),
        ({"type": "schedule"}, NONE),
        ({"trigger_id": "t"}, NONE),
        ({"type": "something new"}, PARTIAL),
        ("manual", FULL),
        ("youtube", NONE),
        ({"type": "Manual"}, FULL),
        ({"trigger_id": None}, FULL),
        ({"type": None, "trigger_id": None}, FULL),
        ({"source": "api", "user_id": "u"}, FULL),
        ({"type": None, "trigger_id": "t"}, NONE),
        ({"type": "something new", "trigger_id": "t"}, NONE),
        ({"type": "something new", "trigger_id": None}, PARTIAL),
        ({"source_folder_id": "f"}, PARTIAL),
        ({"type": "schedule", "schedule_id": "s"}, NONE),
        ({"id": "t", "type": "youtube", "youtube": {"channel": "c"}}, NONE),
        ([], FULL),
        (["youtube"], PARTIAL),
        (True, PARTIAL),
    ],
)
def test_only_runs_of_triggers_and_of_the_editor_are_ruled_out(triggered_by: Any, match: str) -> None:
    assert match_of(run_candidates([run(triggered_by=triggered_by)], before=[])) == match


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled", "queued"])
def test_runs_in_any_status_are_candidates(status: str) -> None:
    [candidate] = run_candidates([run(status=status)], before=["other"])
    assert candidate == Candidate(id="r", status=status, started_at=NOW)


def rows(*ages: float) -> list[Run]:
    """Return rows of a list that were started that many seconds ago."""
    return [run(run_id=f"r{i}", started_at=NOW - timedelta(seconds=age)) for i, age in enumerate(ages)]


EVERY_SECOND = tuple(float(age) for age in range(300))


@pytest.mark.parametrize(
    ("ages", "read"),
    [
        (EVERY_SECOND, 100),
        # Many at once: the next page may show runs of the same time.
        ((0.0,) * 150 + EVERY_SECOND, 161),
        # Out of order by less than a second, as in a list that is sorted by another time.
        (tuple(age + (0.9 if i % 2 else 0.0) for i, age in enumerate(EVERY_SECOND)), 100),
        (EVERY_SECOND[::-1], 300),
        ((5.0, 0.0, *EVERY_SECOND[6:]), 296),
        ((*EVERY_SECOND[:50], 0.0, *EVERY_SECOND[50:]), 301),
        ((0.0,) * 300, 300),
        (EVERY_SECOND[:100], 100),
        ((), 0),
    ],
)
def test_a_list_sorted_newest_first_is_not_read_to_the_end(ages: tuple[float, ...], read: int) -> None:
    listed = iter(rows(*ages))
    found = runs_before(listed, most=1000)
    assert found is not None
    ids, until = found
    assert (len(ids), len(list(listed))) == (read, len(ages) - read)
    if until is None:
        assert read == len(ages)
    else:
        # None of these runs is a candidate. A new run is one although its server's clock is behind.
        assert run_candidates(rows(*ages), before=ids, before_until=until) == []
        behind = run(started_at=NOW - timedelta(seconds=8))
        assert [each.id for each in run_candidates([behind], before=ids[1:], before_until=until)] == ["r"]


def test_too_many_runs_are_unknown() -> None:
    assert runs_before(rows(*EVERY_SECOND[::-1]), most=299) is None
    assert runs_before(rows(*EVERY_SECOND[::-1]), most=300) is not None
    assert runs_before(rows(*EVERY_SECOND), most=100) is not None


def test_rows_without_a_time_are_read_to_the_end() -> None:
    listed = [*rows(*EVERY_SECOND[:50]), run(run_id="x", started_at=None), *rows(*EVERY_SECOND)[50:]]
    assert runs_before(listed, most=1000) == (tuple(each.run_id for each in listed), None)


def test_a_run_without_a_start_time_is_a_candidate() -> None:
    assert match_of(run_candidates([run(started_at=None)], before=[], before_until=NOW.timestamp())) == FULL


def test_a_run_that_existed_before_is_no_candidate() -> None:
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
TYPOGRAPHIC = create_post(
    '"Caf\u00e9": it\'s on at https://cdn.example.org/events/2026/november/29?id=1, come and see #film',
    social_connection_ids=["c1", "c2"],
).body
BY_PLATFORM = create_post("Premiere tonight", platforms=["x", "youtube"]).body
ACCENTED = create_post("Cafe\u0301 & co", social_connection_ids=["c1", "c2"]).body
FILMED = create_post("Premiere \U0001f3ac tonight", social_connection_ids=["c1", "c2"]).body
SCHEDULED = {**BODY, "schedule_date": format_time(NOW)}
UUID = "c0000000-0000-4000-8000-00000000000a"
UPPER, BARE = (
    create_post("Premiere tonight", social_connection_ids=[each]).body for each in (UUID.upper(), UUID.replace("-", ""))
)
HYPHENATED = create_post("Premiere tonight", social_connection_ids=["c-1"]).body


@pytest.mark.parametrize(
    ("body", "row", "match"),
    [
        (BODY, {}, FULL),
        (BODY, {"description": " Premiere tonight\n"}, FULL),
        (BODY, {"description": "Premiere \r\n tonight"}, FULL),
        (BODY, {"description": "Premiere"}, PARTIAL),
        (BODY, {"description": ""}, PARTIAL),
        (BODY, {"description": None}, FULL),
        (BODY, {"description": "Premiere ton…"}, FULL),
        (BODY, {"description": "Premiere ..."}, FULL),
        (BODY, {"description": "Premiere of another…"}, NONE),
        (BODY, {"description": "…"}, PARTIAL),
        (BODY, {"description": " …"}, PARTIAL),
        (BODY, {"description": "...."}, PARTIAL),
        # A cut in the middle of an emoji leaves half of it.
        (FILMED, {"description": "Premiere \ufffd…"}, FULL),
        (FILMED, {"description": "Premiere \ufffd"}, PARTIAL),
        (FILMED, {"description": "Another \ufffd…"}, NONE),
        (ACCENTED, {"description": "Caf\u00e9 & co"}, FULL),
        (ACCENTED, {"description": "Cafe\u0301 &amp; co"}, FULL),
        (ACCENTED, {"description": "Caf\u00e9 &amp; c…"}, FULL),
        (BODY, {"description": "Premiere tonight https://mosaic.example/s/1"}, PARTIAL),
        # Texts that were changed in another way may be ours.
        (BODY, {"description": "A premiere tonight"}, PARTIAL),
        (BODY, {"description": "Mosaic: Premiere tonight"}, PARTIAL),
        (BODY, {"description": "Concert tonight"}, NONE),
        (TYPOGRAPHIC, {"description": "\u201cCafe\u201d: it\u2019s on at https://sho.rt/1, come and see"}, PARTIAL),
        (TYPOGRAPHIC, {"description": '"Caf\u00c3\u00a9": it\'s on at https://sho.rt/1, come and see #film'}, PARTIAL),
        (TYPOGRAPHIC, {"description": {"x": TYPOGRAPHIC["post"]}}, PARTIAL),
        (TYPOGRAPHIC, {"description": "The cinema is closed today, see you at the library"}, NONE),
        (BODY, {"description": "\u660e\u65e5\u306e\u914d\u4fe1"}, NONE),
        (WORDLESS, {"description": ""}, FULL),
        (WORDLESS, {"description": "Premiere tonight"}, NONE),
        (BODY, {"destinations": [{"social_connection_id": each} for each in ("c1", "c2", "c3")]}, PARTIAL),
        (BODY, {"destinations": [{"social_connection_id": each} for each in ("c3", "c4")]}, NONE),
        (BODY, {"destinations": []}, FULL),
        (BODY, {"destinations": [{"platform": "x"}]}, FULL),
        (BODY, {"destinations": [{"social_connection_id": "c1"}]}, PARTIAL),
        (BODY, {"destinations": [{"social_connection_id": "c1"}, {"social_connection_id": "c3"}]}, PARTIAL),
        # Mosaic may return another spelling of an id than a user wrote.
        (UPPER, {"destinations": [{"social_connection_id": UUID}]}, FULL),
        (BARE, {"destinations": [{"social_connection_id": UUID}]}, FULL),
        (UPPER, {"destinations": [{"social_connection_id": UUID}, {"social_connection_id": "c1"}]}, PARTIAL),
        (HYPHENATED, {"destinations": [{"social_connection_id": "C-1"}]}, FULL),
        (HYPHENATED, {"destinations": [{"social_connection_id": "c1"}]}, NONE),
        (BODY, {"scheduled_at": NOW}, FULL),
        (BODY, {"created_at": None}, FULL),
        (BODY, {"created_at": NOW - SKEW}, FULL),
        (BODY, {"created_at": NOW - SKEW - timedelta(seconds=1)}, PARTIAL),
        (BODY, {"created_at": NOW + timedelta(hours=1)}, FULL),
        (BODY, {"status": "failed"}, FULL),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "x"]}, FULL),
        (BY_PLATFORM, {"destinations": [], "platforms": ["YouTube", "X"]}, FULL),
        (BY_PLATFORM, {"destinations": [], "platforms": ["x"]}, PARTIAL),
        (BY_PLATFORM, {"destinations": [], "platforms": ["youtube", "twitter"]}, FULL),
        (BY_PLATFORM, {"destinations": [], "platforms": []}, FULL),
        (BY_PLATFORM, {"platforms": ["youtube"]}, FULL),
        (BY_PLATFORM, {"destinations": [], "platforms": ["tiktok"]}, NONE),
        (SCHEDULED, {"scheduled_at": NOW}, FULL),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(seconds=59)}, FULL),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(minutes=2)}, PARTIAL),
        (SCHEDULED, {"scheduled_at": NOW - timedelta(minutes=2)}, PARTIAL),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(hours=14)}, PARTIAL),
        (SCHEDULED, {"scheduled_at": NOW + timedelta(hours=24)}, NONE),
        (SCHEDULED, {"scheduled_at": None}, FULL),
        # Two differences: the worse one counts.
        (BODY, {"description": "Premiere", "destinations": [{"social_connection_id": "c3"}]}, NONE),
    ],
)
def test_only_posts_that_can_not_be_ours_are_ruled_out(body: dict[str, Any], row: dict[str, Any], match: str) -> None:
    post = Post.model_validate({**ROW, **row})
    assert match_of(post_candidates([post], body=body, before=[], since=NOW.timestamp())) == match


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
def test_long_texts_are_compared_in_linear_time(text: str) -> None:
    # Quadratic time would be minutes.
    post = Post.model_validate({**ROW, "description": text})
    assert match_of(post_candidates([post], body=BODY, before=[], since=NOW.timestamp())) in (NONE, PARTIAL)
    sent = create_post(text, social_connection_ids=["c1", "c2"]).body
    assert match_of(post_candidates([post], body=sent, before=[], since=NOW.timestamp())) == FULL


def test_long_text_matches_fully_only_if_it_is_equal() -> None:
    sent = "Premiere tonight. " * 2_000
    body = create_post(sent, social_connection_ids=["c1", "c2"]).body
    for shown, match in ((sent, FULL), (sent + "!", PARTIAL), (sent.replace(".", ". "), PARTIAL), ("x" * 50_000, NONE)):
        post = Post.model_validate({**ROW, "description": shown})
        assert match_of(post_candidates([post], body=body, before=[], since=NOW.timestamp())) == match


def test_an_old_post_is_no_candidate_if_the_posts_before_are_unknown() -> None:
    old = Post.model_validate({**ROW, "created_at": NOW - SKEW - timedelta(seconds=1)})
    assert post_candidates([old], body=BODY, before=None, since=NOW.timestamp()) == []


def test_a_post_that_existed_before_is_no_candidate() -> None:
    assert post_candidates([Post.model_validate(ROW)], body=BODY, before={"p"}, since=0.0) == []
