"""With ``durable=False`` a retry starts again, and the message of a failed attempt says what that costs."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.fixtures import Clock, effects
from tasks.task_runs import post_task, run_task

from airflow_provider_mosaic.api.errors import MosaicRunFailedError, MosaicServerError
from airflow_provider_mosaic.tasks.post_waits import PostWait


@pytest.mark.parametrize("store", [True, False])
def test_retry_of_a_run_is_announced_as_a_second_run(mosaic: Emulator, clock: Clock, store: bool) -> None:
    mosaic.configure(failing_nodes={"Captions": "broken"})
    task = run_task(StateStore() if store else None, durable=False, deferrable=False)
    for attempt in (1, 2):
        with pytest.raises(MosaicRunFailedError, match="which starts a second run and pays for it"):
            task.run_to_end()
        assert effects(mosaic) == {"runs_started": attempt}


@pytest.mark.parametrize("store", [True, False])
def test_retry_of_a_post_is_announced_as_a_second_post(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, store: bool
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MosaicServerError("The polls failed.")

    monkeypatch.setattr(PostWait, "wait", fail)
    task = post_task(StateStore() if store else None, durable=False)
    for attempt in (1, 2):
        with pytest.raises(MosaicServerError, match="which publishes a second post"):
            task.execute()
        assert effects(mosaic) == {"posts_made": attempt}
