"""How many modules of the provider a reader has to know to follow one start."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.task_runs import run_task

PACKAGE = "airflow_provider_mosaic."
#: Raise it only if the new module makes the path of a start easier to follow.
MOST_MODULES = 48


def test_a_deferrable_start_enters_few_modules(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    entered: set[str] = set()

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        # Importing a module is not entering it.
        if event == "call" and module.startswith(PACKAGE) and not frame.f_code.co_name.startswith("<"):
            entered.add(module.removeprefix(PACKAGE))

    sys.setprofile(on_event)
    try:
        task.execute()
    finally:
        sys.setprofile(None)
    assert {"operators.runs", "tasks.runs", "durable.create_once", "api.endpoints.runs"} <= entered
    assert len(entered) <= MOST_MODULES, sorted(entered)
