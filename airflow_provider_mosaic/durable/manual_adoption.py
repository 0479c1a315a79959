"""
What a person has decided: which run, post, profile or agent a task takes for its own.

When it can't be found out whether something was begun, a person can look, and say so in an Airflow Variable, one a
task. It is read where it may be needed and never otherwise: by a try that is not the first and knows no id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_mosaic.airflow_compat import read_variable
from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line

#: As long as the name of a Variable may be (``airflow.models.base.ID_LEN``).
_LONGEST_NAME = 250
_MOST_SHOWN = 10


class ManualAdoption:
    """
    The Variable of one task, and the entry in it of one task instance.

    :param context: The task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        ti = context["ti"]
        #: The Variable.
        self.variable = _named(ti.dag_id, ti.task_id)
        #: The key of the entry: the DAG run, and for a mapped task which one of it.
        self.entry = ti.run_id if ti.map_index < 0 else f"{ti.run_id}[{ti.map_index}]"
        self._may_be_needed = ti.try_number > 1

    def read(self) -> str | None:
        """
        The id that a person has named for this task instance; None if nobody has.

        :raises MosaicValidationError: The Variable can't be read as what it should be.
        :raises MosaicTransportError: It could not be read just now.
        """
        if not self._may_be_needed:
            return None
        try:
            text = read_variable(self.variable)
        except Exception as error:
            raise MosaicTransportError(
                f"The Airflow Variable {self.variable!r} could not be read ({type(error).__name__}: "
                f"{one_line(str(error))}). It may name what this task takes up, so nothing was sent, and nothing is "
                "paid. A retry reads it again.",
                effect_unknown=False,
            ) from error
        if text is None:
            return None
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"it is no JSON ({error})") from error
        if not isinstance(entries, dict):
            raise self.refusal("it is no JSON object")
        if self.entry not in entries:
            return None
        try:
            return validate_id(self.entry, entries[self.entry])
        except MosaicValidationError as error:
            raise self.refusal(str(error)) from error

    def refusal(self, why: str) -> MosaicValidationError:
        """
        The error for a Variable that can't be followed.

        :param why: What is wrong with it.
        """
        return MosaicValidationError(
            f"The Airflow Variable {self.variable!r} should say which one this task takes up, but {why.rstrip('.')}. "
            f"Nothing was sent. Set it to {self._example('<its id>')}, or delete it; then clear this task."
        )

    def adopt_hint(self, candidates: Sequence[str]) -> tuple[str, ...]:
        """
        Return how a user says which one it is, one line a choice. The values are ready to be copied.

        :param candidates: The ids that it may be.
        """
        values = [self._example(each) for each in candidates[:_MOST_SHOWN]] or [self._example("<its id>")]
        last = "If none is this task's, clear this task. It starts a new one."
        if len(values) == 1:
            return (
                f"If it is this task's, set the Airflow Variable {self.variable!r} to {values[0]} and clear this task. "
                "The task continues with that one.",
                last,
            )
        return (
            f"If one of them is this task's, set the Airflow Variable {self.variable!r} to its value and clear this "
            "task. The task continues with that one:",
            *(f"  {value}" for value in values),
            last,
        )

    def continue_hint(self, id: str) -> tuple[str, ...]:
        """
        Return how a user makes the task continue with one that is known, one line a choice.

        :param id: The id.
        """
        return (
            f"To continue {id!r}, set the Airflow Variable {self.variable!r} to {self._example(id)} and clear this "
            "task: only what is missing is paid.",
            "To start a new one, which is paid from the beginning, clear this task alone.",
        )

    def _example(self, id: str) -> str:
        return json.dumps({self.entry: id}, ensure_ascii=False)


def _named(dag_id: str, task_id: str) -> str:
    name = f"mosaic_adopt.{dag_id}.{task_id}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"mosaic_adopt.{hashlib.sha256(name.encode()).hexdigest()[:32]}"
