"""The Airflow Variable in which a user names a task's item: its name, its values, and when it is read."""

from __future__ import annotations

import json
import shlex

import pytest
from tasks.fakes import bare_context

from airflow_provider_mosaic.airflow_compat import has_provider_commands
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption

VARIABLE = "mosaic_adopt.dag.task"


def adoption(kind: str = "run", **facts: int) -> ManualAdoption:
    return ManualAdoption(bare_context(**{"try_number": 2, **facts}), kind=kind)


def set_variable(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    # Airflow reads Variables from the environment first.
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", text)


@pytest.mark.parametrize(
    ("value", "map_index", "named"),
    [
        ({"manual__1": "an-id"}, -1, "an-id"),
        ({"manual__2": "another", "manual__1": "an-id"}, -1, "an-id"),
        ({"manual__2": "another"}, -1, None),
        ({}, -1, None),
        ({"manual__1[3]": "an-id"}, 3, "an-id"),
        ({"manual__1": {"id": "an-id", "named_at": "2026-01-01T00:00:00+00:00"}}, -1, "an-id"),
        # An entry for one map index, or without one, is for no other.
        ({"manual__1": "an-id"}, 3, None),
        ({"manual__1[0]": "an-id"}, 3, None),
        ({"manual__1[3]": "an-id"}, -1, None),
        # Invalid entries of other DAG runs do not matter.
        ({"manual__2": None}, -1, None),
    ],
    ids=str,
)
def test_an_entry_is_for_one_task_instance(
    monkeypatch: pytest.MonkeyPatch, value: object, map_index: int, named: str | None
) -> None:
    set_variable(monkeypatch, value)
    assert adoption(map_index=map_index).read() == named


def test_without_the_variable_there_is_no_id() -> None:
    assert adoption().read() is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("an-id", "not JSON"),
        ('{"manual__1": an-id}', "not JSON"),
        ('"an-id"', "not a JSON object"),
        ("null", "not a JSON object"),
        (["manual__1"], "not a JSON object"),
        ({"manual__1": None}, "must be an id"),
        ({"manual__1": 7}, "must be an id"),
        ({"manual__1": ""}, "must be an id"),
        ({"manual__1": ["a", "b"]}, "must be an id"),
        ({"manual__1": "a b"}, "no spaces"),
        ({"manual__1": {"named_at": "2026-01-01T00:00:00+00:00"}}, "must be an id"),
        ({"manual__1": {"id": "a b"}}, "no spaces"),
    ],
    ids=str,
)
def test_an_invalid_variable_is_an_error_with_its_name_and_an_example(
    monkeypatch: pytest.MonkeyPatch, value: object, why: str
) -> None:
    set_variable(monkeypatch, value)
    with pytest.raises(MosaicValidationError) as failure:
        adoption().read()
    message = str(failure.value)
    assert repr(VARIABLE) in message
    assert why in message
    assert "Nothing was sent" in message
    assert '{"manual__1": {"id": "<its id>", "named_at": "' in message


def copied(hint: tuple[str, ...]) -> list[list[str]]:
    """Return the arguments of the commands that a hint contains."""
    commands = [line.strip() for line in hint if line.startswith("  ") and "{" not in line]
    prefix = "airflow mosaic" if has_provider_commands() else "python -m airflow_provider_mosaic"
    assert all(command.startswith(f"{prefix} runs adopt ") for command in commands)
    return [shlex.split(command.removeprefix(prefix))[2:] for command in commands]


def test_the_hint_contains_a_command_for_each_candidate_and_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = adoption(map_index=3).adopt_hint(["one", "two"])
    assert copied(hint) == [
        ["dag", "task", "manual__1", id, "--map-index", "3", "--item", "run"] for id in ("one", "two")
    ]
    assert "clear this task" in hint[0]
    assert "clear this task" in hint[-1]
    assert any(line.startswith(f"Or set the Airflow Variable {VARIABLE!r}") for line in hint)
    values = [line.strip() for line in hint if line.startswith("  {")]
    for value, named in zip(values, ["one", "two"], strict=True):
        set_variable(monkeypatch, value)
        assert adoption(map_index=3).read() == named


def test_the_hint_for_one_candidate_has_its_id_in_both_ways() -> None:
    hint = adoption(kind="post", try_number=1).adopt_hint(["a-post"])
    assert copied(hint) == [["dag", "task", "manual__1", "a-post", "--item", "post"]]
    assert f'set the Airflow Variable {VARIABLE!r} to {{"manual__1": "a-post"}} and clear this task' in " ".join(hint)
    assert copied(adoption().continue_hint("a-run")) == [["dag", "task", "manual__1", "a-run", "--item", "run"]]


def test_the_hint_without_candidates_has_a_placeholder() -> None:
    hint = adoption().adopt_hint([])
    assert copied(hint) == [["dag", "task", "manual__1", "<its id>", "--item", "run"]]
    assert '{"manual__1": {"id": "<its id>", "named_at": "' in "".join(hint)


def test_a_name_that_is_too_long_is_hashed() -> None:
    def named(task_id: str) -> str:
        context = bare_context()
        context["ti"].dag_id, context["ti"].task_id = "d" * 200, task_id
        return ManualAdoption(context, kind="run").variable

    assert len({named("t" * 200 + end) for end in "ab"}) == 2
    assert len(named("t" * 200)) <= 250
    assert named("t") == f"mosaic_adopt.{'d' * 200}.t"
