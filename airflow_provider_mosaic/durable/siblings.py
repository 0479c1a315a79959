"""What other tasks of the same DAG run have begun, so that a lost run or post is not mistaken for theirs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_mosaic.api.search import Siblings
from airflow_provider_mosaic.durable.task_state import NOT_STARTED_KEY

log = logging.getLogger(__name__)

# A task in one of these may have begun something whose id it has not pushed yet, or did not live to push.
_CAN_START = frozenset({"running", "restarting", "up_for_retry", "up_for_reschedule", "failed"})
# One in these states may be a retry of such a task: Airflow does not tell a running task which try of another it is.
_WAITING = frozenset({"scheduled", "queued"})


class SiblingTasks:
    """
    The DAG run's other tasks of a class, mapped siblings of a running task among them, over several looks.

    Each task pushes its id at once after its start, and a running task may read what others have pushed. Of a task with
    any number of mapped siblings a look costs three requests: for the states, for all ids, and for who has said that
    nothing was begun. Who has pushed an id is asked one by one, since the list of ids does not say it; only those are
    asked of whom it matters, and only while there are ids that may be theirs.

    :param context: The context of the running task.
    :param key: XCom key under which the others push their ids.
    :param operator_class: The class of tasks that begin such things.
    :param alike: An argument and its value, if the tasks that begin other things can be told by it: a task that was
        given another value, and no template, is left out.
    """

    def __init__(
        self,
        context: Mapping[str, Any],
        *,
        key: str,
        operator_class: type[Any],
        alike: tuple[str, str] | None = None,
    ) -> None:
        self._ti = context["ti"]
        self._key = key
        self._groups = [
            _Group(self._ti, task.task_id, key)
            for task in context["dag"].tasks
            if issubclass(getattr(task, "operator_class", type(task)), operator_class)
            and not (alike is not None and _differs(task, *alike))
        ]

    def read(self, with_waiting: bool) -> Siblings:
        """
        Read what they have begun, and may have begun.

        :param with_waiting: Whether those that wait for their turn matter; otherwise they are not asked for their ids.
        """
        owned: set[str] = set()
        unsettled: set[str] = set()
        waiting: set[str] = set()
        try:
            for group in self._groups:
                group.read(with_waiting)
                owned |= group.owned
                unsettled |= group.unsettled
                waiting |= group.waiting
        except Exception:
            # Not knowing is not the same as there being none.
            log.warning("Could not read what the other tasks of this DAG run have begun.", exc_info=True)
            return Siblings(owned_ids=frozenset(owned), possible_owners=None)
        return Siblings(owned_ids=frozenset(owned), possible_owners=frozenset(unsettled), waiting=frozenset(waiting))


class _Group:
    """The instances of one task, by their map indexes; -1 for one that is not mapped."""

    def __init__(self, ti: Any, task_id: str, key: str) -> None:
        self._ti = ti
        self._task_id = task_id
        self._key = key
        # Who has pushed which id, as far as it was asked.
        self._said: dict[int, str] = {}
        # Who had pushed none when it was last looked at, in which state it was then, and how many had come by then.
        self._silent: dict[int, tuple[str, int]] = {}
        self._pushed: Counter[str] = Counter()
        self._come = 0
        self.owned: frozenset[str] = frozenset()
        self.unsettled: set[str] = set()
        self.waiting: set[str] = set()

    def read(self, with_waiting: bool) -> None:
        # In this order: who was past its start when the states were read has pushed its id by then.
        states = dict(self._states())
        pushed = Counter(self._all(self._key))
        self._come += sum((pushed - self._pushed).values())
        self._pushed = pushed
        self.owned = frozenset(pushed)
        self._forget_the_gone()
        left = pushed - Counter(self._said.values())
        unsettled: set[int] = set()
        waiting: set[int] = set()
        for index, state in states.items():
            if index in self._said:
                continue
            if state in _WAITING and not with_waiting:
                waiting.add(index)
            elif state in _CAN_START or state in _WAITING:
                said = self._one(index) if left and not self._is_silent(index, state) else None
                if said is not None:
                    self._said[index] = said
                    self._silent.pop(index, None)
                    left -= Counter([said])
                    self.owned |= {said}
                else:
                    self._silent[index] = (state, self._come)
                    (waiting if state in _WAITING else unsettled).add(index)
        if unsettled or (waiting and with_waiting):
            # It is true until their next try, which takes it back before it does anything else.
            blank = set(self._all(NOT_STARTED_KEY))
            unsettled -= blank
            waiting -= blank
        self.unsettled, self.waiting = self._names(unsettled), self._names(waiting)

    def _states(self) -> Iterator[tuple[int, str]]:
        ti = self._ti
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self._task_id], run_ids=[ti.run_id])
        for name, state in states.get(ti.run_id, {}).items():
            # A mapped task instance is named task_id_<map index>.
            index = -1 if name == self._task_id else int(name.rpartition("_")[2])
            if (self._task_id, index) != (ti.task_id, ti.map_index) and state is not None:
                yield index, state

    def _all(self, key: str) -> list[Any]:
        """What all of them have pushed, in one request, and not by whom."""
        return [value for value in self._ti.xcom_pull(task_ids=[self._task_id], key=key) or () if value is not None]

    def _one(self, index: int) -> str | None:
        said: str | None = self._ti.xcom_pull(task_ids=self._task_id, key=self._key, map_indexes=index)
        return said

    def _is_silent(self, index: int, state: str) -> bool:
        """Whether it is known without asking that it has pushed none."""
        then, come = self._silent.get(index, ("", 0))
        # There may be very many that wait, and they push nothing. One that was under way meanwhile, unseen, is only
        # suspected for longer than need be.
        return then == state and (come == self._come or state in _WAITING)

    def _forget_the_gone(self) -> None:
        """A new try takes back what the one before it has pushed, and may begin another."""
        counts = Counter(self._said.values())
        self._said = {index: said for index, said in self._said.items() if counts[said] <= self._pushed[said]}

    def _names(self, indexes: set[int]) -> set[str]:
        return {f"{self._task_id}[{index}]" for index in indexes}


def _differs(task: Any, argument: str, value: str) -> bool:
    # What is the same for all of a mapped task is kept aside, and what is mapped can't be told.
    mapped = getattr(task, "partial_kwargs", None)
    given = mapped.get(argument) if mapped is not None else getattr(task, argument, None)
    return isinstance(given, str) and "{{" not in given and "{%" not in given and given != value
