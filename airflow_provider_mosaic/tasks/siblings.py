"""What other tasks of the same DAG run have begun, so that a lost run or post is not mistaken for theirs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.search import Siblings

log = logging.getLogger(__name__)

# A task in one of these may have begun something whose id it has not pushed yet, or did not live to push.
_MAY_BEGIN = frozenset({"running", "restarting", "up_for_retry", "up_for_reschedule", "failed"})
# One in these states may be a retry of such a task: Airflow does not tell a running task which try of another it is.
_WAITING = frozenset({"scheduled", "queued"})


def read_siblings(
    context: Mapping[str, Any], *, key: str, operator_class: type[Any], alike: tuple[str, str] | None = None
) -> Siblings:
    """
    Read the XComs and states of the DAG run's other tasks of a class, mapped siblings of this task among them.

    Each task pushes its id at once after its start, and a running task may read what others have pushed.

    :param context: The context of the running task.
    :param key: XCom key under which the others push their ids.
    :param operator_class: The class of tasks that begin such things.
    :param alike: An argument and its value, if the tasks that begin other things can be told by it: a task that was
        given another value, and no template, is left out.
    """
    ti = context["ti"]
    owned: set[str] = set()
    unsettled: set[str] = set()
    waiting: set[str] = set()
    try:
        for task in context["dag"].tasks:
            if not issubclass(getattr(task, "operator_class", type(task)), operator_class):
                continue
            if alike is not None and _differs(task, *alike):
                continue
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task.task_id], run_ids=[ti.run_id])
            for name, state in states.get(ti.run_id, {}).items():
                # A mapped task instance is named task_id_<map index>.
                index = -1 if name == task.task_id else int(name.rpartition("_")[2])
                if (task.task_id, index) == (ti.task_id, ti.map_index) or state is None:
                    continue
                pushed = ti.xcom_pull(task_ids=task.task_id, key=key, map_indexes=index)
                if pushed:
                    owned.add(pushed)
                elif state in _MAY_BEGIN:
                    unsettled.add(f"{task.task_id}[{index}]")
                elif state in _WAITING:
                    waiting.add(f"{task.task_id}[{index}]")
    except Exception:
        # Not knowing is not the same as there being none.
        log.warning("Could not read what the other tasks of this DAG run have begun.", exc_info=True)
        return Siblings(owned=frozenset(owned), unsettled=None)
    return Siblings(owned=frozenset(owned), unsettled=frozenset(unsettled), waiting=frozenset(waiting))


def _differs(task: Any, argument: str, value: str) -> bool:
    # What is the same for all of a mapped task is kept aside, and what is mapped can't be told.
    mapped = getattr(task, "partial_kwargs", None)
    given = mapped.get(argument) if mapped is not None else getattr(task, argument, None)
    return isinstance(given, str) and "{{" not in given and "{%" not in given and given != value
