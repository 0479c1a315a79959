"""With ``durable=False`` a retry starts again, and the message of a failed attempt says what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import Clock, effects
from tasks.task_runs import post_task, run_task

from airflow_provider_mosaic.api.errors import MosaicRunFailedError, MosaicServerError
from airflow_provider_mosaic.operators import MosaicCreateAvatarProfileOperator
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


def avatar_task(store: StateStore | None, *, durable: bool) -> TaskRunner:
    return TaskRunner(
        lambda: MosaicCreateAvatarProfileOperator(
            task_id="avatar", name="Host", video_url="https://cdn.example.org/host.mp4", durable=durable
        ),
        store=store,
    )


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize(
    ("make", "path", "effect"),
    [
        (post_task, "/social/post", "publishes the post"),
        (avatar_task, "/avatar-profiles/create", "creates the profile"),
    ],
    ids=["post", "avatar profile"],
)
def test_retry_after_two_lost_responses_is_announced_with_its_search(
    mosaic: Emulator, clock: Clock, durable: bool, make: Callable[..., TaskRunner], path: str, effect: str
) -> None:
    mosaic.inject("server_error", method="POST", path=path, times=None)
    task = make(StateStore(), durable=durable)
    for _ in range(2):
        with pytest.raises(MosaicServerError) as failure:
            task.execute()
        message = str(failure.value)
        assert (f"which {effect}, unless it finds one of an earlier attempt" in message) == durable
        assert (f"which {effect} and does not search for an earlier one, because durable=False" in message) != durable
        assert effects(mosaic) == {}
