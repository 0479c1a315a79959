"""One effect, once: what the looks in a list that lags come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tasks.fakes import StateStore, bare_context
from tasks.fixtures import Clock

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
)
from airflow_provider_mosaic.api.search import Candidate, Siblings
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.task_state import ExistingItems, TaskState

OURS = Candidate(id="ours", status="running")
THEIRS = Candidate(id="theirs", status="running")


def lost() -> str:
    raise MosaicAmbiguousOutcomeError("the answer was lost")


def once(shown: Callable[[int], list[Candidate]]) -> tuple[CreateOnce, list[int]]:
    looks: list[int] = []

    def candidates(record: Any) -> list[Candidate]:
        looks.append(len(looks))
        return shown(looks[-1])

    return (
        CreateOnce(
            description="a run of agent 'x'",
            memory=TaskState(bare_context(StateStore()), kind="run", request="a"),
            send=lost,
            snapshot_existing=lambda began: ExistingItems(ids=()),
            find_candidates=candidates,
            siblings=lambda with_waiting: Siblings(),
            adopt=True,
            timeout=None,
            advice="",
        ),
        looks,
    )


def test_the_only_one_is_taken_when_it_stays_the_only_one(clock: Clock) -> None:
    task, looks = once(lambda look: [OURS])
    assert task.start().id == "ours"
    assert len(looks) == 5


def test_another_pipelines_run_that_is_shown_before_ours_is_not_taken_for_it(clock: Clock) -> None:
    task, _ = once(lambda look: [THEIRS] if look < 4 else [THEIRS, OURS])
    with pytest.raises(MosaicAmbiguousOutcomeError) as failure:
        task.start()
    assert failure.value.candidates == ("theirs", "ours")


def test_one_that_takes_the_place_of_another_is_counted_anew(clock: Clock) -> None:
    task, looks = once(lambda look: [THEIRS] if look < 3 else [OURS])
    assert task.start().id == "ours"
    assert len(looks) > 5


@pytest.mark.parametrize("refusal", [MosaicNotFoundError("404"), MosaicResponseError("307"), MosaicServerError("500")])
def test_a_list_that_can_not_be_read_is_read_again_before_a_person_is_asked(clock: Clock, refusal: MosaicError) -> None:
    def shown(look: int) -> list[Candidate]:
        if look == 1:
            raise refusal
        return [OURS]

    task, looks = once(shown)
    assert task.start().id == "ours"
    assert len(looks) == 6


def test_a_list_that_can_never_be_read_leaves_it_to_a_person(clock: Clock) -> None:
    def shown(look: int) -> list[Candidate]:
        raise MosaicPermissionError("this key may not list runs")

    task, _ = once(shown)
    with pytest.raises(MosaicAmbiguousOutcomeError, match="may not list runs"):
        task.start()


class TimeIsOver(BaseException):
    """What Airflow raises in a task whose execution_timeout is over is no Exception."""


def test_a_try_that_is_ended_in_the_middle_of_its_request_keeps_the_intent_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def begin() -> str:
        raise TimeIsOver

    task, _ = once(lambda look: [OURS])
    task = replace(task, send=begin)
    with pytest.raises(TimeIsOver):
        task.start()
    left = task.memory.load()
    assert left is not None
    assert left.id is None
    assert "Whether it was done is unknown: a run of agent 'x'" in caplog.text


def test_a_line_about_what_is_sent_again_names_it_as_it_is(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    course, _ = once(lambda look: [])
    answers = iter([lost, lambda: "run_01HZY7"])
    course = replace(course, description="a run of agent 'agent_01HZX9'", send=lambda: next(answers)())
    with caplog.at_level("INFO"):
        assert course.ensure().id == "run_01HZY7"
    assert "'agent_01HZX9'" in caplog.text
    assert "agent_01hzx9" not in caplog.text
