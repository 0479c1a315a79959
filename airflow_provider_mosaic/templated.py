"""Types of the arguments that Airflow renders before a task runs. Only type checkers import them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

from airflow.sdk import ObjectStoragePath, XComArg
from airflow.sdk.definitions.param import DagParam

#: A value that is known when the task runs: the output of another task, or a parameter of the DAG. Airflow also calls
#: functions in template fields; accepting them would hide forgotten parentheses.
Reference: TypeAlias = XComArg | DagParam

#: A text, a Jinja template, or a reference.
Text: TypeAlias = str | Reference

#: Several texts, or one: a template that renders to a list, or a single value.
Texts: TypeAlias = Iterable[Text] | Text

#: The location of a file: text, or a path object.
Location: TypeAlias = Text | os.PathLike[str] | ObjectStoragePath
