"""Read the items of sibling tasks with few requests, and never assume an owner."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from tasks.fakes import DagRun, TaskInstance

from airflow_provider_mosaic.api.search import Siblings
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import NOT_STARTED_KEY

KEY = "mosaic_run_id"


class StartOperator(BaseOperator):
    """An operator that creates items."""

    _creates = "run"


def siblings_in(dag_run: DagRun, *, map_index: int = 0, tasks: tuple[str, ...] = ("run",)) -> SiblingTasks:
    """Return the siblings of the instance 0 of the first task."""
    with DAG("dag", schedule=None) as dag:
        operators = [StartOperator(task_id=task_id) for task_id in tasks]
    ti = TaskInstance(task=operators[0], dag_run=dag_run, map_index=map_index)
    return SiblingTasks({"ti": ti, "dag": dag}, kind="run", key=KEY)


def push(dag_run: DagRun, index: int, value: Any, key: str = KEY, task_id: str = "run") -> None:
    dag_run.xcoms[(task_id, index, key)] = value


def requests(dag_run: DagRun) -> int:
    count = len(dag_run.requests)
    dag_run.requests.clear()
    return count


def names(*indexes: int) -> frozenset[str]:
    return frozenset(f"run[{index}]" for index in indexes)


def test_a_thousand_deferred_siblings_cost_two_requests_a_read() -> None:
    dag_run = DagRun(states={f"run_{index}": "deferred" for index in range(1000)})
    for index in range(1, 1000):
        push(dag_run, index, f"id-{index}")
    reader = siblings_in(dag_run)
    for _ in range(12):
        result = reader.read(False)
        assert requests(dag_run) == 2
    assert result == Siblings(owned_ids=frozenset(f"id-{index}" for index in range(1, 1000)))


def test_single_instances_are_read_only_until_their_id_is_known() -> None:
    dag_run = DagRun(states={f"run_{index}": "scheduled" for index in range(1000)})
    dag_run.states |= {f"run_{index}": "success" for index in range(1, 500)}
    for index in range(1, 500):
        push(dag_run, index, f"id-{index}")
    dag_run.states |= {f"run_{index}": "running" for index in range(500, 520)}
    push(dag_run, 500, "id-500")
    reader = siblings_in(dag_run)
    assert reader.read(False).possible_owners == names(*range(501, 520))
    # States, ids, instances that started nothing, and the twenty.
    assert requests(dag_run) == 23
    # No id was pushed since: no single instance is read.
    assert reader.read(False).possible_owners == names(*range(501, 520))
    assert requests(dag_run) == 3
    push(dag_run, 501, "id-501")
    assert reader.read(False).possible_owners == names(*range(502, 520))
    assert requests(dag_run) == 3 + 19


def test_waiting_instances_are_read_once() -> None:
    dag_run = DagRun(states={f"run_{index}": "scheduled" for index in range(1000)})
    push(dag_run, 7, "id-7")
    push(dag_run, 999, "id-999")
    reader = siblings_in(dag_run)
    result = reader.read(True)
    assert result.owned_ids == {"id-7", "id-999"}
    assert result.waiting == names(*(set(range(1, 999)) - {7}))
    assert requests(dag_run) <= 1002
    assert reader.read(True) == result
    assert requests(dag_run) == 3


def test_a_new_attempt_of_a_sibling_is_a_possible_owner_again() -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": "running"})
    push(dag_run, 1, "first")
    reader = siblings_in(dag_run)
    assert reader.read(False) == Siblings(owned_ids=frozenset({"first"}))
    # Airflow deletes its XComs before its next attempt.
    del dag_run.xcoms[("run", 1, KEY)]
    assert reader.read(False) == Siblings(possible_owners=names(1))
    push(dag_run, 1, "second")
    assert reader.read(False) == Siblings(owned_ids=frozenset({"second"}))


def test_an_id_that_only_a_single_read_saw_is_dropped_with_its_attempt() -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": "running", "run_2": "deferred"})
    push(dag_run, 2, "id-2")
    reader = siblings_in(dag_run)
    [task] = reader._tasks
    read_one = task._read_one

    def push_and_read(index: int) -> str | None:
        push(dag_run, index, "first")
        return read_one(index)

    # The instance pushes its id after all ids were read.
    task._read_one = push_and_read  # type: ignore[method-assign]
    assert reader.read(False) == Siblings(owned_ids=frozenset({"first", "id-2"}))
    task._read_one = read_one  # type: ignore[method-assign]
    del dag_run.xcoms[("run", 1, KEY)]
    assert reader.read(False) == Siblings(owned_ids=frozenset({"id-2"}), possible_owners=names(1))


def test_a_new_attempt_of_one_sibling_costs_no_reads_of_others() -> None:
    dag_run = DagRun(states={f"run_{index}": "up_for_retry" for index in range(1, 500)} | {"run_0": "running"})
    for index in range(1, 500):
        push(dag_run, index, f"id-{index}")
    reader = siblings_in(dag_run)
    assert reader.read(False).possible_owners == frozenset()
    requests(dag_run)
    dag_run.states["run_7"] = "running"
    del dag_run.xcoms[("run", 7, KEY)]
    assert reader.read(False).possible_owners == names(7)
    # States, ids, and instances that started nothing.
    assert requests(dag_run) == 3


def test_two_instances_with_the_same_id_are_told_apart() -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": "running", "run_2": "running"})
    push(dag_run, 1, "same")
    push(dag_run, 2, "same")
    reader = siblings_in(dag_run)
    assert reader.read(False) == Siblings(owned_ids=frozenset({"same"}))
    del dag_run.xcoms[("run", 1, KEY)]
    assert reader.read(False) == Siblings(owned_ids=frozenset({"same"}), possible_owners=names(1))


@pytest.mark.parametrize("state", ["running", "up_for_retry", "failed", "queued"])
def test_an_instance_that_started_nothing_is_no_possible_owner(state: str) -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": state, "run_2": state})
    push(dag_run, 1, 1, NOT_STARTED_KEY)
    result = siblings_in(dag_run).read(True)
    assert (result.possible_owners or frozenset()) | result.waiting == names(2)


def test_an_unmapped_task_whose_name_ends_like_a_map_index() -> None:
    dag_run = DagRun(states={"run": "running", "other_1": "failed", "last": "failed"})
    push(dag_run, -1, "its-own", task_id="last")
    reader = siblings_in(dag_run, map_index=-1, tasks=("run", "other_1", "last"))
    assert reader.read(False) == Siblings(owned_ids=frozenset({"its-own"}), possible_owners=frozenset({"other_1"}))
    push(dag_run, -1, -1, NOT_STARTED_KEY, task_id="other_1")
    assert reader.read(False) == Siblings(owned_ids=frozenset({"its-own"}))


def read_plainly(dag_run: DagRun) -> Siblings:
    """Return the siblings as single reads of all instances show them."""
    possible_owners, waiting, owned = set(), set(), set()
    for name, state in dag_run.states.items():
        index = int(name.rpartition("_")[2])
        id = dag_run.xcoms.get(("run", index, KEY))
        if id is not None:
            owned.add(id)
        elif index == 0 or ("run", index, NOT_STARTED_KEY) in dag_run.xcoms:
            continue
        elif state in ("running", "up_for_retry", "failed"):
            possible_owners.add(f"run[{index}]")
        elif state in ("scheduled", "queued"):
            waiting.add(f"run[{index}]")
    return Siblings(owned_ids=frozenset(owned), possible_owners=frozenset(possible_owners), waiting=frozenset(waiting))


def attempts(chance: random.Random, dag_run: DagRun, index: int) -> Iterator[None]:
    """Run the attempts of one sibling, a step at a time."""
    name = f"run_{index}"
    for number in range(1, 4):
        for state in ("scheduled", "queued", "running"):
            dag_run.states[name] = state
            yield
        for key in (KEY, NOT_STARTED_KEY):
            dag_run.xcoms.pop(("run", index, key), None)
        yield
        end = chance.choice(["pushes", "pushes", "dies", "starts nothing"])
        if end == "pushes":
            push(dag_run, index, f"{index}-{chance.choice([1, number])}")
        elif end == "starts nothing" and number == 1:
            push(dag_run, index, index, NOT_STARTED_KEY)
        yield
        if end == "pushes" and chance.random() < 0.7:
            dag_run.states[name] = "deferred"
            yield
        dag_run.states[name] = chance.choice(["up_for_retry", "failed", "success"] if end == "pushes" else ["failed"])
        yield


@pytest.mark.parametrize("include_waiting", [False, True])
def test_few_requests_return_the_same_as_single_reads(include_waiting: bool) -> None:
    same = 0
    for seed in range(60):
        chance = random.Random(seed)
        dag_run = DagRun(states={"run_0": "running"})
        siblings = [attempts(chance, dag_run, index) for index in range(1, 20)]
        reader = siblings_in(dag_run)
        for _ in range(12):
            # Between two reads there are seconds, or half a minute.
            for _ in range(chance.choice([0, 3, 10, 60])):
                next(chance.choice(siblings), None)
            plain, result = read_plainly(dag_run), reader.read(include_waiting)
            assert result.owned_ids == plain.owned_ids
            assert result.possible_owners == plain.possible_owners
            assert result.waiting >= plain.waiting
            same += result.waiting == plain.waiting
    # A waiting instance that ran between two reads counts as a possible owner for longer than necessary.
    assert not include_waiting or same >= 0.9 * 60 * 12


def siblings_beside(*others: DagRun, map_index: int = -1) -> SiblingTasks:
    """Return the siblings of a start whose sensor follows it, in a DAG with other runs."""
    with DAG("dag", schedule=None) as dag:
        mapped = StartOperator.partial(task_id="run").expand(pool=["a", "b"])
        start = mapped if map_index >= 0 else StartOperator(task_id="start")
        start >> BaseOperator(task_id="sensor")
    own = DagRun(states={"start": "running", f"run_{max(0, map_index)}": "running", "sensor": "scheduled"})
    ti = TaskInstance(task=start, dag_run=own, map_index=map_index, other_dag_runs=list(others))
    return SiblingTasks({"ti": ti, "dag": dag}, kind="run", key=KEY)


@pytest.mark.parametrize(("state", "is_owned"), [("running", True), ("success", False)])
@pytest.mark.parametrize("start", ["running", "deferred", "success"])
def test_tasks_of_another_running_dag_run_own_what_they_started(start: str, state: str, is_owned: bool) -> None:
    other = DagRun(run_id="other", state=state, states={"start": start, "sensor": "deferred"})
    push(other, -1, "b", task_id="start")
    assert siblings_beside(other).ids_of_other_dag_runs() == (frozenset({"b"}) if is_owned else frozenset())
    assert siblings_beside(other).other_dag_run_with("B") == ("other" if is_owned else None)
    assert siblings_beside(other).other_dag_run_with("c") is None


def test_all_instances_of_a_mapped_task_in_another_dag_run_own_items() -> None:
    other = DagRun(run_id="other", states={f"run_{index}": "deferred" for index in range(1000)})
    for index in range(1000):
        push(other, index, f"id-{index}")
    # A DAG run whose task has not been expanded yet.
    new = DagRun(run_id="new", states={"start": "scheduled", "run": "scheduled"})
    siblings = siblings_beside(other, new, map_index=0)
    assert siblings.ids_of_other_dag_runs() == {f"id-{index}" for index in range(1000)}


def test_a_dag_run_that_has_only_another_of_the_tasks_is_found() -> None:
    other = DagRun(run_id="other", states={"run_0": "deferred"})
    push(other, 0, "b")
    assert siblings_beside(other).ids_of_other_dag_runs() == frozenset({"b"})


@pytest.mark.parametrize("running", [0, 1234, 1998, 1999])
def test_ended_dag_runs_cost_few_requests(running: int) -> None:
    others = [DagRun(run_id=f"other-{number}", state="success", states={"start": "success"}) for number in range(2000)]
    others[running].state = "running"
    push(others[running], -1, "b", task_id="start")
    siblings = siblings_beside(*others)
    assert siblings.ids_of_other_dag_runs() == frozenset({"b"})
    asked = siblings._ti.dag_run.requests
    assert len(asked) <= (20 if running >= 1998 else 60)


def test_a_dag_run_whose_mapped_task_has_no_instances_yet_costs_no_search_of_the_history() -> None:
    ended = {"run_0": "success", "sensor": "success"}
    others = [DagRun(run_id=f"other-{number}", state="success", states=ended) for number in range(2000)]
    others.append(DagRun(run_id="new", states={"run": "scheduled", "sensor": "scheduled"}))
    siblings = siblings_beside(*others, map_index=0)
    assert siblings.ids_of_other_dag_runs() == frozenset()
    assert len(siblings._ti.dag_run.requests) <= 20


def test_a_task_that_was_not_mapped_in_the_version_of_an_older_dag_run_owns_what_it_started() -> None:
    other = DagRun(run_id="other", states={"run": "deferred", "sensor": "scheduled"})
    push(other, -1, "b")
    assert siblings_beside(other, map_index=0).ids_of_other_dag_runs() == frozenset({"b"})


def test_a_task_that_still_waits_in_an_old_dag_run_is_found_first() -> None:
    others = [DagRun(run_id=f"other-{number}", state="success", states={"start": "success"}) for number in range(2000)]
    others[0] = DagRun(run_id="other", states={"start": "deferred"})
    siblings = siblings_beside(*others)
    assert siblings.ids_of_other_dag_runs() == frozenset()
    assert len(siblings._ti.dag_run.requests) <= 20


def test_dag_runs_that_end_between_two_counts_are_no_endless_search() -> None:
    others = [DagRun(run_id=f"other-{number}", states={"start": "deferred"}) for number in range(40)]
    others += [DagRun(run_id=f"ended-{number}", state="success", states={"start": "deferred"}) for number in range(9)]
    siblings = siblings_beside(*others)
    count = siblings._dag_runs._count

    def count_and_end(run_ids: list[str] | None = None) -> int:
        result = count(run_ids)
        if run_ids is not None:
            for other in others:
                other.state = "success"
        return result

    siblings._dag_runs._count = count_and_end  # type: ignore[method-assign]
    assert siblings.ids_of_other_dag_runs() == frozenset()


def test_no_state_is_read_while_no_other_dag_run_is_running() -> None:
    siblings = siblings_beside(DagRun(run_id="other", state="success", states={"start": "success"}))
    assert siblings.ids_of_other_dag_runs() == frozenset()
    assert siblings._ti.dag_run.requests == ["count of DAG runs"]


def test_too_many_other_dag_runs_leave_the_owner_unknown() -> None:
    others = [DagRun(run_id=f"other-{number}", states={"start": "deferred"}) for number in range(201)]
    assert siblings_beside(*others).ids_of_other_dag_runs() is None


def test_an_endless_history_leaves_the_owner_unknown() -> None:
    states = {"start": "success"}
    others = [DagRun(run_id=f"other-{number}", state="success", states=states) for number in range(10_100)]
    others[0].state = "running"
    siblings = siblings_beside(*others)
    assert siblings.ids_of_other_dag_runs() is None
    assert len(siblings._ti.dag_run.requests) <= 210


@pytest.mark.parametrize(
    ("agent_id", "may_own"), [("<< params.agent >>", True), ("a1\n", True), ("A1", True), ("a2", False)]
)
def test_only_a_constant_tells_a_task_of_another_agent(agent_id: str, may_own: bool) -> None:
    with DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}) as dag:
        run, other = StartOperator(task_id="run"), StartOperator(task_id="other")
    other.agent_id = agent_id
    dag_run = DagRun(states={"run": "running", "other": "running"})
    siblings = SiblingTasks(
        {"ti": TaskInstance(task=run, dag_run=dag_run, map_index=-1), "dag": dag},
        kind="run",
        key=KEY,
        same_argument=("agent_id", "a1"),
    ).read(False)
    assert bool(siblings.possible_owners) is may_own
