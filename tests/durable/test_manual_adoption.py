"""The Variable in which a person says which one a task takes up: its name, what it may hold, when it is read."""

from __future__ import annotations

import json

import pytest
from tasks.fakes import bare_context

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption

VARIABLE = "mosaic_adopt.dag.task"


def decisions(**facts: int) -> ManualAdoption:
    return ManualAdoption(bare_context(**{"try_number": 2, **facts}))


def decide(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    # Airflow reads a Variable from the environment before it asks for it elsewhere.
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", text)


@pytest.mark.parametrize(
    ("value", "map_index", "named"),
    [
        ({"manual__1": "an-id"}, -1, "an-id"),
        ({"manual__2": "another", "manual__1": "an-id"}, -1, "an-id"),
        ({"manual__2": "another"}, -1, None),
        ({}, -1, None),
        ({"manual__1[3]": "an-id"}, 3, "an-id"),
        # What is said of one mapped task, or of none, is not said of all of them.
        ({"manual__1": "an-id"}, 3, None),
        ({"manual__1[0]": "an-id"}, 3, None),
        ({"manual__1[3]": "an-id"}, -1, None),
        # The entries of other DAG runs are theirs, whatever they hold.
        ({"manual__2": None}, -1, None),
    ],
    ids=str,
)
def test_an_entry_is_for_one_task_of_one_dag_run(
    monkeypatch: pytest.MonkeyPatch, value: object, map_index: int, named: str | None
) -> None:
    decide(monkeypatch, value)
    assert decisions(map_index=map_index).read() == named


def test_without_the_variable_nobody_has_decided() -> None:
    assert decisions().read() is None


def test_a_first_try_does_not_even_look(monkeypatch: pytest.MonkeyPatch) -> None:
    decide(monkeypatch, "no JSON at all")
    assert decisions(try_number=1).read() is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("an-id", "no JSON"),
        ('{"manual__1": an-id}', "no JSON"),
        ('"an-id"', "no JSON object"),
        ("null", "no JSON object"),
        (["manual__1"], "no JSON object"),
        ({"manual__1": None}, "must be an id"),
        ({"manual__1": 7}, "must be an id"),
        ({"manual__1": ""}, "must be an id"),
        ({"manual__1": ["a", "b"]}, "must be an id"),
        ({"manual__1": "a b"}, "no spaces"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused_with_the_name_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, value: object, why: str
) -> None:
    decide(monkeypatch, value)
    with pytest.raises(MosaicValidationError) as refusal:
        decisions().read()
    message = str(refusal.value)
    assert repr(VARIABLE) in message
    assert why in message
    assert "Nothing was sent" in message
    assert '{"manual__1": "<its id>"}' in message


def test_the_invitation_has_what_to_set_word_for_word(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *values, last = decisions(map_index=3).adopt_hint(["one", "two"])
    assert repr(VARIABLE) in first
    assert "clear this task" in last
    for value, named in zip(map(str.strip, values), ["one", "two"], strict=True):
        decide(monkeypatch, value)
        assert decisions(map_index=3).read() == named


def test_where_there_is_no_candidate_the_invitation_still_says_how() -> None:
    assert '{"manual__1": "<its id>"}' in "".join(decisions().adopt_hint([]))


def test_a_name_that_airflow_would_refuse_is_made_shorter_and_differs_by_task() -> None:
    def named(task_id: str) -> str:
        context = bare_context()
        context["ti"].dag_id, context["ti"].task_id = "d" * 200, task_id
        return ManualAdoption(context).variable

    assert len({named("t" * 200 + end) for end in "ab"}) == 2
    assert len(named("t" * 200)) <= 250
    assert named("t") == f"mosaic_adopt.{'d' * 200}.t"
