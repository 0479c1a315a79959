"""
Types of the arguments that Airflow renders before a task runs.

They are for type checkers, and loaded by them alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

from airflow.sdk import ObjectStoragePath, XComArg
from airflow.sdk.definitions.param import DagParam

#: What stands for a value that is known when the task runs: the output of another task, or a parameter of the DAG.
#: Airflow also calls functions that it finds in a template field; to take them would hide a forgotten pair of
#: parentheses.
Reference: TypeAlias = XComArg | DagParam

#: A constant text, a Jinja template, or a reference.
Text: TypeAlias = str | Reference

#: Several of them, or one that stands for all: a template that renders to a list, or a single value.
Texts: TypeAlias = Iterable[Text] | Text

#: Where a file is: text, or a path object.
Location: TypeAlias = Text | os.PathLike[str] | ObjectStoragePath
