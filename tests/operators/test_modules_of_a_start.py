"""How many modules of the provider a reader has to know to follow one start."""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.task_runs import run_task

PACKAGE = "airflow_provider_mosaic."
#: Raise it only if the new module makes the path of a start easier to follow.
MAX_MODULES = 36


def test_a_deferrable_start_enters_few_modules(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    entered: set[str] = set()

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        module, code = str(frame.f_globals.get("__name__", "")), frame.f_code
        # Importing a module is not entering it: the bodies of modules and classes, and the making of dataclasses.
        is_function = code.co_flags & CO_OPTIMIZED and code.co_name != "__create_fn__"
        if event == "call" and is_function and module.startswith(PACKAGE) and not code.co_name.startswith("<"):
            entered.add(module.removeprefix(PACKAGE))

    sys.setprofile(on_event)
    try:
        task.execute()
    finally:
        sys.setprofile(None)
    assert {"operators.runs", "tasks.runs", "durable.create_once", "api.endpoints.runs"} <= entered
    assert len(entered) <= MAX_MODULES, " ".join(sorted(entered))
