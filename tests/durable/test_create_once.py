"""Create an item once: what the reads of a list that lags lead to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, bare_context
from tasks.fixtures import Clock

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.search import Candidate, Siblings
from airflow_provider_mosaic.durable import create_once
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.task_state import StartRecord

OURS = Candidate(id="ours", status="running")
THEIRS = Candidate(id="theirs", status="running")


def lose_response() -> str:
    raise MosaicAmbiguousOutcomeError("the response was lost")


class ExecutionTimeout(BaseException):
    """Airflow raises no Exception in a task whose execution_timeout has passed."""


def end_attempt() -> str:
    raise ExecutionTimeout


class CreateItem(CreateOnce):
    """
    An item whose lists the test scripts.

    :param listed: Returns the candidates of each read, by its number.
    """

    def __init__(
        self,
        listed: Callable[[int], list[Candidate]],
        *,
        send: Callable[[], str] = lose_response,
        description: str = "a run of agent 'x'",
        store: StateStore | None = None,
        timeout: float | None = None,
        existing: tuple[str, ...] = (),
        durable: bool = True,
        **counters: int,
    ) -> None:
        self.store = store or StateStore()
        context = bare_context(self.store, **counters)
        super().__init__(context, kind="run", request="a", durable=durable, description=description, timeout=timeout)
        self._listed = listed
        self._respond = send
        self._existing = existing
        self.reads = 0

    advice = "Check the runs."

    def send(self) -> str:
        return self._respond()

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        return replace(record, existing_ids=self._existing)

    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        self.reads += 1
        return self._listed(self.reads - 1)


def test_a_single_candidate_is_adopted_after_five_reads(clock: Clock) -> None:
    item = CreateItem(lambda read: [OURS])
    assert item.ensure().id == "ours"
    assert item.reads == 5


def test_a_candidate_of_another_pipeline_that_is_listed_first_is_not_adopted(clock: Clock) -> None:
    item = CreateItem(lambda read: [THEIRS] if read < 4 else [THEIRS, OURS])
    with pytest.raises(MosaicAmbiguousOutcomeError) as failure:
        item.ensure()
    assert failure.value.candidates == ("theirs", "ours")


def test_a_new_candidate_restarts_the_count_of_reads(clock: Clock) -> None:
    item = CreateItem(lambda read: [THEIRS] if read < 3 else [OURS])
    assert item.ensure().id == "ours"
    assert item.reads > 5


def test_a_second_request_is_reported_when_its_outcome_is_unknown_too(clock: Clock) -> None:
    sent: list[int] = []

    def send() -> str:
        sent.append(1)
        return lose_response()

    item = CreateItem(lambda read: [THEIRS, OURS] if len(sent) == 2 else [], send=send)
    with pytest.raises(MosaicAmbiguousOutcomeError) as failure:
        item.ensure()
    assert failure.value.means.startswith("The request may have been sent twice")


def lose_response_in_an_outage() -> str:
    raise MosaicAmbiguousOutcomeError("the response was lost") from MosaicServerError("502")


@pytest.mark.parametrize(("try_number", "is_last"), [(2, False), (3, True)])
def test_a_second_request_without_a_listed_effect_is_not_called_certain(
    clock: Clock, try_number: int, is_last: bool
) -> None:
    item = CreateItem(lambda read: [], send=lose_response_in_an_outage, try_number=try_number)
    with pytest.raises(MosaicServerError, match="Most likely nothing was created") as failure:
        item.ensure()
    # A retry searches once more. After the last attempt, only a user can find the item.
    assert ("runs adopt dag task manual__1 '<its id>'" in str(failure.value)) is is_last


@pytest.mark.parametrize(
    "lost",
    [MosaicAmbiguousOutcomeError("no id", accepted=True), MosaicAmbiguousOutcomeError("an id", candidates=["ours"])],
    ids=str,
)
def test_a_request_whose_response_reports_an_effect_is_not_sent_again(
    clock: Clock, lost: MosaicAmbiguousOutcomeError
) -> None:
    sent: list[int] = []

    def send() -> str:
        sent.append(1)
        raise lost

    with pytest.raises(MosaicAmbiguousOutcomeError):
        CreateItem(lambda read: [], send=send).ensure()
    assert len(sent) == 1


def test_a_second_request_warns_of_a_second_item(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    item = CreateItem(lambda read: [OURS] if read > 10 else [], send=lose_response)
    assert item.ensure().id == "ours"
    assert "a second one exists besides 'ours', and is paid or published too. Check the runs." in caplog.text


def test_a_retry_knows_that_the_request_was_sent_twice(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    first = CreateItem(lambda read: [], send=lose_response)
    with pytest.raises(MosaicError):
        first.ensure()
    retry = CreateItem(lambda read: [OURS], store=first.store, try_number=2)
    assert retry.ensure().id == "ours"
    assert "a second one exists besides 'ours'" in caplog.text


def test_a_request_that_may_be_the_second_one_is_sent_once(clock: Clock) -> None:
    first = CreateItem(lambda read: [], send=end_attempt)
    with pytest.raises(ExecutionTimeout):
        first.ensure()
    sent: list[int] = []

    def send() -> str:
        sent.append(1)
        return lose_response()

    retry = CreateItem(lambda read: [], send=send, store=first.store, try_number=2)
    with pytest.raises(MosaicError, match="may have been sent twice"):
        retry.ensure()
    assert len(sent) == 1


def test_a_refused_request_of_a_retry_leaves_the_intent_of_the_lost_one(clock: Clock) -> None:
    lost = CreateItem(lambda read: [], send=end_attempt)
    with pytest.raises(ExecutionTimeout):
        lost.ensure()

    def refuse() -> str:
        raise MosaicPermissionError("403")

    # The item of the lost request is listed after the search, and before the next request.
    refused = CreateItem(lambda read: [], send=refuse, existing=("ours",), store=lost.store, try_number=2)
    with pytest.raises(MosaicPermissionError):
        refused.ensure()
    saved = CreateItem(lambda read: [OURS], store=lost.store, try_number=3).state.load()
    assert saved is not None
    assert saved.existing_ids == ()


@pytest.mark.parametrize("error", [MosaicNotFoundError("404"), MosaicResponseError("307"), MosaicServerError("500")])
def test_a_list_that_fails_is_read_again(clock: Clock, error: MosaicError) -> None:
    def listed(read: int) -> list[Candidate]:
        if read == 1:
            raise error
        return [OURS]

    item = CreateItem(listed)
    assert item.ensure().id == "ours"
    assert item.reads == 6


def test_a_list_that_always_fails_needs_manual_review(clock: Clock) -> None:
    def listed(read: int) -> list[Candidate]:
        raise MosaicPermissionError("this key may not list runs")

    with pytest.raises(MosaicAmbiguousOutcomeError, match="may not list runs"):
        CreateItem(listed).ensure()


def test_a_search_of_slow_lists_ends_with_the_next_reading(clock: Clock) -> None:
    def listed(read: int) -> list[Candidate]:
        clock.sleep(600)
        raise MosaicTransportError("the list has more pages after 600 s")

    item = CreateItem(listed)
    with pytest.raises(MosaicAmbiguousOutcomeError, match="after 600 s"):
        item.ensure()
    assert item.reads == 2


@pytest.mark.parametrize("step", [7 * 60.0, -3600.0], ids=["forward", "back"])
def test_a_step_of_the_wall_clock_does_not_change_the_two_minutes(clock: Clock, step: float) -> None:
    clock.on_sleep = lambda: clock.step(step) if len(clock.pauses) == 1 else None
    # The request is sent twice.
    with pytest.raises(MosaicError, match="For two minutes after each"):
        CreateItem(lambda read: []).ensure()
    assert 238 <= clock.elapsed < 300


class CreateBesideOthers(CreateItem):
    """
    An item beside those of other DAG runs. The first reading of its lists takes so long that the second is the last.

    :param others: The ids of other DAG runs; None if they can't be read.
    """

    def __init__(self, others: frozenset[str] | None, **options: Any) -> None:
        super().__init__(self._list, **options)
        self._others = others

    def _list(self, read: int) -> list[Candidate]:
        if read == 0:
            create_once.time.sleep(600)
        return [OURS] if read else []

    def siblings(self) -> Any:
        return SimpleNamespace(read=lambda include_waiting: Siblings(), ids_of_other_dag_runs=lambda: self._others)


def test_a_candidate_of_another_dag_run_at_the_last_reading_leaves_nothing(clock: Clock) -> None:
    responses = iter([lose_response, lambda: "new"])
    item = CreateBesideOthers(frozenset({"ours"}), send=lambda: next(responses)())
    assert item.ensure().id == "new"
    assert item.reads == 2


def test_unreadable_dag_runs_at_the_last_reading_are_named_as_the_reason(clock: Clock) -> None:
    with pytest.raises(MosaicAmbiguousOutcomeError, match="tasks that could not be read") as failure:
        CreateBesideOthers(None).ensure()
    assert failure.value.candidates == ("ours",)


class CreateSlowly(CreateItem):
    """An item whose existing ones take 100 seconds to read. It replaces that of an earlier attempt."""

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        create_once.time.sleep(100)
        return super().snapshot_existing(record)

    def can_continue(self, record: StartRecord) -> bool:
        return False


def test_the_timeout_counts_from_the_request(clock: Clock) -> None:
    record = CreateSlowly(lambda read: [], send=lambda: "new", timeout=60).ensure()
    assert record.deadline is not None
    assert record.deadline > clock.time()
    assert record.started_at > clock.time() - 60


def test_nothing_is_created_after_a_timeout_that_passed_while_lists_were_read(clock: Clock) -> None:
    earlier = CreateItem(lambda read: [], send=lambda: "earlier", timeout=60)
    earlier.ensure()
    retry = CreateSlowly(lambda read: [], send=lambda: pytest.fail("sent"), store=earlier.store, try_number=2)
    with pytest.raises(AirflowFailException, match=r"has passed, so it is not created\. This attempt started"):
        retry.ensure()


def test_nothing_is_sent_again_after_the_timeout(clock: Clock) -> None:
    sent: list[int] = []

    def send() -> str:
        sent.append(1)
        return lose_response()

    item = CreateItem(lambda read: [], send=send, timeout=60)
    with pytest.raises(AirflowFailException, match=r"has passed, so the request is not sent again.*Check the runs"):
        item.ensure()
    assert len(sent) == 1


def test_an_attempt_that_is_ended_during_its_request_keeps_the_intent(caplog: pytest.LogCaptureFixture) -> None:
    item = CreateItem(lambda read: [OURS], send=end_attempt)
    with pytest.raises(ExecutionTimeout):
        item.ensure()
    saved = CreateItem(lambda read: [], store=item.store, try_number=2).state.load()
    assert saved is not None
    assert saved.id is None
    assert "It is unknown whether a run of agent 'x' was created" in caplog.text


@pytest.mark.parametrize("durable", [True, False])
def test_a_search_of_the_retry_is_promised_only_if_it_comes(
    clock: Clock, caplog: pytest.LogCaptureFixture, durable: bool
) -> None:
    promise = "retry searches for it" if durable else "retry does not search for it, because durable=False"
    with pytest.raises(ExecutionTimeout):
        CreateItem(lambda read: [], send=end_attempt, durable=durable).ensure()
    assert promise in caplog.text
    errors = iter([MosaicAmbiguousOutcomeError("the response was lost"), MosaicPermissionError("403")])

    def lose_and_refuse() -> str:
        raise next(errors)

    with pytest.raises(MosaicPermissionError, match=promise):
        CreateItem(lambda read: [], send=lose_and_refuse, durable=durable).ensure()


def attempt_that_died() -> StateStore:
    """Return the store after an attempt that was ended during its request."""
    item = CreateItem(lambda read: [], send=end_attempt, timeout=10, max_tries=3, retries=3)
    with pytest.raises(ExecutionTimeout):
        item.ensure()
    return item.store


#: With fewer retries than before, a clear looks like a retry.
RETRY_OR_CLEAR = {"try_number": 2, "max_tries": 3, "retries": 2, "clear_number": 1}


def test_an_attempt_that_may_follow_a_clear_adopts_nothing(clock: Clock) -> None:
    with pytest.raises(MosaicAmbiguousOutcomeError) as failure:
        CreateItem(lambda read: [OURS], store=attempt_that_died(), **RETRY_OR_CLEAR).ensure()
    assert failure.value.candidates == ("ours",)


@pytest.mark.parametrize("named", [False, True])
def test_the_timeout_of_an_attempt_that_may_follow_a_clear_starts_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    store = attempt_that_died()
    clock.sleep(100)
    if named:
        monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.TASK", '{"manual__1": "new"}')
    record = CreateItem(lambda read: [], send=lambda: "new", store=store, timeout=10, **RETRY_OR_CLEAR).ensure()
    assert record.id == "new"
    assert record.deadline is not None
    assert record.deadline > clock.time()


def test_log_lines_keep_the_case_of_an_id(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    responses = iter([lose_response, lambda: "run_01HZY7"])
    item = CreateItem(lambda read: [], send=lambda: next(responses)(), description="a run of agent 'agent_01HZX9'")
    with caplog.at_level("INFO"):
        assert item.ensure().id == "run_01HZY7"
    assert "'agent_01HZX9'" in caplog.text
    assert "agent_01hzx9" not in caplog.text


@pytest.mark.parametrize("named", ["AN-ID", "another"])
def test_a_cleared_item_that_a_user_names_in_another_spelling_is_continued(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    store = StateStore()
    CreateItem(lambda read: [], send=lambda: "an-id", store=store).ensure()
    again = CreateItem(lambda read: [], store=store, try_number=2, max_tries=3)
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.TASK", json.dumps({again.adoption.entry: named}))
    cancelled: list[str] = []
    monkeypatch.setattr(again, "on_cleared", cancelled.append)
    assert again.ensure().id == named
    assert cancelled == ([] if named == "AN-ID" else ["an-id"])
    assert again.state.is_cleared(named) == (named == "AN-ID")


def test_an_id_in_a_lost_response_is_found_in_another_spelling(clock: Clock) -> None:
    def send() -> str:
        raise MosaicAmbiguousOutcomeError("it contradicts itself", candidates=["OURS"])

    assert CreateItem(lambda read: [OURS, THEIRS], send=send).ensure().id == "ours"


def test_a_first_attempt_does_not_read_the_variable(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.TASK", "no JSON at all")
    assert CreateItem(lambda read: [OURS]).ensure().id == "ours"
    with pytest.raises(MosaicValidationError, match="not JSON"):
        CreateItem(lambda read: [OURS], try_number=2).ensure()
