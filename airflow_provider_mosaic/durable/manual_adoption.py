"""
The item that a user names as a task's own, in an Airflow Variable.

If the task can't find out whether an item was created, a user decides. Each task has its own Variable. The first
attempt does not read it, nor does an attempt that knows the id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_provider_mosaic.airflow_compat import has_provider_commands, read_variable, task_state_store
from airflow_provider_mosaic.api.arguments import id_key, validate_id
from airflow_provider_mosaic.api.errors import MosaicError, MosaicValidationError
from airflow_provider_mosaic.durable.failures import nothing_sent_error
from airflow_provider_mosaic.durable.task_state import read_entry, save_entry

log = logging.getLogger(__name__)

#: The length limit of a Variable's name (``airflow.models.base.ID_LEN``).
_MAX_NAME_LENGTH = 250
#: The most candidates that a hint lists.
_MAX_SHOWN = 10


class ManualAdoption:
    """
    The Variable of a task, and the entry of one task instance in it.

    With a task state store, each value of the entry is used once: a user may forget to delete the Variable. A command
    writes the time with the id, so the same id can be named again.

    :param kind: The kind of item: see :class:`~airflow_provider_mosaic.durable.task_state.TaskState`.
    :param durable: Whether to save what was adopted.
    """

    def __init__(self, context: Mapping[str, Any], *, kind: str, durable: bool = True) -> None:
        ti = self._ti = context["ti"]
        self._kind = kind
        self._noun = kind.replace("_", " ")
        self._store = task_state_store(context) if durable else None
        self._used_key = f"mosaic_{kind}_adopted"
        # The value of the entry that was read: an id, or see :func:`named_now`.
        self._named: Any = None
        #: The name of the Variable.
        self.variable = variable_name(ti.dag_id, ti.task_id)
        #: The key of the entry.
        self.entry = entry_key(ti.run_id, ti.map_index)

    def read(self) -> str | None:
        """
        Return the id that a user named for this task instance, unless the task used this entry before.

        :raises MosaicValidationError: The Variable is invalid.
        :raises MosaicTransportError: The Variable could not be read.
        """
        try:
            text = read_variable(self.variable)
        except Exception as error:
            event, more = f"Airflow Variable {self.variable!r} could not be read", "It may name the item of this task."
            raise nothing_sent_error(event, error, more) from error
        if text is None:
            return None
        try:
            entries = read_entries(text)
            if self.entry not in entries:
                return None
            self._named = named = entries[self.entry]
            id = validate_id(self.entry, named.get("id") if isinstance(named, dict) else named)
        except (ValueError, MosaicValidationError) as error:
            raise self.invalid(str(error)) from error
        if named not in self._used():
            return id
        log.warning(
            "Airflow Variable %r names %s %r, which this task adopted before. It is not adopted again. Delete the "
            "Variable.",
            self.variable,
            self._noun,
            id,
        )
        return None

    def adopt_effect(self, id: str) -> str:
        """Return that a retry adopts an item, as the end of a sentence; empty if the Variable does not name it."""
        try:
            named = self.read()
        except MosaicError as error:
            log.info("It is unknown whether a user named %s %r. %s", self._noun, id, error)
            return ""
        if named is None or id_key(named) != id_key(id):
            return ""
        return f"adopts {self._noun} {id!r} again while Variable {self.variable!r} names it"

    def save_used(self, id: str) -> None:
        """
        Save that the task adopted the item.

        :raises Exception: It could not be saved.
        """
        if self._store is not None:
            save_entry(self._store, self._used_key, {"ids": [*self._used(), self._named]})
            return
        log.warning(
            "Nothing is saved for the next attempt, on this Airflow or with durable=False. Delete the Variable %r when "
            "the task has ended. Otherwise a cleared task adopts %s %r once more.",
            self.variable,
            self._noun,
            id,
        )

    def _used(self) -> list[Any]:
        return list(read_entry(self._store, self._used_key).get("ids", ()))

    def invalid(self, why: str) -> MosaicValidationError:
        """
        Return the error for a Variable that does not name an item.

        :param why: What is wrong with it, as a clause.
        """
        return MosaicValidationError(
            f"Airflow Variable {self.variable!r} must name the item that this task continues with, but "
            f"{why.rstrip('.')}.",
            means="Nothing was sent, so nothing is paid or published.",
            to_do=f"Set it to {self._value('<its id>')}, or delete it. Then clear this task.",
        )

    def adopt_hint(self, candidates: Sequence[str]) -> tuple[str, ...]:
        """
        Return how a user names the task's item, one line a choice, with commands to copy.

        :param candidates: The ids of the items that may be the task's.
        """
        last = "If none is this task's, clear this task. It starts a new one."
        if len(candidates) <= 1:
            id = candidates[0] if candidates else "<its id>"
            return (
                "If it is this task's, run this command and clear this task. The task continues with that one:",
                f"  {self._command(id)}",
                self._without_shell(id),
                last,
            )
        shown = candidates[:_MAX_SHOWN]
        return (
            "If one of them is this task's, run its command and clear this task. The task continues with that one:",
            *(f"  {self._command(id)}" for id in shown),
            f"Or set the Airflow Variable {self.variable!r} to its value and clear this task:",
            *(f"  {self._value(id)}" for id in shown),
            last,
        )

    def continue_hint(self, id: str) -> tuple[str, ...]:
        """Return how a user makes the task continue with a known run or post, and what a clear alone does."""
        effect, alone = "only what is missing is done again", "starts a new run, which is paid from the beginning"
        if self._kind == "post":
            effect, alone = "nothing is published twice", "publishes a second post"
        return (
            f"To continue with {self._noun} {id!r}, run this command and clear this task: {effect}.",
            f"  {self._command(id)}",
            self._without_shell(id),
            f"Clearing this task alone {alone}.",
        )

    def _command(self, id: str) -> str:
        """Return the command that names an item as this task's."""
        prefix = "airflow mosaic" if has_provider_commands() else "python -m airflow_provider_mosaic"
        ti = self._ti
        options = [] if ti.map_index < 0 else ["--map-index", str(ti.map_index)]
        # The command cannot know what a subclass creates.
        options += ["--item", self._kind]
        return f"{prefix} runs adopt {shlex.join([ti.dag_id, ti.task_id, ti.run_id, id, *options])}"

    def _without_shell(self, id: str) -> str:
        return f"Or set the Airflow Variable {self.variable!r} to {self._value(id)} and clear this task."

    def _value(self, id: str) -> str:
        # An earlier attempt may have used the id alone.
        named = id if self._ti.try_number <= 1 else named_now(id)
        return json.dumps({self.entry: named}, ensure_ascii=False)


def variable_name(dag_id: str, task_id: str) -> str:
    """Return the name of a task's Variable."""
    name = f"mosaic_adopt.{dag_id}.{task_id}"
    if len(name) <= _MAX_NAME_LENGTH:
        return name
    return f"mosaic_adopt.{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def entry_key(run_id: str, map_index: int) -> str:
    """Return the key of a task instance in its task's Variable: the DAG run, with the map index of a mapped task."""
    return run_id if map_index < 0 else f"{run_id}[{map_index}]"


def named_now(id: str) -> dict[str, str]:
    """Return the value of an entry that names an item, although an earlier one may have named it."""
    return {"id": id, "named_at": datetime.now(timezone.utc).isoformat()}


def read_entries(text: str) -> dict[str, Any]:
    """
    Return the entries of a Variable.

    :raises ValueError: It is no JSON object. The message is a clause about the Variable.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(entries, dict):
        raise ValueError("it is not a JSON object")
    return entries
