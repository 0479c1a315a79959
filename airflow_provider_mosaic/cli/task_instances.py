"""Task instances in Airflow's database, and the Variable that names the item of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.durable.manual_adoption import entry_key, named_now, read_entries, variable_name

#: What the task of an operator creates. Only these operators and their subclasses read the Variable.
_CREATES = {
    "MosaicRunAgentOperator": "run",
    "MosaicSocialPostOperator": "post",
    "MosaicCreateAvatarProfileOperator": "avatar_profile",
    "MosaicApplyAgentOperator": "agent",
}


@dataclass(frozen=True, kw_only=True)
class TaskInstanceFacts:
    """
    A task instance as Airflow's database has it.

    :param operator: The name of the operator's class.
    :param creates: What the task creates: ``run``, ``post``, ``avatar_profile`` or ``agent``. None if unknown.
    :param creating_tasks: The ids of the tasks of the DAG run that certainly create something.
    :param agent_id: The agent that the last attempt was for; None if unknown.
    :param conn_id: The connection of the last attempt; None if unknown.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    operator: str
    creates: str | None
    creating_tasks: tuple[str, ...]
    agent_id: str | None
    conn_id: str | None

    @property
    def variable(self) -> str:
        """The name of the Variable that names the task's item."""
        return variable_name(self.dag_id, self.task_id)

    def __str__(self) -> str:
        mapped = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"task {self.dag_id}.{self.task_id}{mapped} of DAG run {self.run_id}"


def find_task_instance(dag_id: str, task_id: str, run_id: str, map_index: int) -> TaskInstanceFacts:
    """
    Return a task instance.

    :raises MosaicValidationError: Airflow's database has no such task instance.
    """
    # Here, since importing the models writes log lines that a command suppresses only while it runs.
    from airflow.models import RenderedTaskInstanceFields, TaskInstance
    from airflow.utils.session import create_session

    key: dict[str, Any] = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id, "map_index": map_index}
    with create_session() as session:
        instance = session.query(TaskInstance).filter_by(**key).first()
        if instance is None:
            rows = session.query(TaskInstance.map_index).filter_by(dag_id=dag_id, task_id=task_id, run_id=run_id)
            indexes = sorted(row.map_index for row in rows)
            if not indexes:
                to_do = "Check the ids: a task id includes its task group."
            elif indexes == [-1]:
                to_do = "The task is not mapped: leave --map-index out."
            else:
                to_do = f"The task is mapped: pass --map-index, from {max(indexes[0], 0)} to {indexes[-1]}."
            of_index = "" if map_index < 0 else f" with map index {map_index}"
            raise MosaicValidationError(
                f"DAG run {run_id!r} of DAG {dag_id!r} has no task {task_id!r}{of_index}.", to_do=to_do
            )
        rendered = RenderedTaskInstanceFields.get_templated_fields(instance, session=session) or {}
        operator = instance.operator or ""
        tasks = session.query(TaskInstance.task_id).filter_by(dag_id=dag_id, run_id=run_id)
        creating_tasks = {row.task_id for row in tasks.filter(TaskInstance.operator.in_(_CREATES))}
    return TaskInstanceFacts(
        **key,
        operator=operator,
        creates=_CREATES.get(operator),
        creating_tasks=tuple(sorted(creating_tasks)),
        agent_id=_text(rendered.get("agent_id")),
        conn_id=_text(rendered.get("mosaic_conn_id")),
    )


def item_of(task: TaskInstanceFacts, given: str | None) -> str:
    """
    Return what the task creates.

    :param given: What the task creates, according to the user. None if its operator decides.
    :raises MosaicValidationError: The task never reads the Variable, or that is unknown.
    """
    if task.creates is not None:
        return given or task.creates
    # Here, since most commands need no operator.
    from airflow_provider_mosaic import operators, sensors

    name = f"{task.operator!r}, the operator of {task},"
    if task.operator in (*operators.__all__, *sensors.__all__):
        what, to_do = f"{name} never continues with an item that a user names.", ""
    elif given is not None:
        return given
    else:
        what = f"{name} is none of the operators that continue with an item that a user names."
        to_do = "If it is a subclass of one, pass --item."
    tasks = f"Tasks of this DAG run that do: {', '.join(task.creating_tasks) or 'none'}."
    raise MosaicValidationError(what, means="Nothing was saved.", to_do=(tasks, to_do))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def save_adoption(task: TaskInstanceFacts, item_id: str) -> None:
    """
    Name the item of a task instance in its task's Variable. The entries of other task instances stay.

    :raises MosaicValidationError: The Variable has another form, or a secrets backend defines it.
    """
    from airflow.models import Variable

    name, key, named = task.variable, entry_key(task.run_id, task.map_index), named_now(item_id)
    while True:
        saved = _saved_value(name)
        try:
            entries = {} if saved is None else read_entries(saved.text)
        except ValueError as error:
            raise MosaicValidationError(
                f"Airflow Variable {name!r} cannot be extended: {error}.", to_do="Delete it, then adopt again."
            ) from error
        value = json.dumps({**entries, key: named}, ensure_ascii=False)
        if _replace_value(name, saved, value):
            break
    # Another command may have added an entry since.
    if _entry_in(Variable.get(name, default_var=None), key) != named:
        raise MosaicValidationError(
            f"Airflow Variable {name!r} is defined by the environment or by a secrets backend, which Airflow reads "
            "before its database.",
            to_do=f"Set it there to {value}.",
        )


def _entry_in(text: str | None, key: str) -> Any:
    try:
        return None if text is None else read_entries(text).get(key)
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """The value of a Variable in Airflow's database."""

    id: int
    #: As the column has it, which may be encrypted.
    column: str
    text: str


def _saved_value(name: str) -> _Saved | None:
    from airflow.models import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalar(select(Variable).where(Variable.key == name))
        return None if found is None else _Saved(id=found.id, column=found._val, text=found.get_val() or "")


def _replace_value(name: str, saved: _Saved | None, value: str) -> bool:
    """Write a Variable, unless another command has written it since. Return whether it was written."""
    from airflow.models import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import insert, update
    from sqlalchemy.exc import IntegrityError

    description = "Written by `airflow mosaic runs adopt`: what tasks continue with."
    new = Variable(key=name, val=value, description=description)  # type: ignore[no-untyped-call]
    # Without the class, which would encrypt the encrypted value.
    table = Variable.__table__
    columns = {"val": new._val, "description": description, "is_encrypted": new.is_encrypted}
    try:
        with create_session() as session:
            if saved is None:
                session.execute(insert(table).values(key=name, **columns))
                return True
            same = (table.c.id == saved.id, table.c.val == saved.column)
            result: Any = session.execute(update(table).where(*same).values(**columns))
            return bool(result.rowcount)
    except IntegrityError:
        # Keys are unique: another command has created it.
        return False
